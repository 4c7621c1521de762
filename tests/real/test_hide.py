"""Tests that hidden output does not arrive, that everything else does, and that clients still build their messages."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from backends import wire
from support.raw import Raw

SECRET = "SECRET"
DROP = {"reasoning": "drop", "tools": "drop"}
CHAT = "/v1/chat/completions"


def hiding(**hide: Any) -> dict:
    return {"routes": [{"name": "all", "upstream": "agent", "hide": hide}]}


def serve(upstream, pieces: list[str], content_type: str = "text/event-stream"):
    def script(connection):
        while True:
            connection.request()
            connection.head(content_type)
            for piece in pieces:
                connection.chunk(piece)
            connection.end()

    return upstream(script)


def chunk(finish: str | None = None, **delta: Any) -> str:
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return wire.sse({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def spelled(text: str) -> Iterator[str]:
    """Returns one delta per character, the worst case for a model's output."""
    return (chunk(content=letter) for letter in text)


def chat(url: str) -> openai.types.chat.ChatCompletion:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        messages = [{"role": "user", "content": "?"}]
        with client.chat.completions.stream(model="m", messages=messages) as stream:
            return stream.get_final_completion()


def test_marked_text_is_hidden_from_the_openai_sdk(weir, upstream):
    text = f"<think>\n{SECRET}\n</think>Rain: \u00fc < 7\n<tool_call>{SECRET}</tool_call>\nDone <b>"
    pieces = [chunk(role="assistant", content=""), *spelled(text), chunk("stop"), wire.sse("[DONE]")]
    proxy = weir(serve(upstream, pieces).url, **hiding(**DROP))
    answer = chat(proxy.url)
    assert answer.choices[0].message.content == "Rain: \u00fc < 7\n\nDone <b>"
    ended = proxy.ended()
    assert (ended["outcome"], ended["hidden"]) == ("finished", 2 * len(SECRET) + 2)
    metrics = proxy.metrics()
    assert metrics.by("weir_leaks_hidden_total", "kind") == {"reasoning": 1, "tool": 1}
    hidden = metrics.by("weir_leak_characters_hidden_total", "kind")
    assert hidden == {"reasoning": len(SECRET) + 2, "tool": len(SECRET)}


def test_what_follows_no_mark_is_not_held_back(weir, upstream, name):
    """A token that cannot begin a marker leaves at once. One that can is held until the next token."""
    go: list[bool] = []

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(chunk(content="Rain "))
        connection.chunk(chunk(content="a <"))
        while not go:
            time.sleep(0.001)
        connection.chunk(chunk(content="b"))
        connection.chunk(chunk("stop") + wire.sse("[DONE]"))
        connection.end()

    proxy = weir(upstream(script).url, **hiding(**DROP))
    with Raw(proxy.url).post(CHAT) as client:
        client.until_bytes(b'"a "')
        go.append(True)
        client.read_body()
    text = "".join(json.loads(event.data)["choices"][0]["delta"].get("content", "") for event in client.events()[:-1])
    assert text == "Rain a <b"


def test_fields_of_reasoning_and_calls_are_emptied(weir, upstream):
    call = {"index": 0, "id": "t", "type": "function", "function": {"name": SECRET, "arguments": "{}"}}
    pieces = [
        chunk(role="assistant", reasoning_content=SECRET),
        chunk(reasoning=SECRET),
        chunk(reasoning_details=[{"type": "reasoning.text", "text": SECRET}]),
        chunk(content="Ra", reasoning_content=SECRET),
        chunk(content="in", tool_calls=[call]),
        chunk(tool_calls=[call]),
        chunk("stop"),
        wire.sse("[DONE]"),
    ]
    proxy = weir(serve(upstream, pieces).url, **hiding(**DROP))
    with Raw(proxy.url).post(CHAT) as client:
        body = client.read_body().decode()
    assert SECRET not in body
    deltas = [json.loads(event.data)["choices"][0]["delta"] for event in client.events()[:-1]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Rain"
    assert len(deltas) == 4, "the role, two words, the end"


def test_probabilities_of_hidden_text_are_hidden_with_it(weir, upstream):
    base = {"id": "c", "object": "chat.completion.chunk"}
    probable = {"content": [{"token": SECRET, "logprob": -1, "bytes": None, "top_logprobs": []}]}
    first = {"index": 0, "delta": {"content": f"<think>{SECRET}</think>Rain"}, "logprobs": probable, "token_ids": [7]}
    last = {"index": 0, "delta": {"content": "."}, "logprobs": {"content": [{"token": "."}]}, "finish_reason": "stop"}
    pieces = [wire.sse({**base, "choices": [one]}) for one in (first, last)] + [wire.sse("[DONE]")]
    proxy = weir(serve(upstream, pieces).url, **hiding(**DROP))
    with Raw(proxy.url).post(CHAT) as client:
        body = client.read_body().decode()
    choice = json.loads(client.events()[0].data)["choices"][0]
    assert SECRET not in body
    assert (choice["delta"]["content"], choice["logprobs"], choice["token_ids"]) == ("Rain", None, [])
    assert '"token": "."' in body, "what is not hidden keeps them"


def anthropic_blocks(*blocks: dict[str, Any]) -> list[str]:
    def event(kind: str, **fields: Any) -> str:
        return wire.sse({"type": kind, **fields}, kind)

    message = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    out = [event("message_start", message={**message, "usage": {"input_tokens": 9, "output_tokens": 1}})]
    for index, block in enumerate(blocks):
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}.get(block["type"], block)
        out.append(event("content_block_start", index=index, content_block={"type": block["type"], **empty}))
        if block["type"] == "text":
            out += [event("content_block_delta", index=index, delta={"type": "text_delta", "text": block["text"]})]
        if block["type"] == "thinking":
            for kind, field in (("thinking_delta", "thinking"), ("signature_delta", "signature")):
                out += [event("content_block_delta", index=index, delta={"type": kind, field: SECRET})]
        if block["type"] == "tool_use":
            out += [event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": "{}"})]
        out.append(event("content_block_stop", index=index))
    out.append(event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 12}))
    return [*out, event("message_stop")]


TOOL = {"type": "tool_use", "id": "t1", "name": "wx", "input": {}}


@pytest.mark.parametrize(
    "hide, kept",
    [
        ({"reasoning": "drop"}, ["text", "tool_use", "text"]),
        ({"tools": "drop"}, ["thinking", "text", "thinking", "text"]),
        (DROP, ["text", "text"]),
    ],
)
def test_blocks_of_anthropic_move_up(weir, upstream, hide, kept):
    """The SDK keeps blocks in a list and fails on an index that does not exist, so the indices of later blocks move
    up."""
    thought = {"type": "thinking"}
    pieces = anthropic_blocks(thought, {"type": "text", "text": "Rain"}, TOOL, thought, {"type": "text", "text": "Snow"})
    proxy = weir(serve(upstream, pieces).url, **hiding(**hide))
    with anthropic.Anthropic(base_url=proxy.url, api_key="k", max_retries=0) as client:
        messages = [{"role": "user", "content": "?"}]
        with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
            message = stream.get_final_message()
    assert [block.type for block in message.content] == kept
    assert [block.text for block in message.content if block.type == "text"] == ["Rain", "Snow"]
    assert message.usage.output_tokens == 12
    assert (SECRET in message.model_dump_json()) == ("thinking" in kept)


def test_marked_text_in_a_block_ends_with_its_block(weir, upstream):
    blocks = [{"type": "text", "text": f"<think>{SECRET}</think>Rain <th"}, {"type": "text", "text": "ink> Snow"}]
    proxy = weir(serve(upstream, anthropic_blocks(*blocks)).url, **hiding(**DROP))
    with anthropic.Anthropic(base_url=proxy.url, api_key="k", max_retries=0) as client:
        messages = [{"role": "user", "content": "?"}]
        with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
            message = stream.get_final_message()
    assert [block.text for block in message.content] == ["Rain <th", "ink> Snow"]


def responses_with_thoughts() -> list[str]:
    events = []
    reasoning = {"id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": SECRET}]}
    for piece in wire.responses(4):
        event = json.loads(piece.split("data: ")[1])
        if "output_index" in event:
            event["output_index"] += 1
        if event["type"] == "response.completed":
            event["response"]["output"].insert(0, reasoning)
        events.append(event)
    at = {"item_id": "rs", "output_index": 0, "summary_index": 0}
    thought = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**reasoning, "summary": []}},
        {"type": "response.reasoning_summary_part.added", **at, "part": {"type": "summary_text", "text": ""}},
        {"type": "response.reasoning_summary_text.delta", **at, "delta": SECRET},
        {"type": "response.reasoning_summary_text.done", **at, "text": SECRET},
        {"type": "response.reasoning_summary_part.done", **at, "part": {"type": "summary_text", "text": SECRET}},
        {"type": "response.output_item.done", "output_index": 0, "item": reasoning},
    ]
    events[1:1] = thought
    for number, event in enumerate(events):
        event["sequence_number"] = number
    return [wire.sse(event, event["type"]) for event in events]


def test_items_of_the_responses_api_move_up(weir, upstream):
    pieces = responses_with_thoughts()
    proxy = weir(serve(upstream, pieces).url, **hiding(reasoning="drop"))
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="k", max_retries=0) as client:
        with client.responses.stream(model="m", input="?") as stream:
            response = stream.get_final_response()
    assert [item.type for item in response.output] == ["message", "function_call"]
    assert response.output_text == wire.text_of(4)
    assert response.output[1].arguments == "".join(wire.ARGUMENTS)
    assert SECRET not in response.model_dump_json()


def test_a_client_that_can_be_told_is_told_once_for_each_span(weir, upstream):
    def event(kind: str, content: str) -> str:
        return wire.sse({"type": kind, "content": content}, kind)

    pieces = [
        event("thinking", SECRET), event("thinking", SECRET), event("token", "Rain"),
        event("thinking", SECRET), event("tool_call", SECRET), event("token", "."), event("done", ""),
    ]  # fmt: skip
    proxy = weir(serve(upstream, pieces).url, **hiding(reasoning="status", tools="status"))
    with Raw(proxy.url).get("/agent") as client:
        client.read_body()
    told = [(one.name, json.loads(one.data)["content"]) for one in client.events()]
    thinking, using = ("status", "Thinking..."), ("status", "Using a tool...")
    assert told == [thinking, ("token", "Rain"), thinking, using, ("token", "."), ("done", "")]


@pytest.mark.parametrize(
    "dialect, pieces, told",
    [
        ("convention", [{"type": "tool_call", "name": "web_search"}, {"type": "tool_result", "name": "web_search"},
                        {"type": "tool_start", "tool": "read_file"}], ["web_search", "read_file"]),
        ("convention", [{"type": "token", "content": text} for text in
                        ["Rain <tool_", "call>", '{"name": "web', '_search", "args": {', "}}</tool_call>", " falls"]],
         ["web_search"]),
        ("convention", [{"type": "token", "content": text} for text in
                        ["<|channel|>commentary to=functions.web_search ", "<|message|>{}<|call|>"]], ["web_search"]),
        ("convention", [{"type": "token", "content": "<tool_call>{}"}, {"type": "token", "content": "</tool_call>"}],
         ["a tool"]),
        ("convention", [{"type": "token", "content": "<tool_call>{"}], ["a tool"]),
        # Names in arguments and results must stay hidden.
        ("convention", [{"type": "tool_call", "name": "order", "args": {"tool": "hammer", "name": "Ann"}},
                        {"type": "tool_result", "content": {"name": "Bob"}}], ["order"]),
        ("convention", [{"type": "token", "content": text} for text in
                        ['<tool_call>{"arguments":{"name":"ann"},"name":"look', 'up"}</tool_call>', "\n",
                         "<tool_result>\nAnn owes</tool_result>", '<tool_call>{"name":"order"}</tool_call>']],
         ["lookup", "order"]),
        ("convention", [{"type": "token", "content": "Thought: x\nAction: lookup\nAction Input: ann\nObservation: bob\n"}],
         ["lookup"]),
        ("convention", [{"type": "token", "content": text} for text in
                        ['Sure.\n<inv', 'oke name="web', '_search" id="1">', "x</invoke>\n<function=", "read_file",
                         "><parameter=path>x</parameter></function>"]], ["web_search", "read_file"]),
        ("convention", [{"type": "token", "content": text} for text in
                        ["<|tool_calls_section_", "begin|><|tool_call_begin|>functions.look", "up:0<|tool_call_argument_begin|>{}"]],
         ["lookup"]),
        ("ag_ui", [{"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "web_search"},
                   {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{}"},
                   {"type": "TOOL_CALL_END", "toolCallId": "c"}], ["web_search"]),
        ("vercel_ui", [{"type": "tool-input-start", "toolCallId": "c", "toolName": "web_search"},
                       {"type": "tool-input-available", "toolCallId": "c", "toolName": "web_search", "input": {}}],
         ["web_search"]),
    ],
)  # fmt: skip
def test_the_name_of_the_tool_is_told(weir, upstream, dialect, pieces, told):
    proxy = weir(serve(upstream, [wire.sse(piece) for piece in pieces]).url, defaults={"dialect": dialect}, **hiding(tools="status"))
    with Raw(proxy.url).get("/agent") as client:
        body = client.read_body().decode()
    assert re.findall(r"Using (.*?)\.\.\.", body) == told
    assert "tool_call" not in body and "TOOL_CALL" not in body and "tool-" not in body


def test_the_first_visible_token_has_its_own_time(weir, upstream):
    pause = 0.3

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(chunk(content="<think>"))
        connection.chunk(chunk(content=SECRET))
        # The time that the model thinks.
        time.sleep(pause)
        connection.chunk(chunk(content="</think>Rain"))
        connection.chunk(chunk("stop") + wire.sse("[DONE]"))
        connection.end()

    proxy = weir(upstream(script).url, **hiding(reasoning="drop"))
    with Raw(proxy.url).post(CHAT) as client:
        client.read_body()
    proxy.outcomes(finished=1)
    metrics = proxy.metrics()
    answer = metrics.value("weir_time_to_first_token_seconds_sum", kind="answer")
    visible = metrics.value("weir_time_to_visible_token_seconds_sum")
    assert visible - answer >= pause * 0.9
    assert metrics.value("weir_time_to_visible_token_seconds_count") == 1


def test_what_was_held_back_leaves_before_the_word_of_a_failure(weir, upstream):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(chunk(content="Rain <thi"))
        connection.chunk(chunk(content="nk"))
        connection.fin()

    proxy = weir(upstream(script).url, **hiding(**DROP))
    with Raw(proxy.url).post(CHAT) as client:
        client.read_body()
    *texts, error = [json.loads(event.data) for event in client.events()]
    assert "".join(one["choices"][0]["delta"]["content"] for one in texts) == "Rain <think"
    assert error["error"]["code"] == proxy.ended()["outcome"]


def test_own_pairs_and_thoughts_that_the_prompt_opened(weir, upstream):
    text = f"{SECRET}</think>Rain ((({SECRET}))) Snow"
    pieces = [*spelled(text), chunk("stop"), wire.sse("[DONE]")]
    hide = {"reasoning": "drop", "markers": ["think", "((( ... )))"], "starts_hidden": True}
    proxy = weir(serve(upstream, pieces).url, **hiding(**hide))
    assert chat(proxy.url).choices[0].message.content == "Rain  Snow"


def test_hiding_is_off_by_default(weir, upstream):
    pieces = [*spelled(f"<think>{SECRET}</think>Rain"), chunk(reasoning_content=SECRET), chunk("stop"), wire.sse("[DONE]")]
    proxy = weir(serve(upstream, pieces).url)
    with Raw(proxy.url).post(CHAT) as client:
        assert client.read_body().decode() == "".join(pieces)
