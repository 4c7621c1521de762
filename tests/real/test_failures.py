"""Tests that a broken stream reports its failure in its dialect, and that no request is ever sent twice."""

import json
import socket
import threading

import httpx
import pytest

from backends import wire
from support.raw import Closed, Raw

DIALECTS = {
    "openai_chat": ("/v1/chat/completions", wire.openai, "text/event-stream"),
    "anthropic": ("/v1/messages", wire.anthropic, "text/event-stream"),
    "ollama": ("/api/chat", wire.ollama, "application/x-ndjson"),
}
EVERY = pytest.mark.parametrize("dialect", DIALECTS)


def error_event(dialect: str, body: bytes) -> str:
    """Returns the message of the last event, after checking that its shape makes SDKs raise an error."""
    if dialect == "ollama":
        last = json.loads(body.decode().splitlines()[-1])
        assert list(last) == ["error"]
        return last["error"]
    block = body.decode().rstrip("\n").split("\n\n")[-1].split("\n")
    data = json.loads(block[-1].removeprefix("data: "))
    if dialect == "anthropic":
        assert block[0] == "event: error" and data["type"] == "error"
        return f"{data['error']['type']} {data['error']['message']}"
    assert len(block) == 1 and data["error"]["param"] is None
    return f"{data['error']['code']} {data['error']['message']}"


def broken(weir, upstream, dialect, end):
    """Sends four whole events and half of the fifth, then `end`. Returns what the client received, and Weir's
    outcome."""
    path, content, content_type = DIALECTS[dialect]
    events = list(content(6))
    whole, half = "".join(events[:4]), events[4][:20]

    def script(connection):
        connection.request()
        connection.head(content_type)
        connection.chunk(whole)
        sent.acquire()
        connection.chunk(half)
        end(connection)

    sent = threading.Semaphore(0)
    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post(path) as client:
        client.until_bytes(whole.encode())
        sent.release()
        body = client.read_body()
    assert client.ended, "the error event is the regular end of the body"
    assert body.startswith(whole.encode())
    assert half.encode() not in body[len(whole) :], "a torn event is dropped"
    return error_event(dialect, body), proxy.ended()["outcome"]


@EVERY
def test_a_clean_end_without_the_terminal_is_truncated(weir, upstream, dialect):
    words, outcome = broken(weir, upstream, dialect, lambda connection: connection.end())
    assert outcome == "truncated" and "truncated" in words


@EVERY
def test_a_connection_closed_inside_the_body_is_reported(weir, upstream, dialect):
    words, outcome = broken(weir, upstream, dialect, lambda connection: connection.fin())
    assert outcome in ("truncated", "upstream_reset") and outcome in words


@EVERY
def test_a_reset_is_reported(weir, upstream, dialect):
    words, outcome = broken(weir, upstream, dialect, lambda connection: connection.reset())
    assert outcome == "upstream_reset" and "upstream_reset" in words


def test_a_last_event_without_its_blank_line_is_completed(weir, upstream):
    whole = "".join(wire.openai(6))

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(whole.removesuffix("\n\n"))
        connection.end()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post("/v1/chat/completions") as client:
        assert client.read_body() == whole.encode()
    assert proxy.ended()["outcome"] == "finished"


def test_an_error_of_the_upstream_itself_is_left_as_it_is(weir, upstream):
    own = wire.sse({"error": {"message": "CUDA out of memory", "type": "internal", "code": 500}})
    events = [*list(wire.openai(6))[:4], own]

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk("".join(events))
        connection.end()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post("/v1/chat/completions") as client:
        assert client.read_body() == "".join(events).encode()
    assert proxy.ended()["outcome"] == "upstream_error"


def refused() -> str:
    """Returns the URL of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_connection_refused_is_a_502_in_the_dialect(weir):
    proxy = weir(refused())
    ask = {"json": {"stream": True}, "timeout": 10}
    openai = httpx.post(f"{proxy.url}/v1/chat/completions", **ask)
    anthropic = httpx.post(f"{proxy.url}/v1/messages", **ask)
    ollama = httpx.post(f"{proxy.url}/api/chat", **ask)
    other = httpx.get(f"{proxy.url}/anything", timeout=10)
    assert {a.status_code for a in (openai, anthropic, ollama, other)} == {502}
    assert openai.json()["error"]["code"] == "upstream_connect"
    assert anthropic.json()["type"] == "error"
    assert "upstream_connect" in anthropic.json()["error"]["message"]
    assert "upstream_connect" in ollama.json()["error"]
    assert other.headers["content-type"] == "application/problem+json"
    assert other.json()["status"] == 502
    assert "127.0.0.1" not in openai.text + anthropic.text + ollama.text + other.text


ENDS = {
    "reset": lambda connection: connection.reset(),
    "closed": lambda connection: connection.fin(),
    "nonsense": lambda connection: (connection.send("nonsense\r\n\r\n"), connection.fin()),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("connection_is", ["fresh", "reused"])
def test_one_post_is_sent_once(weir, upstream, end, connection_is):
    """The upstream reads the whole request and breaks. It may have acted, so Weir must not retry."""

    def script(connection):
        if connection_is == "reused":
            connection.request()
            connection.head("text/plain")
            connection.end()
        connection.request()
        ENDS[end](connection)

    server = upstream(script)
    proxy = weir(server.url)
    with Raw(proxy.url) as client:
        if connection_is == "reused":
            client.get("/warm").read_body()
        client.post("/v1/chat/completions", b'{"stream":true,"n":1}')
        assert client.status == 502
        assert json.loads(client.read_body())["error"]["code"].startswith("upstream_")
    posts = [r for r in server.requests() if r.line.startswith("POST")]
    assert [post.body for post in posts] == [b'{"stream":true,"n":1}']
    assert server.heads() == (2 if connection_is == "reused" else 1)
    assert len(server.connections) == 1


def test_an_upstream_that_never_answers_is_a_504(weir, upstream):
    def script(connection):
        connection.request()
        connection.gone()

    proxy = weir(upstream(script).url, defaults={"deadlines": {"head": "300ms"}})
    with Raw(proxy.url).post("/v1/messages") as client:
        assert client.status == 504
        error = json.loads(client.read_body())
    assert error["type"] == "error" and "head_timeout" in error["error"]["message"]


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/x-ndjson"])
@pytest.mark.parametrize("reads", ["at once", "late"])
def test_what_came_before_a_break_arrives_before_it(weir, upstream, content_type, reads):
    """A body in a format without error events is aborted, but only after everything received before."""
    lines = b"".join(b'{"n":%d,"x":"%s"}\n' % (n, b"x" * 900) for n in range(200))

    def script(connection):
        connection.request()
        connection.head(content_type)
        connection.chunk(lines)
        connection.reset() if reads == "at once" else connection.fin()
        broken.set()

    broken = threading.Event()
    proxy = weir(upstream(script).url)
    with Raw(proxy.url, receive_buffer=4096).get("/any") as client:
        if reads == "late":
            assert broken.wait(10)
        with pytest.raises((Closed, ConnectionError)):
            client.read_body()
    if reads == "late":
        assert bytes(client.body) == lines
    else:
        assert lines.startswith(bytes(client.body)), "a reset may throw away what was not read"
    assert not client.ended
