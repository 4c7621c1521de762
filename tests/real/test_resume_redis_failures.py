"""Tests of what happens to streams when their store fails: they go on, and what is told of them is true.

What happens when another server takes over, or an instance is gone, is in test_resume_redis_failover.py.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest

from backends import wire
from backends.resumable import Agent
from support import sse
from support.fleet import is_up, known, over, read, ready, run, state, text, truthful, whole
from support.raw import Raw
from support.redis import HOST, Redis, Switch
from support.resume import rest
from support.wait import until
from support.weir import Weir

# Each row of docs/resume.md's table of failures.
pytestmark = pytest.mark.drill

COUNT = 40
HOLD = 10
EVENTS = "text/event-stream"
# New streams are whole within this time of the server's return.
SOON = 1.0
UNKNOWN = "0123456789abcdef0123456789abcdef"


def later(seconds: float) -> None:
    """Lets time pass with the server in its present state."""
    threading.Event().wait(seconds)


def answers(proxy: Weir, stream: str, after: int | None = None, **headers: str) -> tuple[int, bytes]:
    """Returns the status and the body of an answer, which comes in time whatever happens to the store."""
    began = time.monotonic()
    with rest(proxy.url, stream, after, **headers) as again:
        body = again.read_body()
    assert time.monotonic() - began < 3.0
    return again.status, body


def is_whole(agent: Agent, proxy: Weir, other: Weir) -> None:
    """Fails unless the other instance has all of a new stream."""
    stream = run(proxy, agent.count)
    over(other, stream)
    whole(read(other, stream), stream, agent.count)


def refuses_to_resume(proxy: Weir) -> None:
    """Fails unless a client is told, in its own way, to come again."""
    status, body = answers(proxy, UNKNOWN)
    assert (status, json.loads(body)["code"]) == (503, "resume_unavailable")
    with rest(proxy.url, UNKNOWN) as again:
        again.read_body()
        assert "retry-after" in again.headers
    status, body = answers(proxy, UNKNOWN, accept=EVENTS)
    assert status == 200 and body.startswith(b"retry: ") and sse.events(body) == []


@pytest.mark.alone
def test_it_is_down_when_weir_starts(redis, fleet):
    server, agent = redis(), Agent(COUNT)
    server.stop()
    a, b = fleet(agent, server.reached(), up=False, resume={"chats": {"path": "/api/chat/{id}/stream"}})
    assert a.metrics().value("weir_resume_store_up") == 0
    assert a.ask("/readyz")[0] == 200
    run(a, COUNT)
    refuses_to_resume(b)
    assert b.metrics().value("weir_resume_requests_total", result="unavailable") == 3
    # Who comes back does not start a second run.
    with Raw(b.url).post("/agent", last_event_id=f"{UNKNOWN}.1") as again:
        assert json.loads(again.read_body())["code"] == "resume_unavailable"
    # Another instance may run the stream of a chat.
    with Raw(b.url).get("/api/chat/chat-1/stream") as again:
        assert (again.status, json.loads(again.read_body())["code"]) == (503, "resume_unavailable")
    assert (len(agent.runs), b.ask("/readyz")[0]) == (1, 200)
    assert a.metrics().value("weir_resume_store_errors_total") > 0
    server.start()
    ready(a, b, within=SOON)
    is_whole(agent, a, b)
    warnings = [line for line in a.logs() if line["level"] == "WARN" and "store" in line["message"]]
    assert len(warnings) == 1, "one in a minute"


@pytest.mark.alone
def test_it_is_away_for_a_moment(redis, fleet):
    """What waits meanwhile is stored afterwards. Nobody notices."""
    server, agent = redis(), Agent(COUNT, hold=HOLD)
    with Switch(server.port) as switch:
        a, b = fleet(agent, {"url": switch.url})
        with Raw(a.url).post("/agent") as client:
            stream = client.headers["weir-stream-id"]
            client.until_events(HOLD)
            known(b, stream, HOLD)
            with rest(b.url, stream, 3) as follower:
                first = follower.until_events(HOLD - 3)
                switch.lead(None)
                until("the loss is noticed", lambda: not is_up(a) and not is_up(b))
                refuses_to_resume(b)
                agent.go.set()
                whole(sse.events(client.read_body()), stream, COUNT)
                switch.lead(server.port)
                ready(a, b, within=SOON)
                events = sse.events(follower.read_body())
                assert events[: len(first)] == first
                assert wire.text_of(COUNT).endswith(text(events)) and events[-1].name == "done"
        over(b, stream)
        whole(read(b, stream), stream, COUNT)
        is_whole(agent, a, b)
        assert a.metrics().value("weir_resume_store_broken_total") == 0


def test_more_is_lost_than_can_wait(redis, fleet):
    """The stream goes on. Elsewhere, its beginning can be read, and that the rest is missing is told."""
    count = 60_000
    server, agent = redis(), Agent(count, hold=20)
    with Switch(server.port) as switch:
        a, b = fleet(agent, {"url": switch.url}, queue={"overflow": "block"})
        with Raw(a.url).post("/agent") as client:
            stream = client.headers["weir-stream-id"]
            client.until_events(20)
            known(b, stream, 20)
            with rest(b.url, stream, 5) as follower:
                follower.until_events(15)
                switch.lead(None)
                until("the loss is noticed", lambda: not is_up(a) and not is_up(b))
                agent.go.set()
                assert text(sse.events(client.read_body())) == wire.text_of(count)
                switch.lead(server.port)
                ready(a, b)
                last = sse.events(follower.read_body())[-1]
        assert last.name == "error" and "resume_gap" in (last.data or "")
        until("the gap is known", lambda: state(b, stream).get("state", "live") != "live")
        status, body = answers(b, stream, 20)
        # Some events may have been stored before the rest was lost.
        assert status in (200, 410) and "resume_gap" in body.decode()
        events = read(b, stream)
        truthful(events, stream, count)
        assert events[-1].name == "error" and "resume_gap" in (events[-1].data or "")
        assert a.metrics().value("weir_resume_store_broken_total") == 1
        agent.count = 20
        is_whole(agent, a, b)


@pytest.mark.alone
def test_it_comes_back_empty(redis, fleet):
    """It was killed, and had saved nothing. Callers are still known, also to an instance that starts then."""
    server, agent = redis(), Agent(COUNT, hold=HOLD)
    key = {"authorization": "Bearer one"}
    a, b = fleet(agent, server.reached())
    with Raw(a.url).post("/agent", **key) as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD, **key)
        server.kill()
        agent.go.set()
        whole(sse.events(client.read_body()), stream, COUNT)
        until("the loss is noticed", lambda: not is_up(a) and not is_up(b))
        # Another caller does not learn from the answer that the stream is here.
        asked = [answers(a, one, authorization="Bearer two") for one in (stream, UNKNOWN)]
        assert asked[0] == asked[1] and asked[0][0] == 503
        server.start()
        ready(a, b, within=SOON)
    # Its beginning is lost, so it is not to be had elsewhere.
    until("it is told", lambda: answers(b, stream, 3, **key)[0] in (404, 410))
    (late,) = fleet(agent, server.reached(), number=1)
    for one, other in ((a, b), (a, late), (late, a)):
        fresh = run(one, COUNT, **key)
        over(other, fresh, **key)
        whole(read(other, fresh, **key), fresh, COUNT)
        assert state(other, fresh, authorization="Bearer two") == {}


class Refusal(NamedTuple):
    """A way in which a server refuses what is written."""

    begin: Callable[[Redis], object]
    end: Callable[[Redis], object]
    # Whether Weir can connect to it all the same.
    is_up: bool


def _with(*words: str) -> Callable[[Redis], object]:
    return lambda server: server.ask(*words)


REFUSALS = {
    "full": Refusal(_with("CONFIG", "SET", "maxmemory", "1"), _with("CONFIG", "SET", "maxmemory", "0"), True),
    "ACL": Refusal(_with("ACL", "SETUSER", "weir", "-xadd"), _with("ACL", "SETUSER", "weir", "+xadd"), True),
    # The replica of a primary that never answers.
    "read-only": Refusal(_with("REPLICAOF", HOST, "1"), _with("REPLICAOF", "NO", "ONE"), False),
}


@pytest.fixture
def refusing(redis, fleet, tmp_path):
    """A server with a user who may do everything, and two instances that use it."""

    def start(agent: Agent) -> tuple[Redis, Weir, Weir]:
        password = tmp_path / "password"
        password.write_text("secret")
        server = redis(user="weir on >secret ~* +@all", maxmemory_policy="noeviction")
        a, b = fleet(agent, server.reached(username="weir", password=f"file:{password}"))
        return server, a, b

    return start


@pytest.mark.alone
@pytest.mark.parametrize("kind", REFUSALS)
def test_it_refuses(refusing, kind):
    """From the middle of one stream on, and for all of the next one."""
    refusal, agent = REFUSALS[kind], Agent(COUNT, hold=HOLD)
    server, a, b = refusing(agent)
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        with rest(b.url, stream) as follower:
            follower.until_events(HOLD)
            refusal.begin(server)
            agent.go.set()
            whole(sse.events(client.read_body()), stream, COUNT)
            begun = run(a, COUNT)
            assert a.ask("/readyz")[0] == 200
            until("it is counted", lambda: a.metrics().value("weir_resume_store_errors_total") > 0)
            until("it is known", lambda: is_up(a) == is_up(b) == refusal.is_up)
            until("the stream is given up", lambda: state(b, stream).get("state") != "live")
            for one in (stream, begun):
                status, body = answers(b, one)
                assert status in (200, 404, 410, 503), status
                if status == 200:
                    truthful(sse.events(body), one, COUNT)
            refusal.end(server)
            ready(a, b, within=SOON)
            truthful(sse.events(follower.read_body()), stream, COUNT)
    is_whole(agent, a, b)
    if refusal.is_up:
        assert a.metrics().value("weir_resume_store_broken_total") == 2


@pytest.mark.alone
def test_it_does_not_answer_for_a_second(redis, fleet):
    """What waits meanwhile is stored afterwards, and what was sent is not stored twice."""
    server, agent = redis(), Agent(COUNT, hold=HOLD)
    a, b = fleet(agent, server.reached())
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        with rest(b.url, stream) as follower:
            server.pause()
            agent.go.set()
            whole(sse.events(client.read_body()), stream, COUNT)
            later(1.0)
            server.go_on()
            whole(sse.events(follower.read_body()), stream, COUNT)
    over(b, stream)
    whole(read(b, stream), stream, COUNT)
    is_whole(agent, a, b)
    assert a.metrics().value("weir_resume_store_broken_total") == 0


@pytest.mark.alone
def test_it_does_not_answer_for_long(redis, fleet):
    server, agent = redis(), Agent(COUNT, hold=HOLD)
    a, b = fleet(agent, server.reached())
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        with rest(b.url, stream) as follower:
            server.pause()
            # Nobody knows yet that it will not answer, but a client does not wait for long.
            refuses_to_resume(b)
            agent.go.set()
            whole(sse.events(client.read_body()), stream, COUNT)
            until("the loss is noticed", lambda: not is_up(a) and not is_up(b))
            refuses_to_resume(b)
            run(a, COUNT)
            later(2.0)
            server.go_on()
            ready(a, b, within=SOON)
            truthful(sse.events(follower.read_body()), stream, COUNT)
    over(b, stream)
    whole(read(b, stream), stream, COUNT)
    is_whole(agent, a, b)


@pytest.mark.alone
def test_each_answer_takes_a_second(redis, fleet):
    """Streams do not wait, and who wants to come back is not kept waiting. Afterwards everything is there."""
    server, agent = redis(), Agent(COUNT, pace=0.01)
    with Switch(server.port) as switch:
        a, b = fleet(agent, {"url": switch.url})
        # A little more than a client waits.
        switch.delay = 1.2
        began = time.monotonic()
        stream = run(a, COUNT)
        assert time.monotonic() - began < COUNT * 0.01 + 1.0
        refuses_to_resume(b)
        switch.delay = 0.0
        ready(a, b)
        over(b, stream)
        whole(read(b, stream), stream, COUNT)
        is_whole(agent, a, b)
        assert a.metrics().value("weir_resume_store_broken_total") == 0


TROUBLES: dict[str, Callable[[Redis], object]] = {
    "ended": Redis.kill,
    "paused": Redis.pause,
    "full": REFUSALS["full"].begin,
    "read-only": REFUSALS["read-only"].begin,
}


@pytest.mark.alone
@pytest.mark.parametrize("trouble", TROUBLES)
def test_the_agent_is_never_held_back(redis, fleet, trouble):
    """It writes its last event at the same time whatever happens to the store, and its client has everything."""
    took = []
    for happens in (lambda _: None, TROUBLES[trouble]):
        server, agent = redis(), Agent(300, pace=0.01)
        (proxy,) = fleet(agent, server.reached(), number=1)
        with Raw(proxy.url).post("/agent") as client:
            stream = client.headers["weir-stream-id"]
            client.until_events(20)
            began = time.monotonic()
            ended: list[float] = []
            waiting = threading.Thread(target=lambda: ended.append(agent.finished.wait(20) and time.monotonic()))
            waiting.start()
            happens(server)
            whole(sse.events(client.read_body()), stream, 300)
            waiting.join(20)
            took.append(ended[0] - began)
    print(f"{took[0]:.3f} s without, {took[1]:.3f} s with trouble")
    assert abs(took[1] - took[0]) < 0.2


@pytest.mark.alone
def test_a_flood_is_not_held_back(redis, fleet):
    """An agent that writes as fast as it can, far more than can wait for the store."""
    took = []
    for is_paused in (False, True):
        server, agent = redis(), Agent(40_000, hold=5)
        (proxy,) = fleet(agent, server.reached(), number=1, queue={"overflow": "block"})
        with Raw(proxy.url).post("/agent") as client:
            client.until_events(5)
            if is_paused:
                server.pause()
            began = time.monotonic()
            agent.go.set()
            assert text(sse.events(client.read_body())) == wire.text_of(40_000)
            took.append(time.monotonic() - began)
    print(f"{took[0]:.3f} s without, {took[1]:.3f} s with a store that does not answer")
    assert took[1] < took[0] * 1.5 + 0.2
