"""Tests that a client that keeps reading loses nothing in a burst, over HTTP/2 and with real SDKs, too."""

import json
import threading
import time

import pytest

from backends import wire
from support.h2 import H2
from support.raw import Closed, Raw
from support.wait import settled, until

CHAT = "/v1/chat/completions"
OPENAI = list(wire.openai(6))
BODY = b'{"stream":true}'


def test_usage_is_not_dropped_with_its_token(weir, upstream):
    """Usage is never dropped (it is cumulative, so the last one is kept). OpenRouter puts it on a chunk with a
    choice."""
    usage = {"prompt_tokens": 9, "completion_tokens": 77, "total_tokens": 86}
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def chunk(n, **top):
        choice = {"index": 0, "delta": {"content": f"t{n}"}, "finish_reason": None, "logprobs": {"content": [n]}}
        return "data: " + json.dumps({**base, "choices": [choice], **top}) + "\n\n"

    def tool(n):
        call = {"index": 0, "id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        return "data: " + json.dumps({**base, "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}) + "\n\n"

    body = chunk(0, usage=usage) + "".join(tool(n) for n in range(8)) + "data: [DONE]\n\n"

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(body)
        connection.end()

    proxy = weir(upstream(script).url, defaults={"queue": {"max_events": 4}})
    with Raw(proxy.url).post(CHAT) as client:
        got = client.read_body()
    assert b"completion_tokens" in got


def test_a_partial_with_a_tool_call_survives(weir, upstream):
    """A tool call is never dropped. `messages/partial` sends text, then the same message with its tool call (joined:
    the later one replaces the earlier), then other messages."""

    def partial(ident, text, tools=()):
        message = {"id": ident, "type": "AIMessageChunk", "content": text, "tool_calls": list(tools)}
        return "event: messages/partial\ndata: " + json.dumps([message]) + "\n\n"

    call = {"id": "call_1", "name": "wx", "args": {"city": "Oslo"}}
    update = lambda n: f'event: updates\ndata: {{"n":{n}}}\n\n'
    body = (
        'event: metadata\ndata: {"run_id":"r","attempt":1}\n\n'
        + update(0) + update(1)
        + partial("m1", "I ask") + partial("m1", "I ask", [call])
        + "".join(update(n) for n in range(2, 10)) + "event: end\ndata: null\n\n"
    )

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(body)
        connection.end()

    proxy = weir(upstream(script).url, defaults={"queue": {"max_events": 4}})
    with Raw(proxy.url).post("/threads/t/runs/stream") as client:
        got = client.read_body()
    ended = proxy.ended()
    assert b"call_1" in got, (ended["merged"], ended["dropped"])


def test_the_openai_sdk_behind_a_slow_reader(weir, upstream):
    """An SDK that pauses between chunks loses nothing with `merge`, and accepts every chunk."""
    from openai import OpenAI

    words = [f"w{n} " for n in range(20_000)]
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = ["data: " + json.dumps({**base, "choices": [{"index": 0, "delta": {"content": w}, "finish_reason": None}]}) + "\n\n" for w in words]

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(OPENAI[0])
        for at in range(0, len(chunks), 500):
            connection.chunk("".join(chunks[at : at + 500]))
        connection.chunk(OPENAI[-3] + OPENAI[-2] + "data: [DONE]\n\n")
        connection.end()

    proxy = weir(upstream(script).url)
    client = OpenAI(base_url=f"{proxy.url}/v1", api_key="k", max_retries=0)
    got = []
    for number, part in enumerate(client.chat.completions.create(model="m", messages=[], stream=True)):
        if number == 1:
            time.sleep(0.5)
        for choice in part.choices:
            got.append(choice.delta.content or "")
    assert "".join(got) == "".join(words)
    assert proxy.ended()["outcome"] == "finished"


def test_the_anthropic_sdk_behind_a_burst(weir, upstream):
    from anthropic import Anthropic

    delta = lambda i, **d: wire.sse({"type": "content_block_delta", "index": i, "delta": d}, "content_block_delta")
    start = lambda i, **b: wire.sse({"type": "content_block_start", "index": i, "content_block": b}, "content_block_start")
    stop = lambda i: wire.sse({"type": "content_block_stop", "index": i}, "content_block_stop")
    events = [list(wire.anthropic(3))[0]]
    events += [start(0, type="thinking", thinking="", signature="")]
    events += [delta(0, type="thinking_delta", thinking=f"h{n} ") for n in range(500)]
    events += [delta(0, type="signature_delta", signature="sig"), stop(0)]
    events += [start(1, type="text", text="")] + [delta(1, type="text_delta", text=f"t{n} ") for n in range(500)] + [stop(1)]
    for i in (2, 3):
        events += [start(i, type="tool_use", id=f"c{i}", name="wx", input={})]
        events += [delta(i, type="input_json_delta", partial_json=p) for p in ["", '{"a":"', *["x"] * 400, '"}']] + [stop(i)]
    events += list(wire.anthropic(3))[-2:]

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk("".join(events))
        connection.end()

    proxy = weir(upstream(script).url)
    client = Anthropic(base_url=proxy.url, api_key="k", max_retries=0)
    with client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}]) as stream:
        final = stream.get_final_message()
    ended = proxy.ended()
    thinking, text, one, two = final.content
    assert ended["merged"] > 0 and ended["dropped"] == 0
    assert text.text == "".join(f"t{n} " for n in range(500))
    assert thinking.thinking == "".join(f"h{n} " for n in range(500)) and thinking.signature == "sig"
    assert one.input == two.input == {"a": "x" * 400}


@pytest.mark.parametrize("overflow", ["drop_oldest", "block"])
def test_anthropic_text_is_not_lost_to_a_burst_with_citations(weir, upstream, overflow):
    """A response that was buffered in front of Weir arrives in one write. Nothing of it may be lost."""
    events = list(wire.anthropic(3))[:2]
    for n in range(400):
        events.append(wire.sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"t{n} "}}, "content_block_delta"))
        citation = {"type": "char_location", "cited_text": "x", "document_index": n}
        events.append(wire.sse({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": citation}}, "content_block_delta"))
    events += list(wire.anthropic(3))[5:6] + list(wire.anthropic(3))[-2:]
    body = "".join(events)

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(body)
        connection.end()

    proxy = weir(upstream(script).url, defaults={"queue": {"overflow": overflow}})
    with Raw(proxy.url).post("/v1/messages") as client:
        got = client.read_body().decode()
    assert got == body, proxy.ended()["dropped"]


def test_plain_words_in_a_burst(weir, upstream):
    """The simplest agent: `data: word`, several lines in one token (Markdown), all in one write."""
    body = "".join(f"data: w{n}\ndata: \n\n" for n in range(1000)) + "data: [DONE]\n\n"

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(body)
        connection.end()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).get("/agent") as client:
        client.read_body()
    assert proxy.ended()["dropped"] == 0


def test_a_burst_over_http2(weir, upstream):
    body = "".join(
        f'data: {{"choices":[{{"index":{n % 2},"delta":{{"content":"t{n} "}}}}]}}\n\n' for n in range(2000)
    ) + "data: [DONE]\n\n"

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(body)
        connection.end()

    proxy = weir(upstream(script).url)
    with H2(proxy.url) as connection:
        got = connection.post(CHAT).read_body()
    assert got.decode() == body, proxy.ended()["dropped"]


def test_reload_during_a_stream_keeps_its_numbers(weir, upstream):
    from support.weir import config_for

    go = threading.Event()

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk("".join(OPENAI[:3]))
        go.wait(5)
        connection.chunk("".join(OPENAI[3:]))
        connection.end()

    server = upstream(script)
    proxy = weir(server.url)
    with Raw(proxy.url).post(CHAT) as client:
        client.until_events(3)
        proxy.reload(config_for(server.url, routes=[{"name": "other", "upstream": "agent"}]))
        assert proxy.metrics().value("weir_streams_active", route="all") == 1
        go.set()
        assert client.read_body() == "".join(OPENAI).encode()
    proxy.ended()
    metrics = proxy.metrics()
    assert metrics.value("weir_streams_total", route="all", outcome="finished") == 1
    assert metrics.value("weir_streams_active") == 0


@pytest.mark.parametrize("dialect", ["anthropic", "ollama", "langserve", "langgraph", "convention"])
@pytest.mark.parametrize("end", ["idle", "drop", "reset", "too large"])
def test_error_shapes_of_every_dialect(weir, upstream, dialect, end):
    """The error events match byte for byte."""
    starts = {
        "anthropic": ("/v1/messages", "".join(list(wire.anthropic(3))[:3]), "text/event-stream"),
        "ollama": ("/api/chat", next(wire.ollama(3)), "application/x-ndjson"),
        "langserve": ("/c/stream", 'event: metadata\ndata: {"run_id": "r"}\n\nevent: data\ndata: "a"\n\n', "text/event-stream"),
        "langgraph": ("/threads/t/runs/stream", 'event: metadata\ndata: {"run_id":"r","attempt":1}\n\nevent: updates\ndata: {"a":1}\n\n', "text/event-stream"),
        "convention": ("/agent", 'data: {"type":"token","content":"a"}\n\n', "text/event-stream"),
    }
    path, start, kind = starts[dialect]
    go = threading.Event()

    def script(connection):
        connection.request()
        connection.head(kind)
        connection.chunk(start)
        go.wait(5)
        if end == "too large":
            connection.chunk("data: " + "x" * 5000 + "\n\n" if kind != "application/x-ndjson" else '{"x":"' + "x" * 5000 + '"}\n')
        if end == "drop":
            connection.fin()
        if end == "reset":
            connection.reset()
        else:
            connection.gone()

    proxy = weir(upstream(script).url, defaults={"deadlines": {"idle": "300ms"}, "max_event_bytes": "4KiB"})
    with Raw(proxy.url).post(path) as client:
        client.until_bytes(start.encode())
        go.set()
        got = client.read_body().decode()
    ended = proxy.ended()
    code = {"idle": "idle_timeout", "drop": "truncated", "reset": "upstream_reset", "too large": "too_large"}[end]
    assert ended["outcome"] == ended["code"] == code
    assert proxy.metrics().by("weir_streams_total", "outcome") == {code: 1}
    tail = got.removeprefix(start)
    if dialect == "ollama":
        assert list(json.loads(tail)) == ["error"] and tail.endswith("}\n") and code in tail
        return
    name, data, *rest = tail.split("\n")
    assert name == "event: error" and rest == ["", ""]
    fields = json.loads(data.removeprefix("data: "))
    if dialect == "anthropic":
        assert fields["type"] == "error"
        assert fields["error"]["type"] == ("timeout_error" if end == "idle" else "api_error")
        assert list(fields["error"]) == ["type", "message"] and code in fields["error"]["message"]
    elif dialect == "langserve":
        assert list(fields) == ["status_code", "message"] and isinstance(fields["status_code"], int)
    elif dialect == "langgraph":
        assert fields["error"] == code and list(fields) == ["error", "message"]
    else:
        assert list(fields) == ["type", "error", "message", "code", "content"] and fields["code"] == code
