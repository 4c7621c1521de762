"""Tests that one request to a route with several agents is one stream for unmodified clients: docs/merge.md.

A real LangGraph agent answers beside agents that replay what real servers write. Each client must show the text of every
agent, whatever becomes of the others.
"""

import json
import threading
import time

import pytest

from support import sse
from support.clients import node, python
from support.fleet import known, over, ready
from support.process import ROOT
from support.raw import Raw
from support.resume import RESUME, rest
from support.wait import until

DATA = ROOT / "tests/data"
SSE = "text/event-stream"
# What the agent of backends/langgraph_agent_app.py says, in two messages.
GRAPH = ["I ask the harbour.", "High water is at 14:10."]
CHATS = {"ai-5": node.ai_chat_5, "ai-6": node.ai_chat_6, "ai-7": node.ai_chat_7}
CONVENTION = b"".join(
    b'data: {"type":"token","content":"%s"}\n\n' % word for word in (b"Bring ", b"an ", b"umbrella.")
) + b'data: {"type":"done"}\n\n'


def replay(body: bytes, *, cut: bool = False):
    def script(connection):
        while True:
            connection.request(within=60)
            connection.send(f"HTTP/1.1 200 OK\r\ncontent-type: {SSE}\r\ntransfer-encoding: chunked\r\n\r\n")
            connection.chunk(body)
            if cut:
                connection.fin()
                return
            connection.end()

    return script


def refuse(connection):
    while True:
        connection.request(within=60)
        connection.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")


def stalls(connection):
    """Says something, and then nothing until its client leaves."""
    connection.request(within=60)
    connection.send(f"HTTP/1.1 200 OK\r\ncontent-type: {SSE}\r\ntransfer-encoding: chunked\r\n\r\n")
    connection.chunk(b'data: {"type":"token","content":"wait"}\n\n')
    connection.gone(within=30)


def anthropic() -> bytes:
    return (DATA / "anthropic/text.sse").read_bytes().replace(b"\r\n", b"\n")


@pytest.fixture
def team(weir):
    """`team(reply, agents)` starts Weir with one route to agents: the URL and the path of each, by name."""

    def start(reply: str, agents: dict[str, tuple[str, str | None]], **merge):
        listed = [{"name": name, "upstream": name, "path": path} for name, (_, path) in agents.items()]
        return weir(
            next(iter(agents.values()))[0],
            upstreams={name: {"endpoints": [url]} for name, (url, _) in agents.items()},
            defaults={"reply": {"as": reply, "offer": ["events"]}, "deadlines": {"idle": "3s"}},
            routes=[{"name": "all", "merge": {"agents": listed, **merge}}],
        )

    return start


def events(proxy) -> list[dict]:
    with Raw(proxy.url).post("/", weir_reply="events") as client:
        blocks = client.read_body().decode().split("\n\n")
    return [json.loads(block.partition("data: ")[2]) for block in blocks if block]


def said(stream: list[dict], agent: str) -> str:
    return "".join(event["text"] for event in stream if event["type"] == "token" and event["agent"] == [agent])


@pytest.mark.parametrize("version", CHATS)
def test_a_chat_shows_all_agents_and_what_became_of_each(team, upstream, langgraph_agent, version):
    cut = CONVENTION[: CONVENTION.index(b"umbrella")]
    cut = cut[: cut.rindex(b"\n\n") + 2]
    proxy = team(
        "ai-sdk",
        {
            "graph": (langgraph_agent.url, "/ui"),
            "claude": (upstream(replay(anthropic())).url, None),
            "dies": (upstream(replay(cut, cut=True)).url, None),
            "stalls": (upstream(stalls).url, None),
            "refuses": (upstream(refuse).url, None),
        },
    )
    result = CHATS[version](proxy.url, {})
    [chat] = result.events
    assert (result.error, chat["status"], chat["requests"]) == (None, "ready", 1)
    texts = [part for part in chat["parts"] if part["type"] == "text"]
    assert all(part["state"] == "done" for part in texts)
    shown = {part["text"] for part in texts}
    assert shown >= {*GRAPH, "Rain in Oslo"}
    states = {part["id"]: part["data"]["state"] for part in chat["parts"] if part["type"] == "data-weir-agent"}
    assert states == {
        "graph": "finished",
        "claude": "finished",
        "dies": "failed",
        "stalls": "failed",
        "refuses": "failed",
    }
    line = proxy.ended()
    assert line["outcome"] == "finished"
    assert "refuses=upstream_status" in line["agents"] and "stalls=idle_timeout" in line["agents"]


@pytest.mark.parametrize("client", [node.agui_node, node.agui_0_node])
def test_ag_ui_accepts_subagents(team, upstream, client):
    proxy = team(
        "ag-ui",
        {
            "claude": (upstream(replay(anthropic())).url, None),
            "words": (upstream(replay(CONVENTION)).url, None),
        },
    )
    result = client(proxy.url, {})
    assert result.error is None
    assert "Rain in Oslo" in result.text and "umbrella." in result.text


@pytest.mark.parametrize("client", [python.openai_python, node.openai_node])
def test_openai_clients_get_one_text_with_headings(team, upstream, client):
    proxy = team(
        "openai-chat",
        {
            "claude": (upstream(replay(anthropic())).url, None),
            "words": (upstream(replay(CONVENTION)).url, None),
        },
    )
    result = client(proxy.url, {})
    assert result.error is None
    for paragraph in ("**claude**\n\nRain in Oslo", "**words**\n\nBring an umbrella."):
        assert paragraph in result.text


def test_native_events_are_one_sequence(team, upstream):
    proxy = team(
        "events",
        {
            "claude": (upstream(replay(anthropic())).url, None),
            "words": (upstream(replay(CONVENTION)).url, None),
        },
    )
    stream = events(proxy)
    assert [event["seq"] for event in stream] == list(range(1, len(stream) + 1))
    assert said(stream, "claude") == "Rain in Oslo"
    assert said(stream, "words") == "Bring an umbrella."
    assert stream[-1]["agents"] == {"claude": "finished", "words": "finished"}


def test_agents_that_all_refuse_are_one_refusal_as_it_came(team, upstream):
    def busy(connection):
        while True:
            connection.request(within=60)
            connection.send("HTTP/1.1 429 Too Many Requests\r\nretry-after: 9\r\ncontent-length: 4\r\n\r\nbusy")

    proxy = team("events", {"a": (upstream(busy).url, None), "b": (upstream(busy).url, None)})
    with Raw(proxy.url).post("/") as client:
        assert client.status == 429
        assert client.headers["retry-after"] == "9"
        assert client.read_body() == b"busy"


def test_a_client_that_leaves_ends_all_calls(team, upstream):
    begun, left = [], []

    def watched(connection):
        connection.request(within=60)
        connection.send(f"HTTP/1.1 200 OK\r\ncontent-type: {SSE}\r\ntransfer-encoding: chunked\r\n\r\n")
        connection.chunk(b'data: {"type":"token","content":"x"}\n\n')
        begun.append(connection)
        connection.gone(within=10)
        left.append(time.monotonic())

    proxy = team("events", {name: (upstream(watched).url, None) for name in ("a", "b", "c")})
    with Raw(proxy.url).post("/") as client:
        client.until_bytes(b"token")
        # A call that is cancelled before its request has arrived never begins.
        until("all agents stream", lambda: len(begun) == 3)
    began = time.monotonic()
    while len(left) < 3 and time.monotonic() < began + 5:
        time.sleep(0.01)
    assert len(left) == 3 and max(left) - began < 1.0


def texts(events: list[dict]) -> dict[str, str]:
    """Returns what each agent has said, in native events or in parts of the AI SDK."""
    found: dict[str, str] = {}
    for event in events:
        if event["type"] == "token":
            agent, text = event["agent"][0], event["text"]
        elif event["type"] == "text-delta":
            agent, text = event["id"].partition(":")[0], event["delta"]
        else:
            continue
        found[agent] = found.get(agent, "") + text
    return found


@pytest.mark.parametrize("reply", ["events", "ai-sdk"])
def test_another_instance_continues_a_stream_of_several_agents(weir, upstream, redis, reply):
    go = threading.Event()

    def pausing(first: str, second: str):
        def script(connection):
            connection.request(within=60)
            connection.head()
            connection.chunk(json.dumps({"type": "token", "content": first}).join(("data: ", "\n\n")))
            assert go.wait(60)
            connection.chunk(json.dumps({"type": "token", "content": second}).join(("data: ", "\n\n")))
            connection.chunk('data: {"type":"done"}\n\n')
            connection.end()

        return script

    said = {"poet": ("Sea ", "foam."), "clerk": ("Item ", "one")}
    agents = {name: upstream(pausing(*words)).url for name, words in said.items()}
    store = redis().reached()

    def start():
        return weir(
            agents["poet"],
            upstreams={name: {"endpoints": [url]} for name, url in agents.items()},
            defaults={"reply": {"as": reply}, **RESUME},
            resume={"store": "redis", "redis": store},
            routes=[{"name": "all", "merge": {"agents": [{"name": name, "upstream": name} for name in agents]}}],
        )

    first, second = start(), start()
    ready(first, second)
    with Raw(first.url).post("/") as client:
        stream = client.headers["weir-stream-id"]
        for words in said.values():
            client.until_bytes(words[0].encode())
        before = client.events()
    known(second, stream, len(before))
    with rest(second.url, stream, len(before)) as again:
        assert again.status == 200, again.read_body()
        go.set()
        after = sse.events(again.read_body())
    over(second, stream)
    bodies = []
    for proxy in (first, second):
        with rest(proxy.url, stream, 0) as all:
            bodies.append([event.data for event in sse.events(all.read_body())])
    assert bodies[0] == bodies[1] == [event.data for event in before + after]
    events = [json.loads(data) for data in bodies[0] if data != "[DONE]"]
    assert texts(events) == {name: "".join(words) for name, words in said.items()}
    assert events[-1]["type"] == "finish"
