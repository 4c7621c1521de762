"""Tests which responses are treated as streams: by content type, and plain text only if the route names a dialect."""

import threading

import pytest

from backends import wire
from support.raw import Closed, Raw

SSE = "".join(wire.openai(3))
LINES = '{"message":{"content":"Rain"},"done":false}\n{"done":true}\n'


def fixed(dialect: str) -> dict:
    return {"routes": [{"name": "all", "upstream": "agent", "dialect": dialect}]}


FIXED = fixed("openai_chat")


def answer(weir, upstream, content_type: str, pieces: list[str], **sections) -> Raw:
    def script(connection):
        connection.request()
        connection.head(content_type)
        for piece in pieces:
            connection.chunk(piece)
        connection.end()

    client = Raw(weir(upstream(script).url, **sections).url).post("/any")
    client.read_body()
    return client


def is_stream(client: Raw) -> bool:
    return "weir-stream-id" in client.headers


@pytest.mark.parametrize(
    "content_type",
    [
        "text/event-stream",
        "Text/Event-Stream;charset=UTF-8",
        "application/x-ndjson",
        "application/jsonl",
        "application/stream+json; charset=utf-8",
    ],
)
def test_by_content_type(weir, upstream, content_type):
    text = SSE if "event" in content_type.lower() else LINES
    client = answer(weir, upstream, content_type, [text])
    assert is_stream(client)
    assert client.headers["content-type"] == content_type


@pytest.mark.parametrize("text", [SSE, "\ufeff" + SSE, ": comment\n\n" + SSE, LINES])
def test_plain_text_that_is_a_stream(weir, upstream, text):
    sections = fixed("ollama" if text == LINES else "openai_chat")
    client = answer(weir, upstream, "text/plain; charset=utf-8", [text], **sections)
    assert is_stream(client)
    assert client.headers["content-type"] == "text/plain; charset=utf-8"
    assert client.headers["x-accel-buffering"] == "no"


def test_plain_text_that_comes_in_small_pieces(weir, upstream):
    client = answer(weir, upstream, "text/plain", list(SSE), **FIXED)
    assert is_stream(client)
    assert client.body.decode() == SSE


@pytest.mark.parametrize("text", ["It rains in Bergen.", "da", "", "\n\nevents: none"])
def test_plain_text_that_is_none(weir, upstream, text):
    client = answer(weir, upstream, "text/plain", [text] if text else [], **FIXED)
    assert not is_stream(client)
    assert client.body.decode() == text


def test_plain_text_where_no_dialect_is_named(weir, upstream):
    client = answer(weir, upstream, "text/plain", [SSE])
    assert not is_stream(client)
    assert client.body.decode() == SSE


@pytest.mark.parametrize("content_type", ["application/json", "text/html", "text/event-streams"])
def test_other_types_pass_untouched(weir, upstream, content_type):
    client = answer(weir, upstream, content_type, [SSE], **FIXED)
    assert not is_stream(client)
    assert client.body.decode() == SSE


ERROR = '{\n  "error": {"message": "no such model", "code": 404}\n}'
MISLABELLED = {
    "a JSON error": [ERROR],
    "a JSON error in pieces": [ERROR[i : i + 7] for i in range(0, len(ERROR), 7)],
    "a page": ["<!doctype html>\n\n<p>data: 1</p>"],
    "tokens without framing": ["It", " rains", " in\n\n", "Bergen."],
}


LABELS = [("text/event-stream", kind) for kind in MISLABELLED]
LABELS += [("application/x-ndjson", kind) for kind in MISLABELLED if "JSON" not in kind]


@pytest.mark.parametrize(("content_type", "kind"), LABELS)
def test_what_is_no_stream_of_events_passes_as_it_came(weir, upstream, kind, content_type):
    """Parsed as events the body would vanish, but a client that reads the body itself must get it."""
    client = answer(weir, upstream, content_type, MISLABELLED[kind])
    assert client.body.decode() == "".join(MISLABELLED[kind])


def test_tokens_without_framing_arrive_one_by_one(weir, upstream):
    go_on = threading.Semaphore(0)
    pieces = ["It", " rains", " in Bergen."]

    def script(connection):
        connection.request()
        connection.head("text/event-stream")
        for piece in pieces:
            connection.chunk(piece)
            go_on.acquire(timeout=10)
        connection.end()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post("/v1/chat/completions") as client:
        for number in range(len(pieces)):
            client.until_bytes("".join(pieces[: number + 1]).encode())
            go_on.release()
        client.read_body()
    ended = proxy.ended()
    assert (ended["outcome"], ended["framing"], ended["dialect"]) == ("finished", "raw", "opaque")


def test_a_page_that_breaks_off_is_no_good_end(weir, upstream):
    def script(connection):
        connection.request()
        connection.head("text/event-stream")
        connection.chunk("<p>It rai")
        connection.fin()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post("/any") as client, pytest.raises(Closed):
        client.read_body()
    assert client.body == b"<p>It rai"
    assert proxy.ended()["outcome"] in ("truncated", "upstream_reset")
