"""Tests of the answers to clients that come back: what they get, and what they are told if they get nothing."""

import json
import threading

import pytest

from backends import wire
from backends.resumable import Agent
from support import sse
from support.h2 import H2
from support.raw import Raw
from support.resume import RESUME, numbers, rest, stream_path
from support.wait import settled, until

EVENTS = "text/event-stream"
UNKNOWN = "0123456789abcdef0123456789abcdef"
KEY = {"authorization": "Bearer one"}


@pytest.fixture
def run(weir, upstream):
    """`run(agent, path, **resume)` starts a stream, and returns Weir and the connection of its first client."""

    def start(agent: Agent, path: str = "/agent", method: str = "post", headers=None, **resume):
        proxy = weir(upstream(agent).url, defaults={**RESUME, "resume": resume})
        client = Raw(proxy.url)
        getattr(client, method)(path, **(headers or {}))
        return proxy, client, client.headers["weir-stream-id"]

    return start


def test_every_event_has_the_id_of_its_place(run):
    agent = Agent(20)
    _, client, stream = run(agent)
    events = sse.events(client.read_body())
    assert "".join(map(sse.content, events)) == wire.text_of(20)
    seen = numbers(events, stream)
    assert seen == sorted(set(seen)) and seen[-1] == len(agent.events("/agent"))


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_the_rest_follows_any_event_while_the_stream_lives(run, protocol):
    agent = Agent(20, hold=15)
    proxy, client, stream = run(agent)
    first = client.until_events(15)
    last = f"event: {first[-1].name}\ndata: {first[-1].data}\nid: {first[-1].id}\n\n".encode()
    for after in (1, 7, 14):
        path = f"{stream_path(stream)}?after={after}"
        if protocol == "h2":
            with H2(proxy.url) as connection:
                again = connection.get(path)
                again.until_bytes(last)
                headers, body = again.headers, bytes(again.body)
        else:
            with Raw(proxy.url).get(path) as again:
                again.until_events(15 - after)
                headers, body = again.headers, bytes(again.body)
        assert headers["weir-stream-id"] == stream
        assert (headers["weir-resumed-from"], headers["weir-replay"]) == (str(after), str(15 - after))
        assert sse.events(body) == first[after:]
    agent.go.set()
    whole = sse.events(client.read_body())
    with rest(proxy.url, stream) as again:
        events = sse.events(again.read_body())
    # Pieces that the first client got one by one may come joined, and the reverse.
    assert "".join(map(sse.content, events)) == "".join(map(sse.content, whole)) == wire.text_of(20)
    assert events[-1] == whole[-1]
    assert len(agent.runs) == 1


def test_nothing_is_lost_or_doubled_where_replay_and_live_meet(run):
    """Clients come and go while events flow."""
    agent = Agent(400, pace=0.002)
    proxy, client, stream = run(agent)
    reading = threading.Thread(target=client.read_body)
    reading.start()
    seen: list[sse.Event] = []
    while not agent.finished.is_set():
        after = numbers(seen[-1:], stream)[0] if seen else None
        with rest(proxy.url, stream, after) as again:
            if again.status == 200:
                seen += again.until_events(10)
    reading.join(15)
    with rest(proxy.url, stream, numbers(seen[-1:], stream)[0]) as again:
        seen += sse.events(again.read_body())
    assert "".join(map(sse.content, seen)) == wire.text_of(400)
    found = numbers(seen, stream)
    assert found == sorted(set(found)) and seen[-1].name == "done"


def test_the_position_is_in_the_header_or_in_the_query(run):
    proxy, client, stream = run(Agent())
    events = sse.events(client.read_body())
    for headers, after in (({"last_event_id": f"{stream}.3"}, None), ({}, 3), ({"last_event_id": f"{stream}.3"}, 1)):
        with rest(proxy.url, stream, after, **headers) as again:
            assert again.headers["weir-resumed-from"] == "3"
            assert sse.events(again.read_body())[-1] == events[-1]


@pytest.mark.parametrize("method", ["get", "post"])
def test_the_route_itself_takes_clients_back(run, method):
    agent = Agent()
    proxy, client, stream = run(agent, method=method)
    events = sse.events(client.read_body())
    with Raw(proxy.url) as again:
        getattr(again, method)("/agent", last_event_id=f"{stream}.4")
        assert again.status == 200 and again.headers["weir-stream-id"] == stream
        assert sse.events(again.read_body())[-1] == events[-1]
    assert len(agent.runs) == 1


def test_ids_of_the_agent_are_kept_and_lead_back(weir, upstream):
    ids = [f"{1_700_000_000 + number}-0" for number in range(6)]
    events = [f"id: {one}\nevent: token\ndata: {json.dumps({'type': 'token', 'content': one})}\n\n" for one in ids]

    def script(connection):
        connection.request()
        connection.head()
        for event in events:
            connection.chunk(event)
            # Apart, so that none is joined with another.
            connection._closed.wait(0.03)
        connection.chunk(wire.sse({"type": "done"}, "done"))
        connection.end()

    server = upstream(script)
    proxy = weir(server.url, defaults=RESUME)
    with Raw(proxy.url).get("/agent") as client:
        got = sse.events(client.read_body())
    assert [event.id for event in got[:-1]] == ids
    with Raw(proxy.url).get("/agent", last_event_id=ids[2]) as again:
        assert [event.id for event in sse.events(again.read_body())[:3]] == ids[3:]
    assert len(server.requests()) == 1


def test_ids_of_another_weir_are_those_of_an_agent(weir, upstream):
    """A Weir beside the agent and one at the edge: what the first one writes leads back at the second one."""
    agent = Agent(pace=0.01)
    inner = weir(upstream(agent).url, defaults=RESUME)
    outer = weir(inner.url, defaults=RESUME)
    with Raw(outer.url).get("/agent") as client:
        stream = client.headers["weir-stream-id"]
        ids = [event.id for event in sse.events(client.read_body())]
    assert not any(stream in one for one in ids)
    for path in ("/agent", stream_path(stream)):
        with Raw(outer.url).get(path, last_event_id=ids[2]) as again:
            assert (again.status, again.headers["weir-stream-id"]) == (200, stream)
            assert [event.id for event in sse.events(again.read_body())] == ids[3:]
    with Raw(outer.url).post("/runs/stream") as client:
        assert client.headers["location"] == stream_path(client.headers["weir-stream-id"])
        client.read_body()
    assert len(agent.runs) == 2


def test_an_id_of_somebody_else_is_forwarded(weir, upstream):
    agent = Agent()
    server = upstream(agent)
    proxy = weir(server.url, defaults=RESUME)
    with Raw(proxy.url).get("/agent", last_event_id="17-0") as client:
        assert client.status == 200
        client.read_body()
    assert server.requests()[0].headers["last-event-id"] == "17-0"


ANSWERS = {
    "an id that is none": ("/.weir/streams/abc", {}, 400),
    "more after the id": (stream_path(UNKNOWN) + "/events", {}, 400),
    "an unknown id": (stream_path(UNKNOWN), {}, 404),
    "an unknown id, EventSource": (stream_path(UNKNOWN), {"accept": EVENTS}, 404),
    "an unknown id at the route": ("/agent", {"last_event_id": f"{UNKNOWN}.1"}, 404),
    "an unknown id at the route, EventSource": ("/agent", {"accept": EVENTS, "last_event_id": f"{UNKNOWN}.1"}, 404),
    "a damaged id at the route": ("/agent", {"last_event_id": f"{UNKNOWN}.x"}, 400),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_leads_nowhere_is_refused_and_never_forwarded(weir, upstream, case):
    path, headers, status = ANSWERS[case]
    agent = Agent()
    server = upstream(agent)
    proxy = weir(server.url, defaults=RESUME)
    with Raw(proxy.url).get(path, **headers) as client:
        client.read_body()
    assert client.status == status
    # Some libraries for events look at nothing but the content type.
    kind = EVENTS if headers.get("accept") == EVENTS else "application/problem+json"
    assert client.headers["content-type"] == kind
    assert server.requests() == []


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "", "99999999999999999999999", "500"])
def test_a_position_that_cannot_be_is_refused_while_the_stream_lives(run, after):
    agent = Agent(hold=4)
    proxy, client, stream = run(agent)
    client.until_events(4)
    with rest(proxy.url, stream, after) as again:
        again.read_body()
        assert again.status == 400
    client.close()


def test_a_position_that_is_no_longer_kept_is_told(run):
    agent = Agent(60)
    proxy, client, stream = run(agent, max_events=16)
    last = numbers(sse.events(client.read_body()), stream)[-1]
    with rest(proxy.url, stream, 1) as again:
        said = json.loads(again.read_body())
    first = said["first"]
    assert (again.status, said["code"]) == (410, "resume_evicted")
    assert last - 16 < first <= last
    # The first one that is kept can be had.
    with rest(proxy.url, stream, first - 1) as again:
        assert numbers(sse.events(again.read_body()), stream)[0] == first
    metrics = proxy.metrics()
    assert metrics.value("weir_resume_requests_total", result="evicted") == 1
    assert metrics.value("weir_journal_evicted_total", reason="stream_limit") == first - 1


def test_a_client_that_has_everything_is_told_so_in_its_own_way(run):
    """An EventSource is closed for good by 204 alone. Others take an empty response for an ordinary end."""
    proxy, client, stream = run(Agent())
    last = numbers(sse.events(client.read_body()), stream)[-1]
    for accept, expected in ((EVENTS, 204), ("*/*", 200)):
        for after in (last, last + 7):
            with rest(proxy.url, stream, after, accept=accept) as again:
                assert (again.status, again.read_body()) == (expected, b"")
                told = (again.headers["weir-resumed-from"], again.headers["weir-replay"])
                assert told == (str(last), "0")
    with Raw(proxy.url).get("/agent", accept=EVENTS, last_event_id=f"{stream}.{last}") as again:
        assert again.status == 204


def test_a_stream_is_forgotten_after_keep(run):
    proxy, client, stream = run(Agent(), keep="300ms")
    client.read_body()

    def status() -> int:
        with rest(proxy.url, stream) as again:
            again.read_body()
            return again.status

    until("the stream is forgotten", lambda: status() == 404)
    until("its memory is free", lambda: proxy.metrics().value("weir_journal_bytes") == 0)


def test_the_state_of_a_stream(run):
    agent = Agent(hold=4)
    proxy, client, stream = run(agent)
    client.until_events(4)

    def state() -> dict:
        with rest(proxy.url, stream, accept="application/json") as again:
            assert again.headers["content-type"].startswith("application/json")
            return json.loads(again.read_body())

    live = {"stream": stream, "state": "live", "outcome": None, "first": 1, "last": 4, "viewers": 1}
    assert state() == live
    agent.go.set()
    client.read_body()
    until("it is over", lambda: state()["state"] == "ended" and state()["viewers"] == 0)
    last = len(agent.events("/agent"))
    assert state() == {**live, "state": "ended", "outcome": "finished", "last": last, "viewers": 0}


def test_another_caller_learns_nothing(run):
    """The stream of another caller and one that never was are told apart by nothing."""
    agent = Agent(hold=4)
    proxy, client, stream = run(agent, headers=KEY)
    client.until_events(4)
    answers = []
    for one in (stream, UNKNOWN):
        for headers in ({"authorization": "Bearer two"}, {}, {"x_api_key": "one"}):
            for method in ("GET", "DELETE"):
                with Raw(proxy.url).send(method, stream_path(one), x_request_id="same", **headers).read_head() as again:
                    body = again.read_body()
                    kept = {name: value for name, value in again.headers.items() if name not in ("date", "traceparent")}
                    answers.append((method, again.status, kept, body.replace(one.encode(), b"ID")))
    assert {status for _, status, _, _ in answers} == {404}
    foreign, unknown = answers[: len(answers) // 2], answers[len(answers) // 2 :]
    assert foreign == unknown
    # The stream goes on, and its own caller has it.
    with rest(proxy.url, stream, **KEY) as again:
        assert again.status == 200 and again.until_events(4)
    agent.go.set()
    assert sse.events(client.read_body())[-1].name == "done"


def test_a_route_without_resume_has_no_way_back(weir, upstream):
    agent = Agent()
    proxy = weir(upstream(agent).url)
    with Raw(proxy.url).get("/agent") as client:
        events = sse.events(client.read_body())
    assert all(event.id is None for event in events)
    with rest(proxy.url, client.headers["weir-stream-id"]) as again:
        again.read_body()
        assert again.status == 404


@pytest.mark.parametrize("ids, has", [("auto", False), ("all", True), ("off", False)])
def test_ids_are_added_where_clients_bear_them(run, ids, has):
    """OpenAI's clients bear ids, but do not use them."""
    proxy, client, stream = run(Agent(), path="/v1/chat/completions", ids=ids)
    events = sse.events(client.read_body())
    assert [event.id is not None for event in events] == [has] * len(events)
    # The way back is there all the same.
    with rest(proxy.url, stream, 3) as again:
        assert sse.events(again.read_body())[-1].data == "[DONE]"


def test_two_viewers_of_which_one_is_slow(weir, upstream):
    """The slow one neither delays the other nor the agent. What it lost can be fetched."""
    count = 4000
    agent = Agent(count)
    proxy = weir(upstream(agent).url, defaults={**RESUME, "resume": {"max_bytes": "16MiB"}})
    slow = Raw(proxy.url, receive_buffer=4096).post("/agent")
    stream = slow.headers["weir-stream-id"]
    with rest(proxy.url, stream) as fast:
        events = sse.events(fast.read_body())
    assert "".join(map(sse.content, events)) == wire.text_of(count)
    assert agent.finished.wait(5)
    # It begins to read long after the others have finished.
    got = sse.events(slow.read_body())
    slow.close()
    assert [event for event in got if event.name != "token"] == [event for event in events if event.name != "token"]
    seen = numbers(got, stream)
    assert seen == sorted(set(seen))
    with rest(proxy.url, stream) as again:
        whole = sse.events(again.read_body())
    assert "".join(map(sse.content, whole)) == wire.text_of(count)
    assert len(agent.runs) == 1


def test_more_viewers_than_there_may_be(run):
    agent = Agent(hold=4)
    proxy, client, stream = run(agent, max_viewers=2)
    client.until_events(4)
    with rest(proxy.url, stream) as second:
        second.until_events(4)
        with rest(proxy.url, stream) as third:
            third.read_body()
            assert third.status == 503 and "retry-after" in third.headers

    # The second one has left, so that there is room.
    def status() -> int:
        with rest(proxy.url, stream) as again:
            return again.status

    until("room", lambda: status() == 200)
    client.close()


@pytest.mark.alone
def test_a_replay_goes_at_the_pace_of_its_client(weir, upstream):
    """A client that does not read the replay costs a queue, not a second journal."""
    agent = Agent(60_000)
    limits = {"max_bytes": "64MiB", "max_events": 100_000}
    proxy = weir(upstream(agent).url, defaults={**RESUME, "resume": limits}, resume={"total_bytes": "64MiB"})
    with Raw(proxy.url).post("/agent") as client:
        client.read_body()
    stream = client.headers["weir-stream-id"]
    before = proxy.rss()
    stalled = [Raw(proxy.url, receive_buffer=4096).get(stream_path(stream)) for _ in range(8)]
    settled("memory", lambda: proxy.rss() >> 20)
    assert proxy.rss() - before < 16 << 20
    for one in stalled:
        one.close()


def test_the_same_request_again_is_the_same_stream(run):
    agent = Agent(hold=4)
    headers = {"idempotency_key": "k1"}
    proxy, client, stream = run(agent, headers=headers, idempotency=True)
    client.until_events(4)
    with Raw(proxy.url).post("/agent", **headers) as again:
        assert again.headers["weir-stream-id"] == stream
        assert again.until_events(4)[:4] == client.events()[:4]
    with Raw(proxy.url).post("/agent", b'{"other":1}', **headers) as other:
        other.read_body()
        assert other.status == 422
    with Raw(proxy.url).post("/agent", idempotency_key="k2") as fresh:
        assert fresh.headers["weir-stream-id"] != stream
    agent.go.set()
    client.read_body()
    assert len(agent.runs) == 2


def test_the_same_request_many_times_at_once_is_one_run(run):
    agent = Agent(2)
    proxy, first, _ = run(agent, idempotency=True)
    first.read_body()
    for number in range(30):
        clients = [Raw(proxy.url) for _ in range(4)]
        for client in clients:
            client.send("POST", "/agent", b"{}", idempotency_key=f"k{number}")
        streams = {client.read_head().headers["weir-stream-id"] for client in clients}
        assert len(streams) == 1, number
        for client in clients:
            client.close()
    assert len(agent.runs) == 31


def test_no_credentials_in_the_log(run):
    proxy, client, stream = run(Agent(), headers=KEY)
    client.read_body()
    with rest(proxy.url, stream, 2, **KEY) as again:
        again.read_body()
    proxy.ended()
    text = "\n".join(proxy.child.lines)
    assert "Bearer" not in text
