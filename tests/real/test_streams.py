"""Tests of rarer cases: heads, heartbeats, dialects, numbers."""

import gzip
import json
import threading
import time

import pytest

from backends import wire
from support.raw import Closed, Raw
from support.wait import until

CHAT = "/v1/chat/completions"
OPENAI = list(wire.openai(6))
WHOLE = "".join(OPENAI)


def scripted(upstream, *pieces, content_type="text/event-stream", fields=(), end=True, before=0.0):
    def script(connection):
        connection.request()
        connection._closed.wait(before)
        connection.head(content_type, "200 OK", *fields)
        for piece in pieces:
            connection.chunk(piece)
        if end:
            connection.end()
        else:
            connection.gone()

    return upstream(script)


# commit_after


def committed(weir, upstream, *pieces, path=CHAT, method="post", before=0.4, **how):
    server = scripted(upstream, *pieces, before=before, **how)
    proxy = weir(server.url, defaults={"commit_after": "100ms", "heartbeat": "100ms"})
    with Raw(proxy.url) as client:
        getattr(client, method)(path)
        try:
            client.read_body()
        except (Closed, ConnectionError):
            pass
        return client, proxy


def test_commit_after_and_a_compressed_stream(weir, upstream):
    """A compressed response is still decoded incrementally."""
    client, proxy = committed(
        weir, upstream, gzip.compress(WHOLE.encode()), fields=("content-encoding: gzip",)
    )
    assert bytes(client.body).lstrip(b":\n").decode() == WHOLE


def test_commit_after_and_lines(weir, upstream):
    """A stream whose framing differs from the guess still delivers its data, or ends as a failure."""
    lines = '{"a":1}\n{"a":2}\n{"last":true}\n'
    client, proxy = committed(weir, upstream, lines, path="/agent", content_type="application/x-ndjson")
    ended = proxy.ended()
    assert '{"last":true}' in bytes(client.body).decode() or ended["outcome"] != "finished", (
        bytes(client.body), ended["outcome"],
    )


@pytest.mark.parametrize("method, path", [("get", "/v1/models"), ("get", "/v1/embeddings")])
def test_commit_after_does_not_hurt_what_is_no_stream(weir, upstream, method, path):
    """The bodies and status codes of other responses are identical to the upstream's."""
    client, proxy = committed(
        weir, upstream, '{"data":[]}', path=path, method=method, content_type="application/json"
    )
    assert bytes(client.body) == b'{"data":[]}', (client.headers["content-type"], bytes(client.body))


def test_commit_after_honours_stream_false(weir, upstream):
    server = scripted(upstream, '{"choices":[]}', before=0.4, content_type="application/json")
    proxy = weir(server.url, defaults={"commit_after": "100ms"})
    with Raw(proxy.url).post(CHAT, b'{"stream":false}') as client:
        assert client.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/api/chat", "/agent"])
def test_commit_after_then_a_failure(weir, upstream, path):
    def script(connection):
        connection.request()
        connection._closed.wait(0.4)
        connection.head("application/json", "500 Internal Server Error")
        connection.chunk('{"error":"secret"}')
        connection.end()

    proxy = weir(upstream(script).url, defaults={"commit_after": "100ms"})
    with Raw(proxy.url).post(path) as client:
        body = client.read_body().decode()
    assert client.status == 200 and "error" in body and "secret" not in body
    assert proxy.ended()["outcome"] == "upstream_error"


def test_commit_after_and_the_head_deadline_names_itself(weir, upstream):
    """The outcome, the log field and `code` are the same word, and each end names its deadline."""

    def script(connection):
        connection.request()
        connection.gone()

    proxy = weir(
        upstream(script).url, defaults={"commit_after": "100ms", "deadlines": {"head": "500ms"}}
    )
    with Raw(proxy.url).post(CHAT) as client:
        code = json.loads(client.read_body().decode().split("data: ")[-1])["error"]["code"]
    ended = proxy.ended()
    assert code == ended["outcome"], (code, ended["outcome"])


# Heartbeats


@pytest.mark.parametrize(
    "path", ["/v1beta/models/g:streamGenerateContent?alt=sse", "/v1/models/g:streamGenerateContent?alt=sse"]
)
def test_no_comment_towards_gemini_clients(weir, upstream, path):
    """Gemini over SSE: only bare LF between events and never a comment, because genai-py raises on comments."""
    event = 'data: {"candidates":[{"content":{"parts":[{"text":"a"}],"role":"model"}}]}\n\n'
    go = threading.Event()

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(event)
        go.wait(5)
        connection.chunk(event)
        connection.end()

    proxy = weir(upstream(script).url, defaults={"heartbeat": "50ms"})
    with Raw(proxy.url).post(path) as client:
        client.until_events(1)
        until("a heartbeat", lambda: time.monotonic() and proxy.metrics().value("weir_heartbeats_total") >= 1 or None, within=3)
        go.set()
        body = client.read_body()
    assert b":\n" not in body.replace(event.encode(), b"")


# Detection


ODD_FIRST = {
    "an event of the vendor's own": 'data: {"conversation_id":"c1"}\n\n',
    "a trace id": 'data: {"trace_id":"t","type":"meta"}\n\n',
    "plain text": "data: connected\n\n",
    "a status": 'event: status\ndata: {"type":"status","text":"queued"}\n\n',
}


@pytest.mark.parametrize("kind", ODD_FIRST)
def test_one_odd_first_event_does_not_switch_the_dialect_off(weir, upstream, kind):
    """Evidence from the request is the strongest. EOF without the terminal event means truncated."""
    body = ODD_FIRST[kind] + "".join(OPENAI[:4])
    proxy = weir(scripted(upstream, body).url)
    with Raw(proxy.url).post(CHAT) as client:
        got = client.read_body().decode()
    ended = proxy.ended()
    assert (ended["dialect"], ended["outcome"]) == ("openai_chat", "truncated")
    assert json.loads(got.rstrip().split("data: ")[-1])["error"]["code"] == "truncated"


def test_one_odd_first_event_of_anthropic(weir, upstream):
    body = 'event: vendor\ndata: {"x":1}\n\n' + "".join(list(wire.anthropic(6))[:4])
    proxy = weir(scripted(upstream, body).url)
    with Raw(proxy.url).post("/v1/messages") as client:
        client.read_body()
    ended = proxy.ended()
    assert (ended["dialect"], ended["outcome"]) == ("anthropic", "truncated")


def test_a_fixed_dialect_is_kept(weir, upstream):
    body = ODD_FIRST["a trace id"] + "".join(OPENAI[:4])
    proxy = weir(scripted(upstream, body).url, defaults={"dialect": "openai_chat"})
    with Raw(proxy.url).post("/x") as client:
        client.read_body()
    assert proxy.ended()["outcome"] == "truncated"


def test_a_bare_astream_that_is_cut_is_truncated(weir, upstream):
    """Weir knows each dialect's terminal event; here it is the root's on_chain_end."""
    events = [
        {"event": "on_chain_start", "run_id": "r", "name": "g", "parent_ids": [], "data": {}},
        {"event": "on_chat_model_stream", "run_id": "m", "parent_ids": ["r"], "data": {"chunk": {"content": "a"}}},
    ]
    body = "".join(f"data: {json.dumps(one)}\n\n" for one in events)
    proxy = weir(scripted(upstream, body).url)
    with Raw(proxy.url).post("/stream_events") as client:
        client.read_body()
    assert proxy.ended()["outcome"] == "truncated"


def test_a_named_event_torn_before_its_data_is_dropped(weir, upstream):
    """An incomplete last event is dropped, because OpenAI SDKs raise on a block without data."""
    for path, head, name in [
        ("/v1/messages", "".join(list(wire.anthropic(6))[:4]), "content_block_delta"),
        ("/threads/t/runs/stream", 'event: metadata\ndata: {"run_id":"r","attempt":1}\n\n', "messages"),
    ]:
        proxy = weir(scripted(upstream, head + f"event: {name}\n").url)
        with Raw(proxy.url).post(path) as client:
            body = client.read_body().decode()
        assert f"event: {name}\n\n" not in body, body[len(head):]


# Numbers


def test_tokens_of_a_cut_anthropic_stream(weir, upstream):
    """Token counts are honest: message_start says output_tokens: 1, but forty deltas came."""
    delta = wire.sse(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
        "content_block_delta",
    )
    body = "".join(list(wire.anthropic(6))[:2]) + delta * 40
    proxy = weir(scripted(upstream, body).url)
    with Raw(proxy.url).post("/v1/messages") as client:
        client.read_body()
    ended = proxy.ended()
    assert ended["tokens"] >= 40, (ended["tokens"], ended["tokens_source"])


def test_usage_of_several_model_calls_is_summed(weir, upstream):
    """LangGraph sends usage_metadata per message id: ids are summed, repeats of one id are not."""

    def message(ident, tokens):
        usage = {"input_tokens": 1, "output_tokens": tokens, "total_tokens": tokens + 1}
        chunk = {"content": "a", "type": "AIMessageChunk", "id": ident, "usage_metadata": usage}
        return "event: messages\ndata: " + json.dumps([chunk, {}]) + "\n\n"

    body = (
        'event: metadata\ndata: {"run_id":"r","attempt":1}\n\n'
        + message("m1", 100) + message("m2", 20) + "event: end\ndata: null\n\n"
    )
    proxy = weir(scripted(upstream, body).url)
    with Raw(proxy.url).post("/threads/t/runs/stream") as client:
        client.read_body()
    assert proxy.ended()["tokens"] == 120


def test_usage_of_several_model_calls_in_astream_events(weir, upstream):
    """Usage is per model call, here per run_id."""

    def event(kind, run, **data):
        return "event: data\ndata: " + json.dumps({"event": kind, "run_id": run, "parent_ids": ["r"], "data": data}) + "\n\n"

    def end(run, tokens):
        usage = {"input_tokens": 1, "output_tokens": tokens, "total_tokens": 1}
        return event("on_chat_model_end", run, output={"content": "a", "usage_metadata": usage})

    body = (
        event("on_chat_model_stream", "m1", chunk={"content": "a"}) + end("m1", 100)
        + event("on_chat_model_stream", "m2", chunk={"content": "a"}) + end("m2", 20)
        + "event: end\n\n"
    )
    proxy = weir(scripted(upstream, body).url)
    with Raw(proxy.url).post("/chain/stream_events") as client:
        client.read_body()
    assert proxy.ended()["tokens"] == 120


def test_ttft_is_the_first_text_and_not_what_comes_before(weir, upstream):
    go = threading.Event()

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(": ping\n\n" + OPENAI[0])
        go.wait(5)
        connection.chunk("".join(OPENAI[1:]))
        connection.end()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post(CHAT) as client:
        client.until_events(1)
        time.sleep(0.3)
        go.set()
        client.read_body()
    ended = proxy.ended()
    assert ended["ttfe_ms"] < 200 and ended["ttft_ms"] > 290
    metrics = proxy.metrics()
    assert metrics.value("weir_time_to_first_token_seconds_count", kind="answer") == 1
    assert metrics.value("weir_time_to_first_token_seconds_sum", kind="answer") > 0.29
    assert metrics.value("weir_time_to_first_token_seconds_count", kind="tool") == 1
    assert metrics.value("weir_time_to_first_token_seconds_count", kind="reasoning") == 0
    assert metrics.value("weir_output_tokens_total", source="usage") == 12 == ended["tokens"]
    assert ended["events_in"] == len(OPENAI)
    assert metrics.value("weir_events_total", direction="in") == len(OPENAI) + 1, "the ping, too"
    assert metrics.value("weir_events_total", direction="out") == ended["events_out"]
    assert ended["bytes_out"] == len(client.body)


def test_heartbeats_of_the_upstream_are_counted_as_they_come_in(weir, upstream):
    """docs/metrics.md: weir_events_total counts events from the upstream by class (`in`), and heartbeat is a class."""
    body = "".join(list(wire.anthropic(6))[:3]) + 'event: ping\ndata: {"type":"ping"}\n\n' * 5 + "".join(list(wire.anthropic(6))[3:])
    proxy = weir(scripted(upstream, body).url)
    with Raw(proxy.url).post("/v1/messages") as client:
        client.read_body()
    proxy.ended()
    assert proxy.metrics().value("weir_events_total", **{"direction": "in", "class": "heartbeat"}) == 5
