"""Tests that any instance continues a stream that another one runs, with one Redis or Valkey and real processes.

The test talks to each process directly. What instances tell each other about a stream is in test_resume_redis_asked.py.
"""

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends import wire
from backends.resumable import Agent
from support import sse
from support.fleet import kill, known, over, read, run, state, text, whole
from support.raw import Raw
from support.resume import numbers, rest, stream_path
from support.wait import until

EVENTS = "text/event-stream"
COUNT = 40
HOLD = 25


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_every_instance_sends_the_same_bytes(redis, fleet, kind):
    """While the stream runs, when it goes on, and when it is over."""
    agent = Agent(COUNT, hold=HOLD)
    all = fleet(agent, redis(kind).reached(), number=3)
    client = Raw(all[0].url).post("/agent")
    stream = client.headers["weir-stream-id"]
    first = client.until_events(HOLD)
    followers = []
    for proxy in all:
        known(proxy, stream, HOLD)
        for after in (0, 1, 7, HOLD - 1, HOLD):
            again = rest(proxy.url, stream, after)
            assert again.until_events(HOLD - after) == first[after:]
            assert (again.headers["weir-stream-id"], again.headers["weir-resumed-from"]) == (stream, str(after))
            assert again.headers["weir-replay"] == str(HOLD - after)
            assert again.headers["content-type"] == client.headers["content-type"]
            followers.append((after, again))
    agent.go.set()
    events = sse.events(client.read_body())
    whole(events, stream, COUNT)
    for after, again in followers:
        with again:
            got = sse.events(again.read_body())
        assert text(first[:after] + got) == wire.text_of(COUNT)
        assert got[-1] == events[-1]
    bodies = []
    for proxy in all:
        assert over(proxy, stream)["outcome"] == "finished"
        for after in (0, 3):
            with rest(proxy.url, stream, after) as again:
                bodies.append((after, again.read_body()))
    whole(sse.events(bodies[0][1]), stream, COUNT)
    assert len(set(bodies)) == 2, "the instances differ"
    assert len(agent.runs) == 1


def hops(all, stream: str, chance: random.Random) -> list[sse.Event]:
    """Reads a stream in pieces of random size, each from an instance chosen at random, until it has ended."""
    seen: list[sse.Event] = []
    while not seen or seen[-1].name != "done":
        after = numbers(seen[-1:], stream)[0] if seen else None
        with rest(chance.choice(all).url, stream, after) as again:
            # The other instance may not have the client's last event yet. That is no mistake of the client.
            assert again.status == 200, (after, again.status, again.read_body())
            seen += again.until_events(chance.randint(1, 40))
    return seen


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_each_event_comes_once_however_clients_hop(redis, fleet, kind):
    """Twelve streams at once, each read by two clients that change the instance at random points."""
    agent = Agent(300, pace=0.002)
    all = fleet(agent, redis(kind).reached(), number=3)

    def one(seed: int) -> None:
        chance = random.Random(seed)
        with Raw(chance.choice(all).url).post("/agent") as client:
            stream = client.headers["weir-stream-id"]
            client.until_events(1)
        for proxy in all:
            known(proxy, stream, 1)
        with ThreadPoolExecutor(2) as pool:
            for seen in pool.map(lambda more: hops(all, stream, random.Random(seed * 100 + more)), range(2)):
                whole(seen, stream, 300)
                assert numbers(seen[-1:], stream) == [len(agent.events("/agent"))]

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(one, range(12)))
    assert len(agent.runs) == 12
    for proxy in all:
        assert proxy.metrics().value("weir_resume_store_broken_total") == 0


@pytest.mark.alone
def test_events_reach_other_instances_at_once(redis, fleet):
    """What one instance sends to its client, another one sends to its own a moment later."""
    agent = Agent(60, pace=0.05, hold=5)
    a, b = fleet(agent, redis().reached())
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(5)
        known(b, stream, 5)
        with rest(b.url, stream, 5) as again:
            times: list[list[float]] = []

            def watch(one: Raw) -> None:
                at: list[float] = []
                times.append(at)
                while not one.ended:
                    one.read_chunk()
                    at += [time.monotonic()] * (len(one.events()) - len(at))

            # What came before `go` is in `client` already.
            client.body.clear()
            readers = [threading.Thread(target=watch, args=(one,)) for one in (client, again)]
            for one in readers:
                one.start()
            agent.go.set()
            for one in readers:
                one.join(20)
    assert len(times[0]) == len(times[1]) > 50
    late = sorted(abs(mine - other) for mine, other in zip(*times))
    print(f"lag: median {late[len(late) // 2] * 1000:.1f} ms, worst {late[-1] * 1000:.1f} ms")
    assert late[len(late) // 2] < 0.05 and late[-1] < 0.5


@pytest.mark.parametrize("how", ["drained", "killed"])
def test_what_is_over_can_be_read_when_its_instance_is_gone(redis, fleet, how):
    agent = Agent(COUNT)
    a, b = fleet(agent, redis().reached())
    stream = run(a, COUNT)
    over(b, stream)
    if how == "drained":
        a.terminate()
        assert a.stopped() == 0
    else:
        kill(a)
    whole(read(b, stream), stream, COUNT)
    assert text(read(b, stream, 7)) and state(b, stream)["outcome"] == "finished"


def test_a_run_that_is_drained_is_told_elsewhere(redis, fleet):
    """The run ends with its process. What it said until then can be read, and does not look whole."""
    agent = Agent(COUNT, hold=HOLD)
    a, b = fleet(agent, redis().reached())
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        with rest(b.url, stream, 3) as follower:
            a.terminate()
            assert "drained" in (sse.events(client.read_body())[-1].data or "")
            assert a.stopped() == 0
            assert "drained" in (sse.events(follower.read_body())[-1].data or "")
    assert over(b, stream)["outcome"] == "drained"
    events = read(b, stream)
    assert events[-1].name == "error" and "drained" in (events[-1].data or "")
    assert wire.text_of(COUNT).startswith(text(events[:-1]))


def test_the_state_is_the_same_everywhere(redis, fleet):
    agent = Agent(COUNT, hold=HOLD)
    a, b = fleet(agent, redis().reached())

    def facts(proxy, stream: str) -> dict:
        said = state(proxy, stream)
        return {name: said.get(name) for name in ("stream", "state", "outcome", "first", "last")}

    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        live = {"stream": stream, "state": "live", "outcome": None, "first": 1, "last": HOLD}
        assert facts(a, stream) == facts(b, stream) == live
        agent.go.set()
        client.read_body()
    over(b, stream)
    last = len(agent.events("/agent"))
    assert facts(a, stream) == facts(b, stream) == {**live, "state": "ended", "outcome": "finished", "last": last}


WAYS = {
    "the stream's path, a header": ("GET", stream_path, True),
    "the route, GET": ("GET", lambda _: "/agent", True),
    "the route, POST": ("POST", lambda _: "/agent", True),
    "the stream's path, a query": ("GET", lambda stream: f"{stream_path(stream)}?after=4", False),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_back_leads_to_other_instances(redis, fleet, way):
    method, path, in_header = WAYS[way]
    agent = Agent(COUNT, hold=HOLD)
    a, b = fleet(agent, redis().reached())
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        first = client.until_events(HOLD)
        known(b, stream, HOLD)
        headers = {"last_event_id": f"{stream}.4"} if in_header else {}
        with Raw(b.url).send(method, path(stream), **headers).read_head() as again:
            assert again.status == 200 and again.headers["weir-stream-id"] == stream
            agent.go.set()
            whole([*first[:4], *sse.events(again.read_body())], stream, COUNT)
    assert len(agent.runs) == 1


def test_ids_of_the_agent_lead_back_elsewhere(redis, fleet):
    ids = [f"{1_700_000_000 + number}-0" for number in range(6)]

    def script(connection):
        connection.request()
        connection.head()
        for one in ids:
            connection.chunk(f"id: {one}\n" + wire.sse({"type": "token", "content": one}, "token"))
            # Apart, so that none is joined with another.
            connection._closed.wait(0.03)
        connection.chunk(wire.sse({"type": "done"}, "done"))
        connection.end()

    a, b = fleet(script, redis().reached())
    with Raw(a.url).get("/agent") as client:
        stream = client.headers["weir-stream-id"]
        got = sse.events(client.read_body())
    over(b, stream)
    with rest(b.url, stream, last_event_id=ids[2]) as again:
        assert again.status == 200
        assert sse.events(again.read_body()) == got[3:]


def test_a_chat_is_found_elsewhere(redis, fleet):
    """As `useChat` asks for it: the newest stream of a chat, from its start."""
    agent = Agent(COUNT, hold=HOLD)
    a, b = fleet(agent, redis().reached(), resume={"chats": {"path": "/api/chat/{id}/stream"}})

    def ask(proxy, chat: str) -> Raw:
        return Raw(proxy.url).get(f"/api/chat/{chat}/stream")

    with ask(b, "chat-1") as none:
        assert none.status == 204
    with Raw(a.url).post("/api/chat", b'{"id":"chat-1","messages":[]}') as client:
        client.until_events(HOLD)
        stream = client.headers["weir-stream-id"]
        known(b, stream, HOLD)

        def status() -> int:
            with ask(b, "chat-1") as again:
                return again.status

        until("the chat is known", lambda: status() == 200)
        with ask(b, "chat-1") as again, ask(b, "chat-2") as other:
            assert (again.headers["weir-stream-id"], other.status) == (stream, 204)
            agent.go.set()
            assert sse.events(again.read_body()) == sse.events(client.read_body())
    over(b, stream)
    with ask(b, "chat-1") as again:
        assert again.status == 204
    assert len(agent.runs) == 1


def test_a_response_is_found_elsewhere(redis, fleet):
    """As the Responses API asks for it. What no instance knows is forwarded to the agent."""
    agent = Agent(COUNT, hold=HOLD)
    a, b = fleet(agent, redis().reached())
    with Raw(a.url).post("/v1/responses") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        path = "/v1/responses/r1?stream=true&starting_after=5"
        # What cannot have been read is not waited for.
        for proxy in (a, b):
            with Raw(proxy.url).get("/v1/responses/r1?stream=true&starting_after=7000") as ahead:
                assert (ahead.status, json.loads(ahead.read_body())["code"]) == (400, "resume_ahead")

        def status() -> int:
            with Raw(b.url).get(path) as again:
                return again.status

        until("the response is known", lambda: status() == 200)
        with Raw(b.url).get(path) as again:
            agent.go.set()
            got = [event.json()["sequence_number"] for event in sse.events(again.read_body())]
            assert got == [event.json()["sequence_number"] for event in sse.events(client.read_body())][6:]
    with Raw(b.url).get("/v1/responses/r2?stream=true&starting_after=5") as other:
        assert other.status == 404, "the agent's own answer"
    assert len(agent.runs) == 1


def test_a_stream_with_a_small_journal(redis, fleet):
    """What is no longer kept is told, and what is kept can be read. Redis may keep a little more than is asked."""
    agent = Agent(3000)
    a, b = fleet(agent, redis().reached(), resume={"max_events": 200}, queue={"overflow": "block"})
    stream = run(a, 3000)
    over(b, stream)
    with rest(b.url, stream, 1) as again:
        said = json.loads(again.read_body())
    assert (again.status, said["code"]) == (410, "resume_evicted")
    last = len(agent.events("/agent"))
    assert last - 1000 < said["first"] <= last - 200 + 1
    assert state(b, stream)["first"] == said["first"]
    events = read(b, stream, said["first"] - 1)
    assert numbers(events[:1], stream) == [said["first"]] and events[-1].name == "done"
    assert wire.text_of(3000).endswith(text(events))


@pytest.mark.parametrize("accept, expected", [(EVENTS, 204), ("*/*", 200)])
def test_a_client_that_has_everything_is_told_so_elsewhere(redis, fleet, accept, expected):
    agent = Agent(COUNT)
    a, b = fleet(agent, redis().reached())
    stream = run(a, COUNT)
    last = over(b, stream)["last"]
    for after in (last, last + 7):
        with rest(b.url, stream, after, accept=accept) as again:
            assert (again.status, again.read_body()) == (expected, b"")
            told = (again.headers["weir-resumed-from"], again.headers["weir-replay"])
            assert told == (str(last), "0")
