"""The bytes that agents send: the same answer in each dialect, framed as its servers frame it."""

import itertools
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
    def line(content: str, tool_calls: list[Any] | None = None, **fields: Any) -> str:
        message = {"role": "assistant", "content": content}
        if tool_calls:
            message |= {"tool_calls": tool_calls}
        base = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message}
        return json.dumps({**base, "done": False, **fields}) + "\n"

    for word in words(count):
        yield line(word)
    for name in ("wx", "clock", "sea"):
        yield line("", tool_calls=[{"function": {"name": name, "arguments": {"city": "Oslo"}}}])
    yield line("", done=True, done_reason="stop", prompt_eval_count=9, eval_count=12, eval_duration=80000000)


def responses(count: int | None) -> Iterator[str]:
    number = itertools.count()

    def event(kind: str, **fields: Any) -> str:
        return sse({"type": kind, "sequence_number": next(number), **fields}, kind)

    def response(status: str, **fields: Any) -> dict[str, Any]:
        base = {"id": "r1", "object": "response", "created_at": 1, "model": "m", "status": status}
        return {**base, "output": [], "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, **fields}

    text = {"item_id": "i1", "output_index": 0, "content_index": 0}
    message = {"id": "i1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    yield event("response.created", response=response("in_progress"))
    yield event("response.output_item.added", output_index=0, item=message)
    yield event("response.content_part.added", **text, part=part)
    said = ""
    for word in words(count):
        said += word
        yield event("response.output_text.delta", **text, delta=word, logprobs=[])
    whole = {**part, "text": said}
    yield event("response.output_text.done", **text, text=said, logprobs=[])
    yield event("response.content_part.done", **text, part=whole)
    message = {**message, "status": "completed", "content": [whole]}
    yield event("response.output_item.done", output_index=0, item=message)
    call = {"id": "f1", "type": "function_call", "call_id": "t1", "name": "wx", "arguments": ""}
    yield event("response.output_item.added", output_index=1, item=call)
    for piece in ARGUMENTS:
        yield event("response.function_call_arguments.delta", item_id="f1", output_index=1, delta=piece)
    call = {**call, "arguments": "".join(ARGUMENTS)}
    yield event("response.function_call_arguments.done", item_id="f1", output_index=1, arguments=call["arguments"], name="wx")
    yield event("response.output_item.done", output_index=1, item=call)
    usage = {"input_tokens": 9, "output_tokens": 12, "total_tokens": 21}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    yield event("response.completed", response=response("completed", output=[message, call], usage=usage))


def completions(count: int | None) -> Iterator[str]:
    base = {"id": "c1", "object": "text_completion", "created": 1, "model": "m"}
    for word in words(count):
        yield sse({**base, "choices": [{"index": 0, "text": word, "finish_reason": None, "logprobs": None}]})
    end = {"index": 0, "text": "", "finish_reason": "stop", "logprobs": None}
    for _ in range(3):
        yield sse({**base, "choices": [{**end, "finish_reason": None}]})
    yield sse({**base, "choices": [end]})
    yield sse({**base, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}})
    yield sse("[DONE]")


def _gemini(count: int | None) -> Iterator[dict[str, Any]]:
    def chunk(number: int, *parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
        content = {"role": "model", "parts": list(parts)}
        usage = {"promptTokenCount": 9, "candidatesTokenCount": number, "totalTokenCount": 9 + number}
        return {"candidates": [{"content": content, "index": 0, **fields}], "usageMetadata": usage, "modelVersion": "m"}

    number = 0
    for number, word in enumerate(words(count)):
        yield chunk(min(number, 12), {"text": word})
    for name in ("wx", "clock", "sea"):
        yield chunk(12, {"functionCall": {"name": name, "args": {"city": "Oslo"}}})
    yield chunk(12, {"text": ""}, finishReason="STOP")


def gemini(count: int | None) -> Iterator[str]:
    # Google's servers use CRLF line ends.
    return (sse(chunk).replace("\n", "\r\n") for chunk in _gemini(count))


def gemini_array(count: int | None) -> Iterator[str]:
    for number, chunk in enumerate(_gemini(count)):
        yield ("[" if number == 0 else ",\r\n") + json.dumps(chunk, indent=2, ensure_ascii=False)
    yield "\n]\n"


def langgraph(count: int | None) -> Iterator[str]:
    def event(name: str, data: Any) -> str:
        return sse(data, name).replace("\n", "\r\n")

    def message(kind: str, **fields: Any) -> str:
        base = {"content": "", "type": kind, "id": "a1", "additional_kwargs": {}, "response_metadata": {}}
        return event("messages", [{**base, **fields}, {"langgraph_node": "agent"}])

    yield event("metadata", {"run_id": "r1", "attempt": 1})
    for word in words(count):
        yield message("AIMessageChunk", content=word, tool_call_chunks=[])
    for number, piece in enumerate(ARGUMENTS):
        name, ident = ("wx", "t1") if number == 0 else (None, None)
        part = {"name": name, "args": piece, "id": ident, "index": 0, "type": "tool_call_chunk"}
        yield message("AIMessageChunk", tool_call_chunks=[part])
    usage = {"input_tokens": 9, "output_tokens": 12, "total_tokens": 21}
    yield message("AIMessageChunk", usage_metadata=usage, tool_call_chunks=[])
    yield message("tool", content="4 C", id="x1", tool_call_id="t1", name="wx", status="success")
    yield event("updates", {"agent": {"messages": []}})


def vercel_ui(count: int | None) -> Iterator[str]:
    def part(kind: str, **fields: Any) -> str:
        return sse({"type": kind, **fields})

    yield part("start", messageId="m1")
    yield part("start-step")
    yield part("text-start", id="t1")
    for word in words(count):
        yield part("text-delta", id="t1", delta=word)
    yield part("text-end", id="t1")
    yield part("tool-input-start", toolCallId="c1", toolName="wx", dynamic=True)
    for piece in ARGUMENTS:
        yield part("tool-input-delta", toolCallId="c1", inputTextDelta=piece)
    yield part("tool-input-available", toolCallId="c1", toolName="wx", input={"city": "Oslo"}, dynamic=True)
    yield part("tool-output-available", toolCallId="c1", output="4 C", dynamic=True)
    yield part("finish-step")
    yield part("finish", messageMetadata={"usage": {"inputTokens": 9, "outputTokens": 12}})
    yield sse("[DONE]")


def vercel_v4(count: int | None) -> Iterator[str]:
    def line(code: str, value: Any) -> str:
        return f"{code}:{json.dumps(value)}\n"

    usage = {"promptTokens": 9, "completionTokens": 12}
    yield line("f", {"messageId": "m1"})
    for word in words(count):
        yield line("0", word)
    yield line("b", {"toolCallId": "c1", "toolName": "wx"})
    for piece in ARGUMENTS:
        yield line("c", {"toolCallId": "c1", "argsTextDelta": piece})
    yield line("9", {"toolCallId": "c1", "toolName": "wx", "args": {"city": "Oslo"}})
    yield line("a", {"toolCallId": "c1", "result": "4 C"})
    yield line("e", {"finishReason": "stop", "usage": usage, "isContinued": False})
    yield line("d", {"finishReason": "stop", "usage": usage})


def ag_ui(count: int | None) -> Iterator[str]:
    def event(kind: str, **fields: Any) -> str:
        return sse({"type": kind, **fields})

    run = {"threadId": "t", "runId": "r"}
    yield event("RUN_STARTED", **run)
    yield event("TEXT_MESSAGE_START", messageId="m1", role="assistant")
    for word in words(count):
        yield event("TEXT_MESSAGE_CONTENT", messageId="m1", delta=word)
    yield event("TEXT_MESSAGE_END", messageId="m1")
    yield event("TOOL_CALL_START", toolCallId="c1", toolCallName="wx", parentMessageId="m1")
    for piece in ARGUMENTS:
        yield event("TOOL_CALL_ARGS", toolCallId="c1", delta=piece)
    yield event("TOOL_CALL_END", toolCallId="c1")
    yield event("STATE_SNAPSHOT", snapshot={"city": "Oslo"})
    yield event("STATE_DELTA", delta=[{"op": "add", "path": "/t", "value": 4}])
    yield event("RUN_FINISHED", **run, usage=[{"inputTokens": 9, "outputTokens": 12}])


def a2a(count: int | None) -> Iterator[str]:
    """Yields the results, which the server wraps in responses to the call that it received."""

    def status(state: str) -> str:
        return json.dumps({"statusUpdate": {**task, "status": {"state": f"TASK_STATE_{state}"}}})

    def artifact(text: str, append: bool = True) -> str:
        body = {"artifactId": "a1", "parts": [{"text": text}]}
        return json.dumps({"artifactUpdate": {**task, "append": append, "artifact": body}}, ensure_ascii=False)

    task = {"taskId": "k1", "contextId": "x1"}
    yield json.dumps({"task": {"id": "k1", "contextId": "x1", "status": {"state": "TASK_STATE_SUBMITTED"}}})
    yield status("WORKING")
    for number, word in enumerate(words(count)):
        yield artifact(word, number > 0)
    yield status("WORKING")
    yield status("COMPLETED")


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
