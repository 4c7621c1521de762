"""Tests that agents that speak only WebSocket are served as streams: real servers behind Weir, real clients before it."""

import json
import time

import pytest

from backends.websocket_chat import WORDS, done, token
from support.backend import Backend
from support.clients import node
from support.process import python
from support.raw import Raw
from support.websocket_agents import PORT

TEXT = "".join(WORDS)
ANSWER = [*map(token, WORDS), done()]
SERVERS = ("uvicorn", "websockets", "ws")


@pytest.fixture(scope="module")
def agents():
    """`agents(name)` returns an agent that all tests share."""
    running = {}

    def one(name):
        if name not in running:
            match name:
                case "uvicorn":
                    running[name] = Backend.uvicorn("websocket_chat_app")
                case "websockets":
                    running[name] = Backend(python("-m", "backends.websocket_chat"), PORT)
                case _:
                    running[name] = Backend(["node", "node/websocket_chat.mjs"], PORT)
        return running[name]

    yield one
    for agent in running.values():
        agent.close()


def served(weir, agent, path="/chat", route=(), **websocket):
    """Starts Weir before `agent`."""
    upstream = {"endpoints": [agent.url.replace("http", "ws", 1) + path], "websocket": websocket}
    routes = [{"name": "all", "upstream": "agent", "deadlines": {"after_end": "200ms"}, **dict(route)}]
    return weir(upstreams={"agent": upstream}, routes=routes)


def data(client):
    """Returns the data of all events of a body."""
    client.read_body()
    return [event.data for event in client.events()]


@pytest.mark.parametrize("how", ["answer", "bytes", "stay"])
@pytest.mark.parametrize("server", SERVERS)
def test_each_message_is_an_event(weir, agents, name, server, how):
    """Text or the bytes of it; from an agent that closes, and from one that waits for more."""
    proxy, run = served(weir, agents(server), interrupt="stop"), name()
    with Raw(proxy.url).post(f"/?run={run}&do={how}", b'{"q":1}', authorization="Bearer k") as client:
        assert [json.loads(one) for one in data(client)] == [json.loads(one) for one in ANSWER]
    ended = agents(server).becomes(run, "closed")
    assert (ended["asked"], ended["authorization"]) == ('{"q":1}', "Bearer k")
    assert (ended["code"], ended["heard"]) == (1000, []), "nothing is interrupted"
    proxy.outcomes(finished=1)


@pytest.mark.parametrize("server", SERVERS)
def test_who_leaves_interrupts_the_agent(weir, agents, name, server):
    proxy, run = served(weir, agents(server), interrupt={"type": "interrupt"}), name()
    with Raw(proxy.url).post(f"/?run={run}&do=hang") as client:
        client.until_events(1)
    left = time.monotonic()
    ended = agents(server).becomes(run, "closed")
    assert time.monotonic() - left < 1
    assert ([json.loads(one) for one in ended["heard"]], ended["code"]) == ([{"type": "interrupt"}], 1001)
    proxy.outcomes(client_gone=1)


@pytest.mark.parametrize("server", SERVERS)
def test_another_code_than_1000_is_no_good_end(weir, agents, server):
    proxy = served(weir, agents(server))
    with Raw(proxy.url).post("/?do=close&code=1011") as client:
        first, last = data(client)
    assert json.loads(first) == json.loads(token(WORDS[0]))
    assert json.loads(last)["code"] == "truncated" and "1011" in last
    proxy.outcomes(truncated=1)


@pytest.mark.parametrize("server", SERVERS)
def test_a_refusal_is_the_agents_answer(weir, agents, server):
    proxy = served(weir, agents(server), path="/refused")
    with Raw(proxy.url).post("/") as client:
        assert client.status == 403
    proxy.outcomes()


@pytest.mark.parametrize("server", SERVERS)
def test_the_first_message_is_of_the_agents_form(weir, agents, name, server):
    proxy, run = served(weir, agents(server), open={"type": "message", "content": "$body"}), name()
    with Raw(proxy.url).post(f"/?run={run}", b'{"q":1}') as client:
        assert len(data(client)) == len(ANSWER)
    asked = agents(server).becomes(run, "closed")["asked"]
    assert json.loads(asked) == {"type": "message", "content": {"q": 1}}


def test_event_source_reads_such_an_agent(weir, agents, name):
    """It asks without a body, so the first message is made of the template alone."""
    proxy, run = served(weir, agents("uvicorn"), open={"ask": "$body"}), name()
    seen = node.eventsource_node(proxy.url, {"run": run, "do": "stay"})
    words = [json.loads(event[1]) for event in seen.events]
    assert words[: len(ANSWER)] == [json.loads(one) for one in ANSWER]
    asked = agents("uvicorn").becomes(run, "closed")["asked"]
    assert json.loads(asked) == {"ask": None}


@pytest.mark.parametrize("client", [node.ai_chat_5, node.ai_chat_7])
@pytest.mark.parametrize("server", SERVERS)
def test_chat_clients_read_such_an_agent(weir, agents, client, server):
    proxy = served(weir, agents(server), route={"reply": {"as": "ai-sdk"}})
    seen = client(proxy.url, {})
    assert (seen.text, seen.error) == (TEXT, None)
    proxy.outcomes(finished=1)


def test_a_long_silence_is_alive(weir, agents, name):
    """Weir pings the agent, and its client gets heartbeats; real agents answer by themselves."""
    proxy, run = served(weir, agents("ws"), route={"heartbeat": "100ms"}), name()
    with Raw(proxy.url).post(f"/?run={run}&do=hang") as client:
        client.until_events(1)
        time.sleep(1)
        assert agents("ws").seen(run)["state"] == "open"
    agents("ws").becomes(run, "closed")
    proxy.outcomes(client_gone=1)
