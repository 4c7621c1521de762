"""Tests that unmodified clients build the same response from joined deltas.

1. A client that reads nothing makes Weir join the waiting events, in each dialect.
2. What the client then reads is passed, byte for byte, to the dialect's own client.
3. Text and tool arguments must be those that the backend sent.
"""

import json
from typing import Any

import pytest

from backends import wire
from support.clients import agents, node, python
from support.raw import Raw
from support.wait import settled

WORDS = 12_000
QUEUE = {"max_events": 8, "overflow": "block"}
RPC = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": {}}

# The path, the body, and the clients that read the result.
CASES = {
    "openai_chat": ("/v1/chat/completions", {}, [python.openai_python, node.openai_node]),
    "openai completions": ("/v1/completions", {}, [python.openai_completions]),
    "openai_responses": ("/v1/responses", {}, [python.openai_responses, node.responses_node]),
    "anthropic": ("/v1/messages", {}, [python.anthropic_python, node.anthropic_node]),
    "gemini": ("/v1/models/m:streamGenerateContent?alt=sse&", {}, [python.genai_python, node.genai_node]),
    "ollama": ("/api/chat", {}, [python.ollama_python, node.ollama_node]),
    "langgraph": ("/runs/stream", {}, [agents.langgraph_python, node.langgraph_node]),
    "vercel_ui": ("/ui", {}, [node.ai_node]),
    "ag_ui": ("/ag-ui", {}, [node.agui_node]),
    "a2a": ("/a2a", RPC, [agents.a2a_python]),
}


def arguments(value: Any) -> str:
    """Concatenates the pieces of streamed tool arguments in a client's result."""
    if isinstance(value, list):
        return "".join(map(arguments, value))
    if not isinstance(value, dict):
        return ""
    kind = str(value.get("type", ""))
    if kind.endswith("arguments.delta") or kind == "TOOL_CALL_ARGS":
        return value["delta"]
    for key in ("partial_json", "inputTextDelta"):
        if key in value:
            return value[key]
    if "tool_call_chunks" in value:
        return "".join(part["args"] or "" for part in value["tool_call_chunks"])
    if "tool_calls" in value and kind == "":
        return "".join((call["function"].get("arguments") or "") for call in value["tool_calls"] or [])
    return "".join(arguments(one) for one in value.values())


@pytest.mark.parametrize("dialect", CASES)
def test_what_was_joined_is_what_was_sent(weir, fastapi, upstream, name, dialect):
    path, body, clients = CASES[dialect]
    proxy, run = weir(fastapi.url, defaults={"queue": QUEUE}), name()
    query = f"run={run}&count={WORDS}"
    path = f"{path}{query}" if path.endswith("&") else f"{path}?{query}"
    with Raw(proxy.url, receive_buffer=4096) as client:
        client.send("POST", path, json.dumps({**body, "stream": True}).encode(), content_type="application/json")
        client.read_head()
        # The backend stops when all buffers are full, or when it has sent everything and Weir joined it.
        settled("the backend stands still", lambda: fastapi.seen(run)["sent"])
        merged_body = client.read_body()
    ended = proxy.ended()
    assert (ended["outcome"], ended["dropped"]) == ("finished", 0)
    assert ended["merged"] > WORDS / 4, "it was not slow enough"

    def replay(connection):
        while True:
            connection.request()
            fields = ["x-vercel-ai-ui-message-stream: v1"] if dialect == "vercel_ui" else []
            connection.head(client.headers["content-type"], "200 OK", *fields)
            connection.chunk(merged_body)
            connection.end()

    server = upstream(replay)
    for show in clients:
        result = show(server.url, {})
        assert result.error is None
        assert result.text == wire.text_of(WORDS)
        if dialect in ("openai_chat", "openai_responses", "anthropic", "langgraph", "vercel_ui", "ag_ui"):
            assert "".join(wire.ARGUMENTS) in arguments(result.events)
