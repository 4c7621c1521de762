"""Tests that the examples for WebSocket and for several agents work as they are in deploy/examples: only addresses are
replaced. The agents are those that the examples name, and refuse bodies that they would not read."""

import json
import re
import subprocess
import time
from urllib.parse import urlsplit

import pytest
import yaml
from websockets.exceptions import InvalidStatus

from backends import wire
from backends.examples_app import WORDS as MODEL
from backends.langgraph_agent_app import FIRST, SECOND
from backends.websocket_chat import WORDS as CHAT
from backends.websocket_chat import done, token
from support.backend import Backend
from support.clients import node
from support.clients.websocket import address, opened
from support.docs import ADDRESS
from support.process import REAL, ROOT
from support.raw import Raw
from support.wait import PATIENCE

EXAMPLES = ROOT / "deploy/examples"
DOC = ROOT / "docs/merge.md"
OWN = {"listen": "127.0.0.1:0", "admin": {"listen": "127.0.0.1:0"}, "drain": {"delay": "0s", "limit": "2s"}}
# By package of the AI SDK.
PACKAGES = ("ai5", "ai", "ai7")
# The site that websocket-bridge.yaml lets in.
PAGE = "https://app.example.com"


@pytest.fixture(scope="module")
def agent():
    one = Backend.uvicorn("examples_app")
    yield one
    one.close()


def example(name, **agents):
    """Returns the configuration of an example, with the address of each of its upstreams, and free ports."""
    config = yaml.safe_load((EXAMPLES / name).read_text())
    assert config["upstreams"].keys() == agents.keys()
    for upstream, url in agents.items():
        section = config["upstreams"][upstream]
        [endpoint] = section["endpoints"]
        # The scheme and the path are the example's.
        section["endpoints"] = [urlsplit(endpoint)._replace(netloc=urlsplit(url).netloc).geturl()]
    return {**config, **OWN}


def chats(package, source):
    """Asks once through a transport of the AI SDK. Returns the state of the chat, and its texts."""
    result = node.script("example_chat.mjs", package=package, source=source)("", {})
    [chat] = result.events
    assert (result.error, chat["status"]) == (None, "ready")
    return chat, {part["text"] for part in chat["parts"] if part["type"] == "text"}


def message(request, **body):
    return json.dumps({"type": "message", "id": request, "body": body})


def asked(text="Weather?"):
    return {"messages": [{"role": "user", "content": text}]}


def until_event(socket, kind, **fields):
    """Returns the events up to one of this kind."""
    events = []
    while not events or not {"type": kind, **fields}.items() <= events[-1].items():
        events.append(json.loads(socket.recv(PATIENCE)))
    return events


def text_of(events):
    return "".join(event["text"] for event in events if event["type"] == "token")


# websocket-bridge.yaml


@pytest.mark.parametrize("origin", [PAGE, None])
def test_clients_of_the_bridge_come_back(weir, agent, name, origin):
    """A page of the site that is listed, and a client that is no browser."""
    proxy, run = weir(config=example("websocket-bridge.yaml", agent=agent.url)), name()
    path = f"/chat?run={run}&step=1"
    with opened(proxy.url, path, origin=origin, subprotocols=["weir.v1"]) as socket:
        assert socket.subprotocol == "weir.v1"
        socket.send(message("q1", **asked()))
        agent.open(run, 2)
        before = until_event(socket, "token")
        assert before[0]["request"] == "q1"
    last = before[-1]
    with opened(proxy.url, path, origin=origin) as socket:
        socket.send(json.dumps({"type": "resume", "stream": last["stream"], "after": last["seq"]}))
        agent.open(run, 99)
        after = until_event(socket, "finish", scope="run")
    assert text_of(before + after) == wire.text_of()
    assert [event["seq"] for event in before + after] == list(range(1, len(before + after) + 1))
    proxy.outcomes(finished=3)


def test_pages_of_other_sites_are_refused(weir, agent):
    proxy = weir(config=example("websocket-bridge.yaml", agent=agent.url))
    with pytest.raises(InvalidStatus) as refused:
        opened(proxy.url, "/chat", origin="https://evil.example")
    assert refused.value.response.status_code == 403


def test_the_transport_of_the_ai_sdk_asks_an_agent_of_openais_form(weir, agent, name):
    if not (REAL / "node/node_modules/ai7").exists():
        pytest.skip("ai7 is not in package.json")
    proxy, run = weir(config=example("websocket-bridge.yaml", agent=agent.url)), name()
    task = {"url": address(proxy.url, f"/api/chat?run={run}"), "headers": {}}
    command = ["node", "websocket_transport.mjs", json.dumps(task)]
    ran = subprocess.run(command, cwd=REAL / "node", capture_output=True, text=True, timeout=90)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    # Another form would have been refused. No stream of the chat runs any more.
    assert (seen["text"], seen["resumed"], seen["aborted"]) == ("".join(MODEL), None, "start")


# websocket-upstream.yaml


def behind_http(weir, agent):
    return weir(config=example("websocket-upstream.yaml", agent=agent.url))


def test_a_post_is_the_first_message_of_the_examples_form(weir, agent, name):
    """The agent keeps its WebSocket open, and the stream ends all the same."""
    proxy, run = behind_http(weir, agent), name()
    with Raw(proxy.url).post(f"/chat?run={run}&do=stay", b'{"q":1}', authorization="Bearer k") as client:
        client.read_body()
        events = [json.loads(event.data) for event in client.events()]
    assert events == [json.loads(one) for one in [*map(token, CHAT), done()]]
    ended = agent.becomes(run, "closed")
    assert json.loads(ended["asked"]) == {"type": "message", "content": {"q": 1}}
    assert (ended["authorization"], ended["heard"], ended["code"]) == ("Bearer k", [], 1000)
    proxy.outcomes(finished=1)


def test_who_leaves_interrupts_the_run(weir, agent, name):
    proxy, run = behind_http(weir, agent), name()
    with Raw(proxy.url).post(f"/chat?run={run}&do=hang") as client:
        client.until_events(1)
    left = time.monotonic()
    heard = agent.becomes(run, "closed")["heard"]
    assert time.monotonic() - left < 2
    assert [json.loads(one) for one in heard] == [{"type": "interrupt"}]


def test_an_event_source_asks_without_a_body(weir, agent, name):
    proxy, run = behind_http(weir, agent), name()
    seen = node.eventsource_node(proxy.url, {"run": run, "do": "stay"})
    said = [json.loads(data) for _, data, _ in seen.events]
    assert said[: len(CHAT)] == [json.loads(token(word)) for word in CHAT]
    assert json.loads(agent.becomes(run, "closed")["asked"]) == {"type": "message", "content": None}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_chat_asks_for_its_form(weir, agent, package):
    url = f"{behind_http(weir, agent).url}/chat"
    options = json.dumps({"api": url, "headers": {"Weir-Reply": "ai-sdk"}})
    _, texts = chats(package, f"const transport = new DefaultChatTransport({options});")
    assert texts == {"".join(CHAT)}


# merge.yaml


@pytest.fixture
def team(weir, agent, langgraph_agent):
    return weir(config=example("merge.yaml", graph=langgraph_agent.url, backend=agent.url, model=agent.url))


SAID = {"".join(FIRST), "".join(SECOND), wire.text_of(), "".join(MODEL)}
OUTCOMES = {"researcher": "finished", "clerk": "finished", "writer": "finished"}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_chat_of_the_page_shows_all_agents(team, package):
    """With the code of docs/merge.md."""
    code, *_ = re.findall(r"^```js\n(.*?)^```$", DOC.read_text(), re.MULTILINE | re.DOTALL)
    assert 'api: "/team"' in code
    chat, texts = chats(package, code.replace('"/team"', json.dumps(f"{team.url}/team")))
    assert texts >= SAID
    states = {part["id"]: part["data"]["state"] for part in chat["parts"] if part["type"] == "data-weir-agent"}
    assert states == OUTCOMES
    assert team.ended()["outcome"] == "finished"


def test_a_client_of_native_events_sends_the_same_body(team):
    body = json.dumps({**asked(), "input": asked()}).encode()
    with Raw(team.url).post("/team", body, weir_reply="events") as client:
        assert client.status == 200
        client.read_body()
        events = [event.json() for event in client.events()]
    texts = {name: "" for name in OUTCOMES}
    for event in events:
        if event["type"] == "token":
            texts[event["agent"][0]] += event["text"]
    assert texts == {"researcher": "".join(FIRST + SECOND), "clerk": wire.text_of(), "writer": "".join(MODEL)}
    assert events[-1]["agents"] == OUTCOMES


@pytest.mark.parametrize("missing", ["input", "messages"])
def test_an_agent_whose_member_is_missing_fails_alone(team, missing):
    body = {**asked(), "input": asked()}
    del body[missing]
    with Raw(team.url).post("/team", json.dumps(body).encode(), weir_reply="events") as client:
        client.read_body()
        last = client.events()[-1].json()
    failed = {name for name, outcome in last["agents"].items() if outcome != "finished"}
    assert failed == ({"researcher"} if missing == "input" else {"clerk", "writer"})


def test_the_pages_name_the_examples():
    websocket = (ROOT / "docs/websocket.md").read_text()
    for doc, name in ((DOC.read_text(), "merge"), (websocket, "websocket-bridge"), (websocket, "websocket-upstream")):
        assert f"(../deploy/examples/{name}.yaml)" in doc
    for name in ("merge.yaml", "websocket-bridge.yaml"):
        assert f"listen: {ADDRESS.removeprefix('http://')}\n" in (EXAMPLES / name).read_text()
