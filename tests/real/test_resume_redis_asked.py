"""Tests of what instances ask each other about a stream: stopping it, who follows it, whose it is, which request began it.

The instance that runs the stream is always the first one.
"""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends import wire
from backends.resumable import Agent
from support import sse
from support.fleet import known, over, read, run, state, text, truthful, whole
from support.raw import Raw
from support.resume import numbers, rest, stop, stream_path
from support.wait import until

COUNT = 40
HOLD = 10
KEY = {"authorization": "Bearer one"}
UNKNOWN = "0123456789abcdef0123456789abcdef"


@pytest.mark.alone
@pytest.mark.parametrize("on_disconnect", ["cancel", "continue", {"grace": "30s"}])
def test_a_stop_from_elsewhere_reaches_the_agent(redis, fleet, on_disconnect):
    agent = Agent(COUNT, hold=HOLD)
    all = fleet(agent, redis().reached(), number=3, on_disconnect=on_disconnect)
    with Raw(all[0].url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(all[1], stream, HOLD)
        viewers = [client, *(rest(proxy.url, stream) for proxy in all)]
        for one in viewers:
            one.until_events(HOLD)
        began = time.monotonic()
        with Raw(all[1].url).send("DELETE", stream_path(stream)).read_head() as asked:
            assert (asked.status, json.loads(asked.read_body())["state"]) == (202, "stopping")
        assert agent.runs[0].connection.gone(3) - began < 1.0
        for one in viewers:
            last = sse.events(one.read_body())[-1]
            assert last.name == "error" and '"code":"stopped"' in (last.data or "")
            one.close()
        assert time.monotonic() - began < 2.0
    assert all[0].ended()["outcome"] == "stopped"
    for proxy in all:
        assert over(proxy, stream)["outcome"] == "stopped"
        # Once more changes nothing.
        assert stop(proxy.url, stream) == 202
        assert read(proxy, stream)[-1].name == "error"


def test_a_stop_of_what_is_over_or_unknown(redis, fleet):
    a, b = fleet(Agent(COUNT), redis().reached())
    stream = run(a, COUNT)
    over(b, stream)
    assert (stop(b.url, stream), stop(b.url, UNKNOWN)) == (202, 404)
    whole(read(b, stream), stream, COUNT)


def test_a_stop_while_viewers_come(redis, fleet):
    """Whoever comes in this moment sees the stop, or is told that there is no such stream. Nobody waits for ever."""
    agent = Agent(COUNT, hold=HOLD)
    all = fleet(agent, redis().reached(), number=3, resume={"max_viewers": 1000})
    with Raw(all[0].url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(all[1], stream, HOLD)
        known(all[2], stream, HOLD)
        is_stopped = threading.Event()
        follows = threading.Semaphore(0)
        seen: list[tuple[int, str]] = []

        def come(proxy) -> None:
            while True:
                was_stopped = is_stopped.is_set()
                with rest(proxy.url, stream) as again:
                    if again.status == 200:
                        again.until_events(HOLD)
                        follows.release()
                    events = sse.events(again.read_body())
                    seen.append((again.status, events[-1].data or "" if events else ""))
                if was_stopped:
                    return

        with ThreadPoolExecutor(12) as pool:
            coming = [pool.submit(come, proxy) for proxy in all for _ in range(4)]
            assert sum(follows.acquire(timeout=10) for _ in range(12)) == 12
            assert stop(all[2].url, stream) == 202
            is_stopped.set()
            for one in coming:
                one.result(10)
        assert {status for status, _ in seen} <= {200, 404}
        assert not [last for status, last in seen if status == 200 and "stopped" not in last]


def test_who_comes_during_the_last_event_gets_the_end(redis, fleet):
    agent = Agent(COUNT, pace=0.01, hold=HOLD)
    a, b, c = fleet(agent, redis().reached(), number=3, resume={"max_viewers": 1000})
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        known(c, stream, HOLD)

        def come(number: int) -> list[sse.Event]:
            # Some come before the end, some in the same moment, some after it.
            agent.finished.wait(0.02 * number)
            return read((a, b, c)[number % 3], stream)

        agent.go.set()
        with ThreadPoolExecutor(30) as pool:
            for events in pool.map(come, range(30)):
                whole(events, stream, COUNT)
        whole(sse.events(client.read_body()), stream, COUNT)


@pytest.mark.parametrize("same", [True, False], ids=["one instance", "two instances"])
def test_two_clients_at_the_same_position_both_get_everything(redis, fleet, same):
    agent = Agent(COUNT, pace=0.005, hold=HOLD)
    a, b, c = fleet(agent, redis().reached(), number=3)
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        first = client.until_events(HOLD)
        known(b, stream, HOLD)
        known(c, stream, HOLD)
        with rest(b.url, stream, 6) as one, rest((b if same else c).url, stream, 6) as two:
            agent.go.set()
            bodies = [again.read_body() for again in (one, two)]
        assert bodies[0] == bodies[1]
        whole([*first[:6], *sse.events(bodies[0])], stream, COUNT)


def test_a_slow_viewer_elsewhere_delays_nobody_and_loses_nothing(redis, fleet):
    count = 6000
    agent = Agent(count)
    a, b = fleet(agent, redis().reached(), resume={"max_bytes": "16MiB"}, queue={"overflow": "block"})
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(1)
        known(b, stream, 1)
        slow = Raw(b.url, receive_buffer=4096).get(stream_path(stream))
        with rest(b.url, stream) as fast:
            assert text(sse.events(client.read_body())) == wire.text_of(count)
            assert agent.finished.wait(5)
            whole(sse.events(fast.read_body()), stream, count)
        with slow:
            whole(sse.events(slow.read_body()), stream, count)


def test_a_position_that_cannot_be(redis, fleet):
    """A little ahead of what this instance knows is no mistake of the client, but this is."""
    agent = Agent(COUNT, hold=HOLD)
    all = fleet(agent, redis().reached())
    with Raw(all[0].url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(all[1], stream, HOLD)
        for proxy in all:
            for after in ("x", "-1", "99999999999999999999999", "1000000"):
                with rest(proxy.url, stream, after) as again:
                    again.read_body()
                    assert again.status == 400, (proxy.url, after)
        agent.go.set()
        client.read_body()


def test_another_caller_learns_nothing_elsewhere(redis, fleet):
    agent = Agent(COUNT, hold=HOLD)
    a, b = fleet(agent, redis().reached())
    with Raw(a.url).post("/agent", **KEY) as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD, **KEY)
        answers = []
        for one in (stream, UNKNOWN):
            for headers in ({"authorization": "Bearer two"}, {}, {"x_api_key": "one"}):
                for method, accept in (("GET", "*/*"), ("GET", "application/json"), ("DELETE", "*/*")):
                    asked = Raw(b.url).send(method, stream_path(one), x_request_id="same", accept=accept, **headers)
                    with asked.read_head() as again:
                        body = again.read_body()
                        kept = {name: value for name, value in again.headers.items() if name not in ("date", "traceparent")}
                        answers.append((method, again.status, kept, body.replace(one.encode(), b"ID")))
        assert {status for _, status, _, _ in answers} == {404}
        foreign, unknown = answers[: len(answers) // 2], answers[len(answers) // 2 :]
        assert foreign == unknown
        with rest(b.url, stream, 3, **KEY) as again:
            agent.go.set()
            assert sse.events(again.read_body())[-1].name == "done"
        assert sse.events(client.read_body())[-1].name == "done"


def test_another_caller_learns_nothing_from_the_time(redis, fleet):
    """What the store knows of a stream takes some microseconds to read, so such answers come in steps of 5 ms."""
    agent = Agent(COUNT, hold=HOLD)
    a, b = fleet(agent, redis().reached())
    with Raw(a.url).post("/agent", **KEY) as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD, **KEY)
        for proxy in (a, b):
            for one in (stream, UNKNOWN):
                at_its_path, at_the_route = (stream_path(one), {}), ("/agent", {"last_event_id": f"{one}.1"})
                for path, headers in (at_its_path, at_the_route):
                    began = time.monotonic()
                    with Raw(proxy.url).get(path, authorization="Bearer two", **headers) as again:
                        assert again.status == 404
                        assert time.monotonic() - began >= 0.005, (proxy.url, one, path)
        agent.go.set()
        client.read_body()


def test_an_instance_that_has_just_started_denies_nothing(redis, fleet):
    """Until it knows the key that all share, it knows no caller: a client is told to come again."""
    agent = Agent(COUNT)
    server = redis()
    (a,) = fleet(agent, server.reached(), number=1)
    stream = run(a, COUNT, **KEY)
    over(a, stream, **KEY)
    (late,) = fleet(agent, server.reached(), number=1, up=False)
    seen = []

    def comes_back() -> bool:
        with rest(late.url, stream, **KEY) as again:
            again.read_body()
            seen.append(again.status)
        return again.status == 200

    until("it is known", comes_back)
    assert set(seen) <= {200, 503}, seen


def test_an_instance_that_starts_later_knows_the_callers(redis, fleet):
    agent = Agent(COUNT)
    server = redis()
    (a,) = fleet(agent, server.reached(), number=1)
    stream = run(a, COUNT, **KEY)
    (later,) = fleet(agent, server.reached(), number=1)
    assert over(later, stream, **KEY)
    whole(read(later, stream, **KEY), stream, COUNT)
    assert state(later, stream, authorization="Bearer two") == {}


def test_the_same_request_again_elsewhere_is_the_same_stream(redis, fleet):
    agent = Agent(COUNT, hold=HOLD)
    a, b = fleet(agent, redis().reached(), resume={"idempotency": True})
    key = {"idempotency_key": "k1"}
    with Raw(a.url).post("/agent", **KEY, **key) as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD, **KEY)
        with Raw(b.url).post("/agent", b'{"other":1}', **KEY, **key) as other:
            other.read_body()
            assert other.status == 422
        with Raw(b.url).post("/agent", **KEY, **key) as again:
            assert again.headers["weir-stream-id"] == stream
            agent.go.set()
            whole(sse.events(again.read_body()), stream, COUNT)
        whole(sse.events(client.read_body()), stream, COUNT)
    assert len(agent.runs) == 1
    # Another caller's key, and another key, are other runs.
    for headers in ({**key, "authorization": "Bearer two"}, {"idempotency_key": "k2", **KEY}):
        with Raw(b.url).post("/agent", **headers) as fresh:
            assert fresh.headers["weir-stream-id"] != stream
            fresh.read_body()
    assert len(agent.runs) == 3


def test_the_same_request_everywhere_at_once_is_one_run(redis, fleet):
    agent = Agent(COUNT, pace=0.005)
    all = fleet(agent, redis().reached(), number=3, resume={"idempotency": True})

    def ask(number: int) -> tuple[str, list[sse.Event]]:
        while True:
            with Raw(all[number % 3].url).post("/agent", idempotency_key="k1") as client:
                body = client.read_body()
                if client.status == 200:
                    return client.headers["weir-stream-id"], sse.events(body)
                # The first request is still being read. It says so, and the client asks again.
                assert client.status == 409 and "retry-after" in client.headers
            agent.finished.wait(0.1)

    with ThreadPoolExecutor(9) as pool:
        got = list(pool.map(ask, range(9)))
    assert len({stream for stream, _ in got}) == 1
    for stream, events in got:
        whole(events, stream, COUNT)
    assert len(agent.runs) == 1


@pytest.mark.alone
@pytest.mark.parametrize("on_disconnect", ["cancel", {"grace": "700ms"}])
def test_a_viewer_elsewhere_keeps_a_run_alive_until_it_leaves(redis, fleet, on_disconnect):
    agent = Agent(COUNT, hold=HOLD)
    server = redis()
    a, b = fleet(agent, server.reached(), on_disconnect=on_disconnect)
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        follower = rest(b.url, stream)
        follower.until_events(HOLD)
        asked = "weir:control:"
        until("the other instance is told", lambda: any(key.startswith(asked) for key in server.everything()))
    connection = agent.runs[0].connection
    # Twice as long as it would go on without a viewer.
    assert not connection._closed.wait(1.5)
    follower.close()
    left = time.monotonic()
    assert connection.gone(5) - left < 2.0
    assert a.ended()["outcome"] == "client_gone"
    truthful(read(b, stream), stream, COUNT)
    assert over(b, stream)["outcome"] == "client_gone"


def test_numbers_go_on_where_the_client_is(redis, fleet):
    """A client that changes the instance at each event gets each of them once."""
    agent = Agent(COUNT, pace=0.02)
    all = fleet(agent, redis().reached(), number=3)
    with Raw(all[0].url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        seen = client.until_events(1)
    for proxy in all:
        known(proxy, stream, 1)
    at = 0
    while seen[-1].name != "done":
        at += 1
        with rest(all[at % 3].url, stream, numbers(seen[-1:], stream)[0]) as again:
            assert again.status == 200, (at, again.status)
            seen += again.until_events(1)
    whole(seen, stream, COUNT)
