"""Tests of runs whose clients leave, and of stopping a run (`on_disconnect`, DELETE)."""

import time

import pytest

from backends import wire
from backends.resumable import Agent
from support import sse
from support.raw import Raw
from support.relay import Relay
from support.resume import RESUME, rest, stop
from support.wait import until

UI = {"dialect": "convention", "reply": {"as": "ai-sdk"}}
# The path, the settings of the route, and what the last event of a stopped stream contains.
STOPPED = {
    "own events": ("/agent", {}, b"event: error\n", b'"code":"stopped"'),
    "openai": ("/v1/chat/completions", {}, b'data: {"error":', b"stopped"),
    "anthropic": ("/v1/messages", {}, b"event: error\n", b"stopped"),
    "langgraph": ("/runs/stream", {}, b"event: error\n", b"stopped"),
    "ai-sdk": ("/agent", UI, b'data: {"type":"abort"', b"[DONE]"),
}


@pytest.mark.alone
@pytest.mark.parametrize("case", STOPPED)
def test_a_stop_reaches_the_agent_and_tells_every_viewer(weir, upstream, case):
    path, policy, mark, word = STOPPED[case]
    agent = Agent(hold=5)
    proxy = weir(upstream(agent).url, defaults={**RESUME, **policy})
    with Raw(proxy.url).post(path) as first:
        stream = first.headers["weir-stream-id"]
        first.until_events(3)
        with rest(proxy.url, stream) as second:
            second.until_events(3)
            began = time.monotonic()
            assert stop(proxy.url, stream) == 202
            assert agent.runs[0].connection.gone(3) - began < 1.0
            for viewer in (first, second):
                body = viewer.read_body()
                end = body[body.rindex(mark) :]
                assert word in end, body
                assert time.monotonic() - began < 2.0
    assert proxy.ended()["outcome"] == "stopped"
    # Once more changes nothing.
    assert stop(proxy.url, stream) == 202
    assert proxy.metrics().value("weir_stops_total") == 1
    # Who comes back later sees the same end.
    with rest(proxy.url, stream) as later:
        assert mark in later.read_body()


@pytest.mark.parametrize("on_disconnect", ["continue", {"grace": "30s"}])
def test_a_stop_cancels_whatever_happens_when_clients_leave(weir, upstream, on_disconnect):
    agent = Agent(hold=4)
    proxy = weir(upstream(agent).url, defaults={"resume": {}, "on_disconnect": on_disconnect})
    with Raw(proxy.url).post("/agent") as client:
        client.until_events(4)
        stream = client.headers["weir-stream-id"]
    assert stop(proxy.url, stream) == 202
    agent.runs[0].connection.gone(3)
    assert proxy.ended()["outcome"] == "stopped"


def test_a_stop_of_what_is_over_or_unknown(weir, upstream):
    proxy = weir(upstream(Agent()).url, defaults=RESUME)
    with Raw(proxy.url).post("/agent") as client:
        client.read_body()
    assert proxy.ended()["outcome"] == "finished"
    assert stop(proxy.url, client.headers["weir-stream-id"]) == 202
    assert stop(proxy.url, "0" * 32) == 404
    proxy.outcomes(finished=1)


def left_after(weir, upstream, on_disconnect, cut: bool):
    """Starts a run whose only client leaves, or loses its connection. Returns the run, Weir, the stream and when."""
    agent = Agent(20, hold=10)
    defaults = {"resume": {}} | ({"on_disconnect": on_disconnect} if on_disconnect else {})
    proxy = weir(upstream(agent).url, defaults=defaults)
    # It cuts after the fourth event or so.
    with Relay(proxy.url, [500] if cut else []) as relay:
        with Raw(relay.url).post("/agent") as client:
            stream = client.headers["weir-stream-id"]
            if cut:
                client.until_closed()
            else:
                client.until_events(4)
        left = time.monotonic()
    return agent, proxy, stream, left


@pytest.mark.alone
@pytest.mark.parametrize("cut", [False, True], ids=["leaves", "is cut off"])
@pytest.mark.parametrize("on_disconnect", [None, "cancel"], ids=["default", "cancel"])
def test_cancel(weir, upstream, on_disconnect, cut):
    """Without another viewer the run is cancelled. What it said can still be had."""
    agent, proxy, stream, left = left_after(weir, upstream, on_disconnect, cut)
    assert agent.runs[0].connection.gone(3) - left < 1.0
    assert proxy.ended()["outcome"] == "client_gone"
    with rest(proxy.url, stream) as again:
        events = sse.events(again.read_body())
    text = "".join(map(sse.content, events))
    assert text and wire.text_of(20).startswith(text) and text != wire.text_of(20)
    # It must not look whole.
    assert events[-1].name == "error"


def test_cancel_waits_for_the_last_viewer(weir, upstream):
    agent = Agent(20, hold=10)
    proxy = weir(upstream(agent).url, defaults={"resume": {}})
    with Raw(proxy.url).post("/agent") as first:
        stream = first.headers["weir-stream-id"]
        first.until_events(10)
        second = rest(proxy.url, stream)
        second.until_events(10)
    until("the first one has left", lambda: proxy.metrics().value("weir_viewers") == 1)
    agent.go.set()
    with second:
        assert "".join(map(sse.content, sse.events(second.read_body()))) == wire.text_of(20)
    assert proxy.ended()["outcome"] == "finished"


@pytest.mark.alone
@pytest.mark.parametrize("cut", [False, True], ids=["leaves", "is cut off"])
def test_grace_ends_when_nobody_comes_back(weir, upstream, cut):
    agent, proxy, _, left = left_after(weir, upstream, {"grace": "700ms"}, cut)
    assert 0.6 < agent.runs[0].connection.gone(5) - left < 1.7
    assert proxy.ended()["outcome"] == "client_gone"


def test_grace_is_enough_for_who_comes_back(weir, upstream):
    """Each visit begins the time anew. The agent notices nothing."""
    agent, proxy, stream, _ = left_after(weir, upstream, {"grace": "1500ms"}, True)
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        with rest(proxy.url, stream) as again:
            again.until_events(10)
    agent.go.set()
    with rest(proxy.url, stream) as again:
        assert "".join(map(sse.content, sse.events(again.read_body()))) == wire.text_of(20)
    assert len(agent.runs) == 1 and proxy.ended()["outcome"] == "finished"


def test_continue_runs_to_the_end_with_nobody_there(weir, upstream):
    agent, proxy, stream, _ = left_after(weir, upstream, "continue", False)
    until("nobody is there", lambda: proxy.metrics().value("weir_viewers") == 0)
    agent.go.set()
    assert agent.finished.wait(5)
    assert proxy.ended()["outcome"] == "finished"
    with rest(proxy.url, stream) as again:
        assert "".join(map(sse.content, sse.events(again.read_body()))) == wire.text_of(20)


@pytest.mark.alone
def test_continue_is_bounded_by_total(weir, upstream):
    agent = Agent(20, hold=10)
    defaults = {"resume": {}, "on_disconnect": "continue", "deadlines": {"total": "1s"}}
    proxy = weir(upstream(agent).url, defaults=defaults)
    with Raw(proxy.url).post("/agent") as client:
        client.until_events(4)
    assert agent.runs[0].connection.gone(4)
    ended = proxy.ended()
    assert ended["outcome"] == "total_timeout" and 900 < ended["duration_ms"] < 2000
