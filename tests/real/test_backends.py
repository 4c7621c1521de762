"""Tests that streams of real servers and frameworks carry the same events through Weir as without it."""

import pytest

from support import sse
from support.raw import Raw


def body(url: str, method: str, path: str) -> Raw:
    with Raw(url) as client:
        client.get(path) if method == "GET" else client.post(path)
        assert client.status == 200
        client.read_body()
        return client


STREAMS = [
    ("fastapi", "POST", "/v1/chat/completions", "openai_chat"),
    ("fastapi", "POST", "/v1/messages", "anthropic"),
    ("fastapi", "POST", "/agent", "convention"),
    ("gthread", "POST", "/v1/chat/completions", "openai_chat"),
    ("gthread", "GET", "/agent", "convention"),
    ("uvicorn_worker", "POST", "/v1/messages", "anthropic"),
    ("uvicorn_worker", "GET", "/agent", "convention"),
    ("sse_starlette", "GET", "/agent", "convention"),
    ("langgraph", "POST", "/runs/stream", "langgraph"),
    ("langgraph", "POST", "/agent/stream", "langserve"),
]


@pytest.mark.parametrize(("backend", "method", "path", "dialect"), STREAMS)
def test_events_equal_the_direct_ones(request, weir, backend, method, path, dialect):
    server = request.getfixturevalue(backend)
    proxy = weir(server.url)
    direct, through = (body(url, method, path) for url in (server.url, proxy.url))
    assert len(direct.events()) >= 7
    assert through.events() == direct.events()
    # Only the framing may differ: LF line ends, one space after the colon, no comments of the upstream.
    assert through.body == normalised(direct.body)
    ended = proxy.ended()
    assert (ended["outcome"], ended["dialect"]) == ("finished", dialect)


def normalised(wire: bytes) -> bytes:
    lines = wire.replace(b"\r\n", b"\n").split(b"\n")
    text = b"\n".join(line for line in lines if not line.startswith(b":"))
    while b"\n\n\n" in text:
        text = text.replace(b"\n\n\n", b"\n\n")
    return text


def test_langgraph_streams_real_message_chunks(langgraph):
    """Checks the backend itself: several chunks of one message, then the node's update."""
    events = body(langgraph.url, "POST", "/runs/stream").events()
    names = [event.name for event in events]
    assert names[0] == "metadata" and names[-1] == "updates" and names.count("messages") > 5
    text = "".join(e.json()[0]["content"] for e in events if e.name == "messages")
    assert text == "Rain in Bergen, sun in Oslo, nothing certain."


def test_ollama_lines_are_the_same_bytes(weir, fastapi):
    proxy = weir(fastapi.url)
    direct, through = (body(url, "POST", "/api/chat") for url in (fastapi.url, proxy.url))
    assert direct.body.count(b"\n") == 10
    assert through.body == direct.body
    assert through.headers["content-type"] == "application/x-ndjson"
    assert proxy.ended()["dialect"] == "ollama"


def test_pings_of_sse_starlette_are_consumed(weir, sse_starlette, name):
    run = name()
    proxy = weir(sse_starlette.url)
    with Raw(sse_starlette.url) as direct, Raw(proxy.url) as through:
        direct.get(f"/agent?run={run}&hold=2")
        through.get(f"/agent?run={run}&hold=2")
        # The backend pings both connections during the silence, but only the direct client may receive the ping.
        direct.until_bytes(b": ping")
        direct.until_bytes(b": ping")
        sse_starlette.open(run, 2)
        assert sse.comments(direct.read_body())
        assert sse.comments(through.read_body()) == []
        assert through.events() == direct.events()


def test_the_head_of_a_stream_says_how_to_treat_it(weir, fastapi):
    proxy = weir(fastapi.url)
    head = body(proxy.url, "GET", "/agent").headers
    assert head["content-type"] == "text/event-stream; charset=utf-8"
    assert "no-cache" in head["cache-control"] and "no-transform" in head["cache-control"]
    assert head["x-accel-buffering"] == "no"
    assert "content-length" not in head and "content-encoding" not in head
    assert head.get("connection", "").lower() != "close"
    assert len(head["weir-stream-id"]) >= 22
    assert head["weir-stream-id"] != body(proxy.url, "GET", "/agent").headers["weir-stream-id"]
