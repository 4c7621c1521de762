"""Tests that unmodified clients read agents of other dialects through Weir: what they show is what the agent said.

Each agent replays a stream as a real server writes it, whatever it is asked. `tests/replies` checks all streams of all
dialects; here the judges are the clients.
"""

import json

import pytest

from support.clients import node, python
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
    "ai-node": (node.ai_node, "ai-sdk"),
    "ag-ui-node": (node.agui_node, "ag-ui"),
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
