"""Tests of rarer cases: heads, dialects, endings, numbers."""

import gzip
import json
import re
import threading
import time
import zlib

import pytest

from backends import wire
from support.h2 import H2
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


# Heads


# Cancelling


def body_stuck(upstream):
    """Starts an upstream that reads only the head, so that the upload stops when the buffers are full."""

    class Stuck:
        pass

    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck = Stuck()
    stuck.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    stuck.accepted = []

    def accept():
        while True:
            try:
                stuck.accepted.append(listener.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    stuck.close = listener.close
    return stuck


def unread(client):
    """Returns the client's bytes that wait in the kernel for Weir."""
    (own, port), (other, at) = client.socket.getsockname(), client.socket.getpeername()
    with open("/proc/net/tcp") as table:
        for line in table:
            fields = line.split()
            if fields[1].endswith(f":{at:04X}") and fields[2].endswith(f":{port:04X}"):
                return int(fields[4].split(":")[1], 16)
    return 0


@pytest.mark.parametrize("leaves", ["fin", "rst", "rst behind a full window"])
def test_a_client_that_leaves_while_its_upload_is_stuck(weir, leaves):
    """Client gone -> upstream connection closed within 1 s in every phase. A FIN follows all bytes that were sent, so
    it arrives only once the window has room for them."""
    stuck = body_stuck(None)
    proxy = weir(stuck.url)
    size = 50 * 1024 * 1024
    client = Raw(proxy.url)
    client.socket.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n".encode()
    )
    client.socket.settimeout(1.0)
    waiting = 0
    try:
        while waiting < 20 or "full" in leaves:
            if not waiting or "full" in leaves:
                client.socket.send(b"x" * 16384)
            # If Weir still reads, it does so at once.
            time.sleep(0.01 if waiting else 0)
            waiting = waiting + 1 if unread(client) else 0
    except TimeoutError:
        pass
    until("accepted", lambda: stuck.accepted)
    left = time.monotonic()
    if leaves == "fin":
        client.close()
    else:
        client.reset()
    load = lambda: proxy.metrics().value("weir_connections_active")
    # The upstream cannot see the end, because its buffer is full. So Weir's own connections are counted.
    until("the connection of the client is gone", lambda: load() == 0, within=4)
    assert time.monotonic() - left < 1.1
    stuck.close()


def test_an_upload_that_the_upstream_does_not_take_is_bounded(weir):
    """Everything is bounded in time. `request_body` bounds the time without progress of the body."""
    stuck = body_stuck(None)
    proxy = weir(
        stuck.url,
        limits={"request_body": "500ms"},
        defaults={"deadlines": {"head": "500ms", "first_event": "500ms"}},
    )
    client = Raw(proxy.url)
    client.socket.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 50000000\r\n\r\n"
    )
    client.socket.settimeout(1.0)
    try:
        while True:
            client.socket.send(b"x" * 65536)
    except OSError:
        # The response came and the connection was closed during the upload.
        pass
    client.socket.settimeout(5)
    client.read_head()
    assert client.status == 504
    assert b"head_timeout" in client.read_body()
    client.close()
    stuck.close()


PHASES = ["head", "commit", "first event", "middle", "plain", "plain middle", "sniffing"]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["h1 fin", "h1 rst", "h2 reset"])
def test_leaving_in_every_phase(weir, upstream, phase, how):
    """Client gone -> upstream connection closed within 1 s in every phase, also for responses that are not streams."""
    ready = threading.Event()

    def script(connection):
        connection.request()
        kind = {"plain": "application/json", "plain middle": "application/json", "sniffing": "text/plain"}.get(
            phase, "text/event-stream"
        )
        if phase not in ("head", "commit"):
            connection.head(kind)
        if phase in ("middle", "plain middle"):
            connection.chunk(OPENAI[0] + OPENAI[1])
        ready.set()
        connection.gone(30)

    server = upstream(script)
    defaults = {"commit_after": "50ms"} if phase == "commit" else {}
    if phase == "sniffing":
        defaults["dialect"] = "openai_chat"
    proxy = weir(server.url, defaults=defaults)
    if how.startswith("h2"):
        connection = H2(proxy.url)
        stream = connection.request("POST", CHAT, b'{"stream":true}', content_type="application/json")
        assert ready.wait(5)
        if phase in ("commit", "first event", "middle", "plain middle", "plain"):
            stream.read_head()
        left = time.monotonic()
        stream.reset()
    else:
        client = Raw(proxy.url).send("POST", CHAT, b'{"stream":true}', content_type="application/json")
        assert ready.wait(5)
        if phase in ("commit", "first event", "middle", "plain middle", "plain"):
            client.read_head()
        left = time.monotonic()
        client.close() if how == "h1 fin" else client.reset()
    assert server.connections[0].gone(5) - left < 1.0
    until("nothing is active", lambda: proxy.metrics().value("weir_streams_active") == 0)
