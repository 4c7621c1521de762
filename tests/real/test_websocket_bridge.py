"""Tests bridges: real WebSocket clients in front of Weir, and a FastAPI agent that streams over HTTP behind it."""

import json
import re
import subprocess

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from backends import wire
from backends.resumable import Agent
from support.clients import node
from support.clients.websocket import address, opened
from support.process import REAL, ROOT
from support.relay import Relay
from support.wait import PATIENCE, until

CHAT = "/v1/chat/completions"


def bridged(weir, agent, websocket="bridge", **route):
    """Starts Weir with one bridge in front of `agent`."""
    return weir(agent.url, routes=[{"name": "all", "upstream": "agent", "websocket": websocket, **route}])


def script(name, **task):
    """Runs a client in Node. Returns what it has printed."""
    command = ["node", name, json.dumps(task)]
    done = subprocess.run(command, cwd=REAL / "node", capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def message(request, **body):
    return {"type": "message", "id": request, "body": {"stream": True, **body}}


def hear(socket):
    return json.loads(socket.recv(PATIENCE))


def run_of(socket):
    """Returns all events of the run that comes next."""
    events = []
    while not events or (events[-1]["type"], events[-1].get("scope")) != ("finish", "run"):
        events.append(hear(socket))
    return events


def text_of(events):
    return "".join(event["text"] for event in events if event["type"] == "token")


def test_runs_follow_each_other_on_one_socket(weir, fastapi, name):
    proxy, run = bridged(weir, fastapi), name()
    with opened(proxy.url, f"{CHAT}?run={run}", subprotocols=["weir.v1"]) as socket:
        assert socket.subprotocol == "weir.v1"
        for request in ("q1", "q2"):
            socket.send(json.dumps(message(request)))
            events = run_of(socket)
            assert (events[0]["type"], events[0]["request"]) == ("start", request)
            assert len({event["stream"] for event in events}) == 1
            assert [event["seq"] for event in events] == sorted({event["seq"] for event in events})
            assert text_of(events)
    proxy.outcomes(finished=3)
    assert proxy.metrics().value("weir_websocket_sockets") == 0


def test_a_browser_speaks_with_a_bridge_over_http2(weir, fastapi, authority, tmp_path, name):
    """RFC 8441: the page came over HTTP/2, and its WebSocket is a stream of the same connection."""
    files = authority.issue(tmp_path)
    listen = {"address": "127.0.0.1:0", "tls": {"cert": files.cert, "key": files.key}}
    routes = [{"name": "all", "upstream": "agent", "websocket": "bridge"}]
    proxy = weir(fastapi.url, listen=listen, routes=routes)
    url = proxy.url.replace("http", "https", 1)
    seen = script(
        "websocket_bridge.mjs",
        client="chromium",
        url=address(url, f"{CHAT}?run={name()}"),
        page=f"{url}/page",
        protocols=["weir.v1"],
        messages=[message("q1")],
    )
    assert (seen["opened"], seen["protocol"], seen["code"]) == (True, "weir.v1", 1000)
    assert text_of(seen["events"])
    ended = proxy.ended(transport="websocket")
    # Over HTTP/1.1 it would be a 101.
    assert (ended["status"], ended["outcome"]) == (200, "finished")


@pytest.mark.parametrize("client", ["ws", "chromium"])
def test_other_clients_get_the_same(weir, fastapi, name, client):
    proxy = bridged(weir, fastapi)
    own, theirs = name(), name()
    with opened(proxy.url, f"{CHAT}?run={own}") as socket:
        socket.send(json.dumps(message("q1")))
        expected = text_of(run_of(socket))
    seen = script(
        "websocket_bridge.mjs",
        client=client,
        url=address(proxy.url, f"{CHAT}?run={theirs}"),
        # Of the same host, so its origin is allowed.
        page=f"{proxy.url}/page",
        protocols=["weir.v1"],
        messages=[message("q1"), {"type": "ping"}, message("q2")],
    )
    assert (seen["opened"], seen["protocol"], seen["code"]) == (True, "weir.v1", 1000)
    starts = [event for event in seen["events"] if event["type"] == "start"]
    assert [event["request"] for event in starts] == ["q1", "q2"]
    assert text_of(seen["events"]) == expected * 2
    assert {"type": "pong"} in seen["events"]


def test_an_interrupt_reaches_the_agent(weir, fastapi, name):
    proxy, run = bridged(weir, fastapi), name()
    with opened(proxy.url, f"{CHAT}?run={run}&step=1") as socket:
        socket.send(json.dumps(message("q")))
        fastapi.open(run, 2)
        start = hear(socket)
        while hear(socket)["type"] != "token":
            pass
        socket.send(json.dumps({"type": "interrupt", "stream": start["stream"]}))
        while (event := hear(socket))["type"] != "error":
            pass
        assert (event["code"], event["source"], event["terminal"]) == ("stopped", "client", True)
    proxy.outcomes(stopped=1, finished=1)


def test_a_client_comes_back_after_its_connection_broke(weir, fastapi, name):
    proxy, run = bridged(weir, fastapi, resume={}, on_disconnect="continue"), name()
    path = f"{CHAT}?run={run}&step=1"
    with opened(proxy.url, path) as socket:
        socket.send(json.dumps(message("q")))
        fastapi.open(run, 2)
        before = [hear(socket)]
        while before[-1]["type"] != "token":
            before.append(hear(socket))
    with opened(proxy.url, path) as socket:
        last = before[-1]
        socket.send(json.dumps({"type": "resume", "stream": last["stream"], "after": last["seq"]}))
        fastapi.open(run, 99)
        after = run_of(socket)
    assert [event["seq"] for event in before + after] == list(range(1, len(before + after) + 1))


# Tells when the page closes its socket.
ENDS = """
const Plain = WebSocket;
globalThis.WebSocket = class extends Plain {
  constructor(...of) {
    super(...of);
    this.addEventListener("close", ({ code }) => code === 1000 && console.log("over"));
  }
};
"""


def test_the_page_of_the_document_shows_the_answer_over_a_lost_connection(weir, upstream):
    blocks = re.findall(r"^```js\n(.*?)^```$", (ROOT / "docs/websocket.md").read_text(), re.MULTILINE | re.DOTALL)
    [code] = [block for block in blocks if "new WebSocket" in block]
    agent = Agent(40, pace=0.01)
    proxy = bridged(weir, upstream(agent), resume={}, on_disconnect="continue")
    shows = "const show = (text) => console.log(text);\n"
    source = ENDS + shows + code.replace('"/chat"', '"/agent"')
    with Relay(proxy.url, [1500]) as relay:
        result = node.script("resume_page.mjs", source=source)(relay.url, {})
    assert relay.cut == 1
    assert result.events.pop() == "over"
    assert "".join(result.events) == wire.text_of(40)
    assert len(agent.runs) == 1


def test_a_page_of_another_site_is_refused(weir, fastapi):
    proxy = bridged(weir, fastapi)
    with pytest.raises(InvalidStatus) as refused:
        opened(proxy.url, CHAT, origin="https://evil.example")
    assert refused.value.response.status_code == 403


def test_a_drain_closes_with_1001(weir, fastapi):
    proxy = bridged(weir, fastapi)
    with opened(proxy.url, CHAT) as socket:
        proxy.terminate()
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(PATIENCE)
        assert closed.value.rcvd.code == 1001
    assert proxy.stopped() == 0


def test_the_transport_of_the_ai_sdk_works_as_it_is(weir, fastapi, name):
    if not (REAL / "node/node_modules/ai7").exists():
        pytest.skip("ai7 is not in package.json")
    run = name()
    chats = {"chats": {"path": f"{CHAT}/{{id}}/stream"}}
    proxy = bridged(weir, fastapi, resume=chats)
    seen = script(
        "websocket_transport.mjs",
        url=address(proxy.url, f"{CHAT}?run={run}"),
        headers={"authorization": "Bearer x"},
    )
    assert seen["text"] and seen["states"] > 1
    # The chat has no stream that runs.
    assert seen["resumed"] is None
    assert seen["aborted"] == "start"
    until("the socket is closed", lambda: proxy.metrics().value("weir_websocket_sockets") == 0)
