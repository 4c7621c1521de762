"""Tests that unmodified clients read agents of other dialects through Weir: what they show is what the agent said.

Each agent replays a stream as a real server writes it, whatever it is asked. `tests/replies` checks all streams of all
dialects; here the judges are the clients.
"""

import json

import pytest

from support.clients import langchain, node, python
from support.process import ROOT
from support.raw import Raw

SSE, LINES = "text/event-stream", "application/x-ndjson"
DATA = ROOT / "tests/data"
# An agent: the stream that it replays.
AGENTS = {
    "langgraph": "langgraph/text.sse",
    "ag_ui": "ag_ui/text.sse",
    "anthropic": "anthropic/text.sse",
}
CLIENTS = {
    "openai-python": (python.openai_python, "openai-chat"),
    "openai-node": (node.openai_node, "openai-chat"),
    "anthropic-python": (python.anthropic_python, "anthropic"),
    "anthropic-node": (node.anthropic_node, "anthropic"),
    "langchain-openai": (langchain.langchain_openai, "openai-chat"),
    "ai-node": (node.ai_node, "ai-sdk"),
    "ai-5-chat": (node.ai_chat_5, "ai-sdk"),
    "ai-6-chat": (node.ai_chat_6, "ai-sdk"),
    "ai-7-chat": (node.ai_chat_7, "ai-sdk"),
    "ag-ui-node": (node.agui_node, "ag-ui"),
    "ag-ui-0.0.59-node": (node.agui_0_node, "ag-ui"),
}


def stream(agent: str) -> bytes:
    return (DATA / AGENTS[agent]).read_bytes().replace(b"\r\n", b"\n")


def replay(body: bytes, kind: str = SSE, cut: bool = False):
    def script(connection):
        while True:
            connection.request(within=60)
            connection.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n")
            connection.chunk(body)
            if cut:
                connection.fin()
                return
            connection.end()

    return script


def native(proxy) -> list[dict]:
    """Returns the stream as native events."""
    with Raw(proxy.url).post("/", weir_reply="events") as client:
        blocks = client.read_body().decode().split("\n\n")
    return [json.loads(block.partition("data: ")[2]) for block in blocks if block]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("agent", AGENTS)
def test_a_client_shows_what_an_agent_of_another_dialect_says(weir, upstream, agent, client):
    body = stream(agent)
    run, reply = CLIENTS[client]
    proxy = weir(upstream(replay(body)).url, defaults={"reply": {"as": reply, "offer": "events"}})
    events = native(proxy)
    text = "".join(event["text"] for event in events if event["type"] == "token")
    assert text and events[-1]["type"] == "finish"
    result = run(proxy.url, {})
    assert result.error is None
    assert result.text.replace("\n\n", "") == text.replace("\n\n", "")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_is_told_that_an_agent_of_another_dialect_broke(weir, upstream, client):
    body = stream("langgraph")
    cut = body.index(b"\n\n", len(body) // 2) + 2
    run, reply = CLIENTS[client]
    proxy = weir(upstream(replay(body[:cut], cut=True)).url, defaults={"reply": {"as": reply}})
    result = run(proxy.url, {})
    outcome = proxy.ended()["outcome"]
    assert outcome in ("truncated", "upstream_reset")
    assert result.error and outcome in result.error, result


def test_the_client_chooses(weir, upstream):
    body = stream("langgraph")
    proxy = weir(upstream(replay(body)).url, defaults={"reply": {"as": "same", "offer": ["ai-sdk", "ndjson"]}})
    with Raw(proxy.url).post("/") as client:
        # Without the agent's own heartbeats.
        said = lambda body: [line for line in body.splitlines() if line[:1] not in (b"", b":")]
        assert said(client.read_body()) == said(body)
        assert client.headers["vary"] == "Weir-Reply"
    with Raw(proxy.url).get("/?a=1&weir.reply=ndjson") as client:
        lines = client.read_body().splitlines()
        assert client.headers["content-type"] == LINES
        assert json.loads(lines[-1])["type"] == "finish"
    with Raw(proxy.url).post("/", weir_reply="ai-sdk") as client:
        assert client.read_body().endswith(b"data: [DONE]\n\n")
        assert client.headers["x-vercel-ai-ui-message-stream"] == "v1"
    with Raw(proxy.url).post("/", weir_reply="ag-ui") as client:
        assert client.status == 406
        assert b"same, ai-sdk, ndjson" in client.read_body()


CHATS = {"ai-5": node.ai_chat_5, "ai-6": node.ai_chat_6, "ai-7": node.ai_chat_7}
# What the agent of backends/langgraph_agent_app.py says, in two messages.
TEXTS = ["I ask the harbour.", "High water is at 14:10."]


@pytest.mark.parametrize("version", CHATS)
def test_a_chat_shows_a_tool_of_the_agent_and_does_not_run_it(weir, langgraph_agent, version):
    proxy = weir(langgraph_agent.url, defaults={"dialect": "langgraph", "reply": {"as": "ai-sdk"}})
    result = CHATS[version](proxy.url, {})
    [chat] = result.events
    assert (result.error, chat["status"], chat["requests"]) == (None, "ready", 1)
    shown = [part for part in chat["parts"] if part["type"] not in ("step-start", "data-weir-state")]
    assert [part["type"] for part in shown] == ["text", "tool-tides", "text"]
    first, tool, second = shown
    assert [first["text"], second["text"]] == TEXTS
    assert [first["state"], second["state"]] == ["done", "done"]
    assert (tool["state"], tool["input"], tool["output"]) == ("output-available", {"port": "Bergen"}, "high at 14:10")
    assert tool["providerExecuted"] is True
    assert chat["metadata"]["usage"] == {"inputTokens": 31, "outputTokens": 22, "totalTokens": 53}


def facts(result) -> tuple:
    """Returns what an application of LangChain sees besides the text."""
    [message] = result.events
    usage = message.usage_metadata
    calls = [(call["id"], call["name"], call["args"]) for call in message.tool_calls]
    assert message.invalid_tool_calls == []
    return calls, message.response_metadata["finish_reason"], (usage["input_tokens"], usage["output_tokens"])


def test_langchain_reads_a_langgraph_agent(weir, langgraph_agent):
    proxy = weir(langgraph_agent.url, defaults={"dialect": "langgraph", "reply": {"as": "openai-chat"}})
    result = langchain.langchain_openai(proxy.url, {}, path="/graph")
    assert (result.error, result.text) == (None, "\n\n".join(TEXTS))
    # A finish reason that came twice would be `stopstop`. The agent has run its tool itself.
    assert facts(result) == ([], "stop", (31, 22))


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("anthropic/text.sse", "Rain in Oslo", ([], "stop", (9, 4))),
        ("anthropic/tools.sse", "", ([("t1", "wx", {"c": 1})], "tool_calls", (9, 4))),
    ],
)
def test_langchain_reads_an_anthropic_style_agent(weir, upstream, file, text, expected):
    body = (DATA / file).read_bytes()
    policy = {"dialect": "anthropic", "reply": {"as": "openai-chat"}}
    proxy = weir(upstream(replay(body)).url, defaults=policy)
    result = langchain.langchain_openai(proxy.url, {})
    assert (result.error, result.text) == (None, text)
    assert facts(result) == expected


# Arguments of calls as careless models write them, in pieces, and what Anthropic's clients get. They read each
# beginning of the arguments, and raise on what is no beginning of an object. The first call comes as the model writes
# it, the others once it is complete.
ODD_ARGUMENTS = [
    (['{"port":', '"Os'], {"port": "Os", "INVALID_JSON": '{"port":"Os'}),
    (['{"port":', ' "Oslo"}'], {"port": "Oslo"}),
    (["hello"], {"INVALID_JSON": "hello"}),
    (["[1"], {"INVALID_JSON": "[1"}),
    (['{"a":', "}"], {"INVALID_JSON": '{"a":}'}),
    (['{"a":"\\ud83d', '"}'], {"INVALID_JSON": '{"a":"\\ud83d"}'}),
    (['{"a":1}', '{"a":2}'], {"INVALID_JSON": '{"a":1}{"a":2}'}),
    (["[1, ", "2]"], {"input": [1, 2]}),
    ([" ", "\n"], {}),
]


def odd_calls() -> bytes:
    """Returns a stream of OpenAI's API with a call for each of the odd arguments."""

    def chunk(delta: dict, reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', 'model': 'm', 'choices': [choice]})}\n\n"

    def piece(at: int, function: dict, **rest: str) -> str:
        return chunk({"tool_calls": [{"index": at, "function": function, **rest}]})

    blocks = [chunk({"role": "assistant", "content": "Let me look."})]
    for at, (pieces, _) in enumerate(ODD_ARGUMENTS):
        blocks.append(piece(at, {"name": "tides", "arguments": ""}, id=f"t{at}", type="function"))
        blocks += [piece(at, {"arguments": text}) for text in pieces]
    return ("".join(blocks) + chunk({}, "tool_calls") + "data: [DONE]\n\n").encode()


@pytest.mark.parametrize("client", [name for name in CLIENTS if not name.endswith("chat")])
def test_no_client_raises_on_odd_arguments(weir, upstream, client):
    run, reply = CLIENTS[client]
    policy = {"dialect": "openai_chat", "reply": {"as": reply}}
    proxy = weir(upstream(replay(odd_calls())).url, defaults=policy)
    result = run(proxy.url, {})
    assert (result.error, result.text) == (None, "Let me look.")
    if reply != "anthropic":
        return
    inputs: dict[int, str] = {}
    for event in result.events:
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "input_json_delta":
            inputs[event["index"]] = inputs.get(event["index"], "") + event["delta"]["partial_json"]
    got = [json.loads(inputs[index]) for index in sorted(inputs)]
    assert got == [expected for _, expected in ODD_ARGUMENTS]


def test_one_answer_has_objects_for_odd_arguments(weir, upstream):
    policy = {"dialect": "openai_chat", "reply": {"as": "anthropic", "aggregate": True}}
    proxy = weir(upstream(replay(odd_calls())).url, defaults=policy)
    with Raw(proxy.url).post("/", b"{}", content_type="application/json") as client:
        answer = json.loads(client.read_body())
    calls = [block for block in answer["content"] if block["type"] == "tool_use"]
    assert len(calls) == len(ODD_ARGUMENTS)
    assert all(isinstance(call["input"], dict) for call in calls)
    assert answer["stop_reason"] == "tool_use"
