"""Tests the rules of MCP's Streamable HTTP, which differ between its revisions."""

import json
import time

import pytest

from backends import wire
from support.raw import Raw
from support.wait import until

CALL = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "wx"}}).encode()
NOTE = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 0.5}}
RESULT = {"jsonrpc": "2.0", "id": 7, "result": {"content": [{"type": "text", "text": "4 C"}]}}
OLD, NEW = "2025-11-25", "2026-07-28"


def post(url: str, revision: str = OLD) -> Raw:
    accept = "application/json, text/event-stream"
    return Raw(url).post("/mcp", CALL, accept=accept, mcp_protocol_version=revision)


def whole(connection):
    connection.request()
    connection.head()
    connection.chunk("id: s_0\nretry: 500\ndata:\n\n")
    connection.chunk("event: message\nid: s_1\n" + wire.sse(NOTE))
    connection.chunk("event: message\nid: s_2\n" + wire.sse(RESULT))
    connection.end()


def test_ids_and_the_priming_event_pass_unchanged(weir, upstream):
    proxy = weir(upstream(whole).url)
    with post(proxy.url) as client:
        body = client.read_body().decode()
    first = body.split("\n\n")[0].splitlines()
    assert sorted(line.rstrip() for line in first) == ["data:", "id: s_0", "retry: 500"]
    events = client.events()
    assert [event.id for event in events][-2:] == ["s_1", "s_2"]
    assert json.loads(events[-1].data) == RESULT
    ended = proxy.ended()
    assert (ended["outcome"], ended["dialect"]) == ("finished", "mcp")


def test_a_server_may_close_what_its_client_can_take_up_again(weir, upstream):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk("id: s_0\ndata:\n\n")
        connection.end()

    proxy = weir(upstream(script).url)
    with post(proxy.url) as client:
        assert b"error" not in client.read_body()
    assert proxy.ended()["outcome"] == "finished"


def test_an_answer_that_is_missing_is_an_error_of_the_call(weir, upstream):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(wire.sse(NOTE))
        connection.end()

    proxy = weir(upstream(script).url)
    with post(proxy.url, NEW) as client:
        client.read_body()
    told = json.loads(client.events()[-1].data)
    assert (told["id"], told["error"]["code"]) == (7, -32000)
    assert proxy.ended()["outcome"] == "truncated"


@pytest.mark.parametrize("phase", ["before the head", "amid the stream"])
@pytest.mark.parametrize("revision", [OLD, NEW])
def test_leaving_cancels_from_the_last_revision_on(weir, upstream, revision, phase):
    """Before the last revision, a closed connection is no cancellation: the call continues to its end."""

    def script(connection):
        connection.request()
        if phase == "before the head":
            until("leave to go on", connection._closed.is_set if revision == NEW else left)
        connection.head()
        connection.chunk("id: s_0\ndata:\n\n")
        if phase == "amid the stream":
            until("leave to go on", connection._closed.is_set if revision == NEW else left)
        connection.chunk("id: s_1\n" + wire.sse(RESULT))
        connection.end()
        ended.append(time.monotonic())

    ended: list[float] = []
    gone: list[float] = []

    def left() -> bool:
        # Long enough for a cancellation, which takes a few milliseconds.
        return bool(gone) and time.monotonic() - gone[0] > 0.5

    server = upstream(script)
    proxy = weir(server.url)
    client = Raw(proxy.url)
    client.send("POST", "/mcp", CALL, content_type="application/json", mcp_protocol_version=revision)
    until("the request", server.requests)
    if phase == "amid the stream":
        client.read_head()
        client.until_bytes(b"s_0")
    client.close()
    gone.append(time.monotonic())
    connection = server.connections[0]
    if revision == NEW:
        until("the cancellation", lambda: connection.closed_at is not None, within=1)
    else:
        until("the end of the answer", lambda: ended, within=5)
        assert connection.closed_at is None or connection.closed_at >= ended[0]
    if phase == "amid the stream":
        assert proxy.ended()["outcome"] == "client_gone"
        cancelled = proxy.metrics().value("weir_upstream_cancellations_total", reason="client_gone")
        assert cancelled == (revision == NEW)
    until("nothing runs", lambda: proxy.metrics().value("weir_streams_active") == 0)


def test_a_listening_stream_ends_without_an_answer(weir, upstream):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(wire.sse({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))
        connection.end()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).get("/mcp", mcp_session_id="s", accept="text/event-stream") as client:
        assert len(client.read_body()) > 0
        assert b"error" not in client.body
    assert proxy.ended()["outcome"] == "finished"
