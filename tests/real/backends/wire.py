"""What do agents put on the wire? The same answer in each dialect, framed as its servers frame it."""

import json
from collections.abc import Iterator
from typing import Any

from backends.control import words

ARGUMENTS = ['{"city":', ' "Oslo"', "}"]


def sse(data: Any, name: str | None = None) -> str:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return (f"event: {name}\n" if name else "") + f"data: {text}\n\n"


def openai(count: int | None) -> Iterator[str]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse({**base, "choices": [choice]})

    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    yield chunk({"role": "assistant", "content": ""})
    for word in words(count):
        yield chunk({"content": word})
    call = {"index": 0, "id": "t1", "type": "function", "function": {"name": "wx", "arguments": ""}}
    yield chunk({"tool_calls": [call]})
    for part in ARGUMENTS:
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    yield chunk({}, "tool_calls")
    usage = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
    yield sse({**base, "choices": [], "usage": usage})
    yield sse("[DONE]")


def anthropic(count: int | None) -> Iterator[str]:
    def event(kind: str, **fields: Any) -> str:
        return sse({"type": kind, **fields}, kind)

    def delta(index: int, kind: str, **fields: str) -> str:
        return event("content_block_delta", index=index, delta={"type": kind, **fields})

    message = {
        "id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1},
    }  # fmt: skip
    yield event("message_start", message=message)
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for word in words(count):
        yield delta(0, "text_delta", text=word)
    yield event("content_block_stop", index=0)
    tool = {"type": "tool_use", "id": "t1", "name": "wx", "input": {}}
    yield event("content_block_start", index=1, content_block=tool)
    for part in ARGUMENTS:
        yield delta(1, "input_json_delta", partial_json=part)
    yield event("content_block_stop", index=1)
    stop = {"stop_reason": "tool_use", "stop_sequence": None}
    yield event("message_delta", delta=stop, usage={"output_tokens": 12})
    yield event("message_stop")


def ollama(count: int | None) -> Iterator[str]:
    def line(content: str, **fields: Any) -> str:
        message = {"role": "assistant", "content": content}
        base = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message}
        return json.dumps({**base, "done": False, **fields}) + "\n"

    for word in words(count):
        yield line(word)
    yield line("", done=True, done_reason="stop", prompt_eval_count=9, eval_count=12, eval_duration=80000000)


def convention(count: int | None) -> Iterator[str]:
    def event(kind: str, **fields: Any) -> str:
        return sse({"type": kind, **fields}, kind)

    yield event("status", content="thinking")
    for word in words(count):
        yield event("token", content=word)
    yield event("tool_call", id="t1", name="wx", args={"city": "Oslo"})
    yield event("tool_result", id="t1", content="4 \u00b0C")
    yield event("done")


def text_of(count: int | None = 6) -> str:
    return "".join(words(count))
