"""Tests that the metrics are accurate: each dialect runs at a known pace, and the scrape is compared with what was sent
and when."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from backends import wire
from support.raw import Raw

WORDS = 24
PACE = 0.03
# The tolerance for the time from the write to the read, and for two clock readings.
TTFT_SECONDS = 0.005
SPEED_SHARE = 0.02
# A busy machine causes occasional delays, but a wrong number is wrong on every attempt.
ATTEMPTS = 20


def a2a(count: int) -> Iterator[str]:
    return (wire.sse(f'{{"jsonrpc":"2.0","id":7,"result":{result}}}') for result in wire.a2a(count))


def adk(count: int) -> Iterator[str]:
    def event(*parts: dict[str, Any], **fields: Any) -> str:
        base = {"author": "a", "invocationId": "i", "content": {"role": "model", "parts": list(parts)}}
        return wire.sse({**base, **fields})

    for word in wire.words(count):
        yield event({"text": word}, partial=True)
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 12, "totalTokenCount": 21}
    yield event({"text": wire.text_of(count)}, usageMetadata=usage)
    yield event({"functionCall": {"name": "wx", "args": {}}})
    yield event({"functionResponse": {"name": "wx", "response": {}}})
    yield event({"text": ""})


def langserve(count: int) -> Iterator[str]:
    def event(kind: str, data: Any, *parents: str) -> str:
        one = {"event": kind, "run_id": "r2", "name": "m", "tags": [], "metadata": {}, "data": data}
        return wire.sse({**one, "parent_ids": list(parents)}, "data")

    yield event("on_chain_start", {})
    yield event("on_chat_model_stream", {"chunk": {"content": "", "type": "AIMessageChunk", "id": "a"}}, "r1")
    for word in wire.words(count):
        chunk = {"content": word, "type": "AIMessageChunk", "id": "a"}
        yield event("on_chat_model_stream", {"chunk": chunk}, "r1")
        # Each enclosing level of the graph repeats the event.
        yield event("on_chain_stream", {"chunk": word}, "r1")
    usage = {"input_tokens": 9, "output_tokens": 12, "total_tokens": 21}
    yield event("on_chat_model_end", {"output": {"content": "", "usage_metadata": usage}}, "r1")
    yield event("on_tool_start", {"input": {}}, "r1")
    yield "event: end\n\n"


class Case(NamedTuple):
    path: str
    events: Callable[[int], Iterator[str]]
    # The positions of the first text and the first tool event. The texts follow each other.
    text: int
    tool: int | None
    tokens: int = 12
    source: str = "usage"
    content_type: str = "text/event-stream"
    field: str = "x-nothing: 1"
    # The distance in events from one text to the next.
    stride: int = 1


CASES = {
    "a2a": Case("/v1/message:stream", a2a, 2, None, WORDS, "estimated"),
    "adk": Case("/run_sse", adk, 0, WORDS + 1),
    "ag_ui": Case("/ag-ui", wire.ag_ui, 2, WORDS + 3),
    "anthropic": Case("/v1/messages", wire.anthropic, 2, WORDS + 3),
    "convention": Case("/agent", wire.convention, 1, WORDS + 1, WORDS, "estimated"),
    "gemini": Case("/v1/models/m:streamGenerateContent?alt=sse", wire.gemini, 0, WORDS),
    "gemini array": Case("/v1/models/m:streamGenerateContent", wire.gemini_array, 0, WORDS, content_type="application/json"),
    "langgraph": Case("/runs/stream", wire.langgraph, 1, WORDS + 1),
    "langserve": Case("/chain/stream", langserve, 2, 2 + 2 * WORDS + 1, stride=2),
    "ollama": Case("/api/chat", wire.ollama, 0, WORDS, content_type="application/x-ndjson"),
    "openai_chat": Case("/v1/chat/completions", wire.openai, 1, WORDS + 1),
    "openai completions": Case("/v1/completions", wire.completions, 0, None),
    "openai_responses": Case("/v1/responses", wire.responses, 3, WORDS + 6),
    "vercel_ui": Case("/ui", wire.vercel_ui, 3, WORDS + 4, field="x-vercel-ai-ui-message-stream: v1"),
    "vercel_v4": Case("/ui/v4", wire.vercel_v4, 1, WORDS + 1, content_type="text/plain", field="x-vercel-ai-data-stream: v1"),
}


def measure(weir, upstream, case: Case) -> dict[str, float]:
    """Runs one stream. Returns how far the scrape deviates from the truth, in seconds and shares."""
    sent: list[float] = []

    def script(connection):
        connection.request()
        connection.head(case.content_type, "200 OK", case.field)
        due = time.monotonic()
        for event in case.events(WORDS):
            due += PACE
            # This sets the pace of the model; it does not wait for anything.
            time.sleep(max(0.0, due - time.monotonic()))
            sent.append(time.monotonic())
            connection.chunk(event)
        connection.end()

    proxy = weir(upstream(script).url)
    asked = time.monotonic()
    with Raw(proxy.url).post(case.path) as client:
        client.read_body()
    ended = proxy.ended()
    assert ended["outcome"] == "finished", ended
    assert (ended["tokens"], ended["tokens_source"]) == (case.tokens, case.source), ended
    metrics = proxy.metrics()
    assert metrics.value("weir_output_tokens_total") == case.tokens
    assert metrics.value("weir_output_tokens_total", source=case.source) == case.tokens
    texts = sent[case.text : case.text + WORDS * case.stride : case.stride]
    told = {
        kind: metrics.value("weir_time_to_first_token_seconds_sum", kind=kind)
        for kind in ("answer", "reasoning", "tool")
    }
    seen = {
        kind: metrics.value("weir_time_to_first_token_seconds_count", kind=kind)
        for kind in ("answer", "reasoning", "tool")
    }
    assert seen == {"answer": 1, "reasoning": 0, "tool": float(case.tool is not None)}
    speed = (case.tokens - 1) / (texts[-1] - texts[0])
    off = {
        "answer": abs(told["answer"] - (texts[0] - asked)),
        "event": abs(metrics.value("weir_time_to_first_event_seconds_sum") - (sent[0] - asked)),
        "gaps": abs(metrics.value("weir_inter_token_seconds_sum") - (texts[-1] - texts[0])),
        "speed": abs(metrics.value("weir_stream_output_tokens_per_second_sum") / speed - 1),
        "per token": abs(metrics.value("weir_time_per_output_token_seconds_sum") * speed - 1),
        # Tokens that a busy machine delivers in one piece have one gap.
        "gaps counted": abs(metrics.value("weir_inter_token_seconds_count") - (WORDS - 1)),
    }
    if case.tool is not None:
        off["tool"] = abs(told["tool"] - (sent[case.tool] - asked))
    return off


@pytest.mark.parametrize("name", CASES)
def test_each_dialect_is_timed_and_counted_as_it_was_sent(weir, upstream, name):
    for _ in range(ATTEMPTS):
        off = measure(weir, upstream, CASES[name])
        bounds = {what: SPEED_SHARE if what in ("speed", "per token") else TTFT_SECONDS for what in off} | {"gaps counted": 0}
        if all(off[what] <= bound for what, bound in bounds.items()):
            return
    raise AssertionError(f"off by {off}")


def test_reasoning_has_its_own_first_moment(weir, upstream):
    def chunk(**delta: str) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return wire.sse({"object": "chat.completion.chunk", "choices": [choice]})

    def script(connection):
        connection.request()
        connection.head()
        for event in (chunk(role="assistant", content=""), chunk(reasoning_content=""), ": ping\n\n"):
            connection.chunk(event)
        connection.chunk(chunk(reasoning_content="Hm"))
        connection.chunk(chunk(reasoning_content="m"))
        connection.chunk(chunk(content="Rain"))
        connection.chunk(wire.sse("[DONE]"))
        connection.end()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post("/v1/chat/completions") as client:
        client.read_body()
    proxy.outcomes(finished=1)
    metrics = proxy.metrics()
    firsts = metrics.by("weir_time_to_first_token_seconds_count", "kind")
    assert firsts == {"answer": 1, "reasoning": 1}
    estimated = {"source": "estimated"}
    assert metrics.value("weir_output_tokens_total", type="reasoning", **estimated) == 2
    assert metrics.value("weir_output_tokens_total", type="content", **estimated) == 1


def test_a_stream_that_is_cut_counts_what_was_seen(weir, upstream):
    def chunk(count: int) -> str:
        choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}
        usage = {"prompt_tokens": 9, "completion_tokens": count}
        return wire.sse({"object": "chat.completion.chunk", "choices": [choice], "usage": usage})

    def script(connection):
        connection.request()
        connection.head()
        for count in (3, 6, 9):
            connection.chunk(chunk(count))
        connection.fin()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post("/v1/chat/completions") as client:
        client.read_body()
    ended = proxy.ended()
    assert (ended["tokens"], ended["tokens_source"]) == (9, "cumulative")
    assert proxy.metrics().value("weir_output_tokens_total", source="cumulative") == 9


def test_what_clients_and_models_call_things_adds_no_series(weir, upstream):
    """Sends 10,000 models, paths and ids."""

    def script(connection):
        while True:
            request = connection.request()
            name = request.line.split()[1].rpartition("/")[2]
            chunk = {"id": name, "model": f"model-{name}", "object": "chat.completion.chunk"}
            choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}
            connection.head()
            connection.chunk(wire.sse({**chunk, "choices": [choice]}) + wire.sse("[DONE]"))
            connection.end()

    proxy = weir(upstream(script).url)

    def ask(worker: int, count: int) -> None:
        with Raw(proxy.url) as client:
            for number in range(count):
                model = json.dumps({"model": f"m{worker}-{number}", "stream": True}).encode()
                client.post(f"/v1/{worker}-{number}", model, x_request_id=f"r{worker}-{number}")
                client.read_body()

    ask(0, 3)
    before = len(proxy.metrics().samples)
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ask, worker, 1250) for worker in range(1, 9)]:
            done.result()
    metrics = proxy.metrics()
    assert metrics.value("weir_streams_total", outcome="finished") == 10_003
    assert len(metrics.samples) == before
    assert "model" not in metrics.text and "r1-1" not in metrics.text
