"""Tests invalid content: the stream ends with a reason, and no other stream is affected."""

import gzip
import json
import zlib

import pytest

from backends import wire
from support.raw import Closed, Raw

CHAT = "/v1/chat/completions"
EVENTS = list(wire.openai(3))
WHOLE = "".join(EVENTS)
MIB = 1024 * 1024


def stream(*pieces: str | bytes, coding: str = "", content_type: str = "text/event-stream", end: bool = True):
    """Returns an upstream's script: a head, these chunks, a regular end."""

    def script(connection):
        connection.request()
        connection.head(content_type, "200 OK", *([f"content-encoding: {coding}"] if coding else []))
        for piece in pieces:
            connection.chunk(piece)
        if end:
            connection.end()

    return script


def through(weir, upstream, *pieces: str | bytes, **how):
    """Returns what the client of such a stream received, and the outcome that Weir reports."""
    settings = how.pop("settings", {})
    proxy = weir(upstream(stream(*pieces, **how)).url, defaults=settings)
    with Raw(proxy.url).post(CHAT) as client:
        try:
            client.read_body()
        except (Closed, ConnectionError):
            assert not client.ended
        return client, proxy.ended()


# Bytes of events

ODD = {
    "invalid UTF-8 in a payload": b'data: {"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}\n\n',
    "a truncated character": b'data: {"choices":[{"index":0,"delta":{"content":"\xe2\x82"}}]}\n\n',
    "torn JSON": b'data: {"choices":[{"index":0,"delta":{"con\n\n',
    "no JSON": b"data: hello world\n\n",
    "JSON of another shape": b'data: [1,2,{"a":null}]\n\n',
    "a lone surrogate": b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n',
    "NUL bytes": b"data: a\0b\n\n",
    "an empty payload": b"data:\n\n",
    "deep nesting": b"data: " + b"[" * 10_000 + b"]" * 10_000 + b"\n\n",
    "a huge number": b'data: {"choices":[{"index":' + b"9" * 5_000 + b',"delta":{}}]}\n\n',
    "duplicate keys": b'data: {"choices":[],"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
    "several lines": b"data: a\ndata: b\ndata:\ndata: c\n\n",
}


@pytest.mark.parametrize("kind", ODD)
def test_what_nobody_understands_passes_as_it_came(weir, upstream, kind):
    """Unknown events between two known ones are forwarded unchanged, and the stream ends normally."""
    body = EVENTS[0].encode() + ODD[kind] + "".join(EVENTS[1:]).encode()
    client, ended = through(weir, upstream, body)
    expected = body.replace(b"data:\n\n", b"data: \n\n").replace(b"\ndata:\n", b"\ndata: \n")
    assert bytes(client.body).replace(b"data:\n", b"data: \n") == expected
    assert ended["outcome"] == "finished"


LINE_ENDS = {"CRLF": "\r\n", "CR": "\r", "LF": "\n"}


@pytest.mark.parametrize("byte", range(0, 33))
def test_no_byte_between_values_stops_a_worker(weir, upstream, byte):
    """Some parsers take a form feed for white space, others for a value. Between values it must not block the
    parser."""
    if byte in b"\r\n":
        return
    odd = b'event: messages\ndata: [{"content":"a","type":"AIMessageChunk"},%b%b]\n\n' % (bytes([byte]), bytes([byte]))
    proxy = weir(upstream(stream(odd * 2)).url, workers=1, defaults={"dialect": "langgraph"})
    with Raw(proxy.url).post(CHAT) as client:
        assert client.read_body() == odd * 2
    assert proxy.ended(outcome="finished")


@pytest.mark.parametrize("ends", LINE_ENDS)
@pytest.mark.parametrize("cut", [1, 2, 3, 1000])
def test_line_ends_become_lf_wherever_reads_are_cut(weir, upstream, ends, cut):
    text = "\ufeff" + WHOLE.replace("\n", LINE_ENDS[ends])
    data = text.encode()
    client, ended = through(weir, upstream, *(data[i : i + cut] for i in range(0, len(data), cut)))
    assert bytes(client.body).decode() == WHOLE
    assert ended["outcome"] == "finished"


def test_fields_nobody_knows_and_comments_do_not_disturb(weir, upstream):
    odd = "foo: bar\n" + ": note\n" + "retry: 1000\n" + EVENTS[0] + ":\n\n" + "data\n\n"
    client, ended = through(weir, upstream, odd + "".join(EVENTS[1:]))
    text = bytes(client.body).decode()
    assert ended["outcome"] == "finished"
    assert EVENTS[0].strip() in text and text.endswith("".join(EVENTS[1:]))


# Too large

SMALL = {"max_event_bytes": "64KiB"}


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: " + b"x" * 70_000 + b"\n\n"],
        [b"data: "] + [b"x" * 1000] * 2000,
        [b"data: x\n" * 20_000],
        [b"event: " + b"e" * 100_000],
    ],
    ids=["complete", "endless", "endless lines", "endless name"],
)
def test_an_event_that_is_too_large_ends_the_stream_loudly(weir, upstream, pieces):
    client, ended = through(weir, upstream, EVENTS[0], *pieces, settings=SMALL)
    assert ended["outcome"] == "too_large"
    assert client.ended
    events = client.events()
    assert events[0].data == EVENTS[0].removeprefix("data: ").strip()
    assert json.loads(events[-1].data)["error"]["code"] == "too_large"
    assert "max_event_bytes" in events[-1].data
    assert len(client.body) < 10_000, "nothing of the event itself"


def test_a_line_that_is_too_large(weir, upstream):
    line = '{"message":{"role":"assistant","content":"' + "x" * 70_000
    proxy = weir(upstream(stream(line, content_type="application/x-ndjson")).url, defaults=SMALL)
    with Raw(proxy.url).post("/api/chat") as client:
        assert "too_large" in json.loads(client.read_body())["error"]
    assert proxy.ended()["outcome"] == "too_large"


def test_an_event_as_large_as_allowed_passes(weir, upstream):
    large = "data: " + "x" * 60_000 + "\n\n"
    client, ended = through(weir, upstream, EVENTS[0], large, *EVENTS[1:], settings=SMALL)
    assert large.encode() in bytes(client.body)
    assert ended["outcome"] == "finished"


# Codings

def zlib_raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("pack", [zlib.compress, zlib_raw], ids=["zlib", "raw"])
def test_both_readings_of_deflate(weir, upstream, pack):
    """RFC 9110 defines `deflate` as zlib, but some servers send raw deflate."""
    client, ended = through(weir, upstream, pack(WHOLE.encode()), coding="deflate")
    assert bytes(client.body).decode() == WHOLE
    assert ended["outcome"] == "finished"


def test_gzip_in_several_members(weir, upstream):
    packed = b"".join(gzip.compress(event.encode()) for event in EVENTS)
    client, ended = through(weir, upstream, packed, coding="x-gzip")
    assert bytes(client.body).decode() == WHOLE
    assert ended["outcome"] == "finished"


BROKEN = {
    "no gzip at all": b"data: plain\n\n" * 10,
    "damaged": gzip.compress(WHOLE.encode())[:40] + b"\xff" * 60,
    "cut": gzip.compress(WHOLE.encode())[:-20],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_compressed_bytes_that_are_broken_end_with_an_error(weir, upstream, kind):
    client, ended = through(weir, upstream, BROKEN[kind], coding="gzip")
    assert ended["outcome"] in ("upstream_error", "upstream_reset", "truncated")
    last = json.loads(client.events()[-1].data)
    assert last["error"]["code"] == ended["outcome"]


def test_an_unknown_coding_passes_untouched_and_is_counted(weir, upstream):
    proxy = weir(upstream(stream(b"\x01\x02secret", coding="rot13")).url)
    with Raw(proxy.url).post(CHAT) as client:
        assert client.headers["content-encoding"] == "rot13"
        assert client.read_body() == b"\x01\x02secret"
    assert proxy.metrics().value("weir_encoding_passthrough_total") == 1


def test_a_bomb_costs_no_memory(weir, upstream):
    """A decompression bomb: 256 MiB of spaces in one event, 256 KiB on the wire."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(b" " * MIB) for _ in range(256)) + packer.flush()
    proxy = weir(upstream(stream(packed, coding="gzip", end=False)).url)
    with Raw(proxy.url).post(CHAT) as client:
        before = proxy.rss()
        client.read_body()
    assert proxy.ended()["outcome"] in ("too_large", "upstream_error")
    assert proxy.rss() - before < 80 * MIB


# Floods and garbage

def test_an_endless_flood_of_comments_is_consumed_without_memory(weir, upstream):
    """32 MiB of many comments, then one comment of 32 MiB."""
    many = [b": ping\n\n" * 8192] * 512
    one = [b": ", *[b"x" * 65536] * 512, b"\n\n"]
    proxy = weir(upstream(stream(EVENTS[0], *many, *one, *EVENTS[1:])).url)
    with Raw(proxy.url).post(CHAT) as client:
        before = proxy.rss()
        assert client.read_body().decode() == WHOLE
        assert proxy.rss() - before < 4 * MIB
    assert proxy.ended()["outcome"] == "finished"


def test_comments_alone_are_no_content(weir, upstream):
    """Comments keep a connection open, but an agent that sends nothing else is silent."""

    def script(connection):
        connection.request()
        connection.head()
        while True:
            connection.chunk(": ping\n\n")
            connection._closed.wait(0.02)

    proxy = weir(upstream(script).url, defaults={"deadlines": {"first_event": "400ms"}})
    with Raw(proxy.url).post(CHAT) as client:
        body = client.read_body()
    assert b"first_event_timeout" in body
    assert proxy.ended()["outcome"] == "first_event_timeout"


ANSWERS = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a strange version": b"HTTP/3.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "a strange status": b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
    "a field without colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "a length below zero": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "a head that is too large": b"HTTP/1.1 200 OK\r\nx: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"x: 1\r\n" * 20_000 + b"\r\n",
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_that_is_none_is_a_502(weir, upstream, kind):
    def script(connection):
        connection.request()
        connection.send(ANSWERS[kind])
        connection.fin()

    server = upstream(script)
    with Raw(weir(server.url).url).post(CHAT) as client:
        assert client.status == 502
        assert json.loads(client.read_body())["error"]["code"].startswith("upstream_")
    assert server.heads() == 1


def test_an_endless_flood_of_interim_answers_is_a_504(weir, upstream):
    """Some interim responses are forwarded. The final head that never comes is the upstream's fault."""

    def script(connection):
        connection.request()
        while True:
            connection.send(b"HTTP/1.1 103 Early Hints\r\nx: 1\r\n\r\n" * 100)

    proxy = weir(upstream(script).url, defaults={"deadlines": {"head": "1s"}})
    before = proxy.rss()
    with Raw(proxy.url).post(CHAT) as client:
        assert client.status == 504
        assert 1 <= len(client.interim) <= 32
    assert proxy.rss() - before < 4 * MIB


CHUNKS = {
    "no size": b"zz\r\nhello\r\n0\r\n\r\n",
    "a size that is too large": b"fffffffffffffffff\r\nhello",
    "no line end after a chunk": b"3\r\nhello\r\n0\r\n\r\n",
    "an endless extension": b"3;" + b"x" * 1_000_000,
}


@pytest.mark.parametrize("kind", CHUNKS)
def test_a_stream_with_broken_chunks_is_reported(weir, upstream, kind):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(EVENTS[0])
        connection.send(CHUNKS[kind])
        connection.gone()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post(CHAT) as client:
        client.read_body()
    ended = proxy.ended()
    assert ended["outcome"] in ("upstream_reset", "upstream_error")
    assert json.loads(client.events()[-1].data)["error"]["code"] == ended["outcome"]


def test_bytes_after_the_end_are_nobodys_answer(weir, upstream):
    """Bytes after a response must not become the response to the next request on that connection."""

    def script(connection):
        connection.request()
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        connection.request()
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    proxy = weir(upstream(script).url)
    with Raw(proxy.url) as client:
        assert client.get("/").read_body() == b"ok"
        assert client.get("/").read_body() == b"ok"
