"""Tests of dialects without a client here, and of what no client shows: raw bytes, mismatches, broken tool calls."""

import json
import re
from pathlib import Path

import pytest

from backends import wire
from support.raw import Closed, Raw
from support.wait import until

ARRAY = "/v1beta/models/m:streamGenerateContent"


def by_route(dialect: str) -> dict:
    return {"routes": [{"name": "all", "upstream": "agent", "dialect": dialect}]}


def answer(upstream, pieces: list[str], content_type: str = "text/event-stream", *fields: str):
    """Starts an upstream that answers each request with these pieces."""

    def script(connection):
        while True:
            connection.request()
            connection.head(content_type, "200 OK", *fields)
            for piece in pieces:
                connection.chunk(piece)
            connection.end()

    return upstream(script)


@pytest.mark.parametrize("path", ["/ui/v4", ARRAY])
def test_lines_and_arrays_pass_as_they_are(weir, fastapi, path):
    proxy = weir(fastapi.url)
    bodies = []
    for url in (fastapi.url, proxy.url):
        with Raw(url).post(path) as client:
            bodies.append(client.read_body().decode())
    assert "weir-stream-id" in client.headers and client.headers["x-accel-buffering"] == "no"
    if path == ARRAY:
        # White space between elements belongs to the framing.
        assert json.loads(bodies[0]) == json.loads(bodies[1])
        assert client.headers["content-type"] == "application/json"
    else:
        assert bodies[0] == bodies[1]
    ended = proxy.ended()
    assert ended["outcome"] == "finished" and ended["framing"] in ("lines", "json_array")
    assert (ended["tokens"], ended["tokens_source"]) == (12, "usage")


def test_elements_of_an_array_leave_when_they_are_complete(weir, fastapi, name):
    proxy, run = weir(fastapi.url), name()
    with Raw(proxy.url).post(f"{ARRAY}?run={run}&step=1") as client:
        for number in range(1, 4):
            fastapi.open(run)
            client.until_bytes(list(wire.words(number))[-1].encode())
        assert client.body.count(b'"role"') == 3


@pytest.mark.parametrize("path", ["/ui/v4", ARRAY])
def test_a_cut_ends_lines_and_arrays_as_their_clients_expect(weir, fastapi, name, path):
    proxy, run = weir(fastapi.url), name()
    with Raw(proxy.url).post(f"{path}?run={run}&cut=5") as client:
        body = client.read_body().decode()
    outcome = proxy.ended()["outcome"]
    assert outcome in ("truncated", "upstream_reset")
    if path == ARRAY:
        *chunks, last = json.loads(body)
        assert len(chunks) == 5 and last["error"]["message"].startswith(outcome)
    else:
        *lines, error, end = body.splitlines()
        assert len(lines) == 5 and error.startswith(f'3:"{outcome}') and end.startswith("d:")


@pytest.mark.parametrize("path", ["/ui/v4", ARRAY])
def test_a_silence_in_lines_and_arrays_is_filled_with_white_space(weir, fastapi, name, path):
    proxy, run = weir(fastapi.url, defaults={"heartbeat": "100ms"}), name()
    with Raw(proxy.url).post(f"{path}?run={run}&hold=3") as client:
        client.until_bytes(b"\n\n\n")
        fastapi.open(run)
        body = client.read_body().decode()
    assert proxy.ended()["outcome"] == "finished"
    if path == ARRAY:
        assert len(json.loads(body)) > 5


def test_an_array_that_is_none_passes(weir, upstream):
    proxy = weir(answer(upstream, ['{"error":{"code":429}}'], "application/json").url)
    with Raw(proxy.url).post(ARRAY) as client:
        assert client.read_body() == b'{"error":{"code":429}}'


def test_json_elsewhere_is_no_stream(weir, upstream):
    server = answer(upstream, ['[{"text":"a"}]'], "application/json")
    proxy = weir(server.url)
    for path in ("/v1/chat/completions", "/list"):
        with Raw(proxy.url).post(path) as client:
            assert client.read_body() == b'[{"text":"a"}]'
            assert "weir-stream-id" not in client.headers


@pytest.mark.parametrize(
    "announced, path, sections",
    [
        ("anthropic", "/any", by_route("anthropic")),
        ("anthropic", "/v1/messages", {}),
        ("gemini", ARRAY + "?alt=sse", {}),
    ],
)
def test_an_announcement_that_does_not_hold_is_counted(weir, upstream, announced, path, sections):
    """A stream of another dialect than announced by the route or the request: nothing is lost, and it is not reported
    as truncated."""
    body = "".join(f'data: {{"tick":{number}}}\n\n' for number in range(12))
    proxy = weir(answer(upstream, [body]).url, **sections)
    with Raw(proxy.url).post(path) as client:
        assert client.read_body().decode() == body
    ended = proxy.ended()
    assert (ended["outcome"], ended["dialect"], ended["announced"]) == ("finished", "opaque", announced)
    assert proxy.metrics().by("weir_dialect_mismatches_total", "dialect") == {announced: 1}


def test_an_announcement_that_holds_is_not(weir, fastapi):
    proxy = weir(fastapi.url)
    for path in ("/v1/messages", "/v1/responses", "/runs/stream", "/ui", "/ag-ui"):
        with Raw(proxy.url).post(path) as client:
            client.read_body()
    proxy.outcomes(finished=5)
    metrics = proxy.metrics()
    assert metrics.by("weir_dialect_mismatches_total", "dialect") == {}
    assert metrics.by("weir_tool_calls_incomplete_total", "dialect") == {}


STREAMS = sorted((Path(__file__).parents[1] / "data").glob("*/*.sse"))


@pytest.mark.parametrize("stream", STREAMS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_ids_are_the_upstreams(weir, upstream, stream):
    """docs/dialects.md, ids: the upstream's ids are forwarded and none is added, not even to Weir's own error events.
    Many of these streams are truncated or fail: MCP's clients take any id as a promise, and Google's fail on one."""

    def ids(body: bytes) -> list[bytes]:
        return re.findall(rb"^id:? ?(.*)$", body.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), re.MULTILINE)

    sent = stream.read_bytes()
    proxy = weir(answer(upstream, [sent.decode()]).url, **by_route(stream.parent.name))
    with Raw(proxy.url).get("/any") as client:
        try:
            client.read_body()
        except (Closed, ConnectionError):
            pass
    assert ids(bytes(client.body)) == ids(sent)


def openai_call(*arguments: str, finish: bool = True) -> list[str]:
    base = {"id": "c", "object": "chat.completion.chunk"}
    begin = {"index": 0, "id": "t", "type": "function", "function": {"name": "wx", "arguments": ""}}
    calls = [begin, *({"index": 0, "function": {"arguments": part}} for part in arguments)]
    chunks = [{"index": 0, "delta": {"tool_calls": [call]}} for call in calls]
    if finish:
        chunks.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    return [wire.sse({**base, "choices": [chunk]}) for chunk in chunks] + [wire.sse("[DONE]")]


@pytest.mark.parametrize(
    "pieces, faults",
    [
        (openai_call('{"city":', '"Oslo"}'), 0),
        (openai_call(), 0),
        (openai_call('{"city":', '"Os'), 1),
        (openai_call('{"city":"Oslo"}', "}"), 1),
        (openai_call('{"city":"Oslo"}', finish=False), 1),
    ],
)
def test_tool_calls_that_are_not_whole_are_counted_and_not_changed(weir, upstream, pieces, faults):
    proxy = weir(answer(upstream, pieces).url)
    with Raw(proxy.url).post("/v1/chat/completions") as client:
        assert client.read_body().decode() == "".join(pieces)
    assert proxy.ended()["tool_faults"] == faults
    expected = {"openai_chat": faults} if faults else {}
    assert proxy.metrics().by("weir_tool_calls_incomplete_total", "dialect") == expected


def openai_calls(*arguments: str) -> list[str]:
    """Returns chunks with several calls each, where every call gets its next piece."""
    base = {"id": "c", "object": "chat.completion.chunk"}
    begin = [{"index": n, "id": f"t{n}", "type": "function", "function": {"name": "wx", "arguments": ""}} for n in range(2)]
    more = [{"index": n, "function": {"arguments": text}} for n, text in enumerate(arguments)]
    choices = [{"index": 0, "delta": {"tool_calls": calls}} for calls in (begin, more)]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    return [wire.sse({**base, "choices": [choice]}) for choice in choices] + [wire.sse("[DONE]")]


def graph_calls(*arguments: tuple[str, int | None, str]) -> list[str]:
    """Returns pieces of calls. Each is given by message, number and text."""
    def message(name: str, number: int | None, text: str) -> list:
        piece = {"name": "wx" if text == "" else None, "args": text, "id": f"{name}{number or text}", "index": number}
        return [{"type": "AIMessageChunk", "id": name, "content": "", "tool_call_chunks": [piece]}, {}]

    begin = wire.sse({"run_id": "r", "attempt": 1}, "metadata")
    return [begin, *(wire.sse(message(*one), "messages") for one in arguments)]


def told_twice(*texts: str) -> list[str]:
    """Returns a LangGraph run in two stream modes at once, which both send each piece of the same message."""
    pieces = [wire.sse({"run_id": "r", "attempt": 1}, "metadata")]
    for text in texts:
        piece = {"name": "wx" if text == texts[0] else None, "args": text, "id": None, "index": 0}
        message = {"type": "AIMessageChunk", "id": "run-1", "content": "", "tool_call_chunks": [piece]}
        event = {"event": "on_chat_model_stream", "run_id": "m", "parent_ids": ["r"], "data": {"chunk": message}}
        pieces += [wire.sse([message, {}], "messages"), wire.sse(event, "events")]
    return pieces


def whole_calls() -> list[str]:
    """Returns complete calls with the same number, each in its own chunk. The last one ends the choice."""
    base = {"id": "c", "object": "chat.completion.chunk"}
    choices = []
    for name in ("a", "b"):
        call = {"index": 0, "id": name, "type": "function", "function": {"name": name, "arguments": '{"n":1}'}}
        finish = "tool_calls" if name == "b" else None
        choices.append({"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": finish})
    return [wire.sse({**base, "choices": [choice]}) for choice in choices] + [wire.sse("[DONE]")]


@pytest.mark.parametrize(
    "path, pieces, faults",
    [
        ("/runs/stream", told_twice('{"a"', ":1}"), 0),
        ("/runs/stream", told_twice('{"a"', ":1"), 2),
        ("/v1/chat/completions", whole_calls(), 0),
        ("/v1/chat/completions", openai_calls('{"a":1}', '{"b":2}'), 0),
        ("/v1/chat/completions", openai_calls('{"a":1}', '{"b":'), 1),
        ("/v1/chat/completions", openai_calls("{", "{"), 2),
        ("/runs/stream", graph_calls(("m", 0, ""), ("m", 0, '{"a"'), ("m", 1, "{}"), ("m", 0, ":1}")), 0),
        ("/runs/stream", graph_calls(("m", 0, '{"a"'), ("n", 0, '{"b":1}'), ("m", 0, ":1}")), 0),
        ("/runs/stream", graph_calls(("m", None, "{}"), ("m", None, '{"a":1}')), 0),
        ("/runs/stream", graph_calls(("m", 0, '{"a"'), ("n", 0, '{"b":1}')), 1),
    ],
)
def test_several_calls_at_once_are_followed(weir, upstream, path, pieces, faults):
    proxy = weir(answer(upstream, pieces).url)
    with Raw(proxy.url).post(path) as client:
        assert client.read_body().decode() == "".join(pieces)
    ended = proxy.ended()
    assert (ended["outcome"], ended["tool_faults"]) == ("finished", faults)


BROKEN = {
    "/v1/messages": ("anthropic", wire.anthropic),
    "/v1/responses": ("openai_responses", wire.responses),
    "/ui": ("vercel_ui", wire.vercel_ui),
    "/ag-ui": ("ag_ui", wire.ag_ui),
}


@pytest.mark.parametrize("path", BROKEN)
def test_arguments_that_lost_a_piece_are_noticed_in_each_dialect(weir, upstream, path):
    dialect, source = BROKEN[path]
    lost = json.dumps(wire.ARGUMENTS[1])
    pieces = [piece for piece in source(2) if f": {lost}" not in piece]
    assert len(pieces) == len(list(source(2))) - 1
    fields = ["x-vercel-ai-ui-message-stream: v1"] if dialect == "vercel_ui" else []
    proxy = weir(answer(upstream, pieces, "text/event-stream", *fields).url)
    with Raw(proxy.url).post(path) as client:
        client.read_body()
    assert proxy.ended()["outcome"] == "finished"
    assert proxy.metrics().by("weir_tool_calls_incomplete_total", "dialect") == {dialect: 1}


@pytest.mark.parametrize("method, code", [("tools/call", -32000), ("message/stream", -32603)])
def test_a_call_that_fails_before_the_head_gets_its_answer(weir, method, code):
    proxy = weir("http://127.0.0.1:1")
    call = {"jsonrpc": "2.0", "method": method, "params": {"text": "x" * 5000}, "id": "q-7"}
    with Raw(proxy.url).post("/rpc", json.dumps(call).encode()) as client:
        told = json.loads(client.read_body())
    assert client.status == 502
    assert (told["jsonrpc"], told["id"], told["error"]["code"]) == ("2.0", "q-7", code)
    until("the count", lambda: proxy.metrics().value("weir_requests_total", code="502") == 1)
