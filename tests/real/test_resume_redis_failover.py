"""Tests of what clients see when another Redis server takes over, and when the instance that runs a stream is gone."""

import threading
import time

import pytest

from backends import wire
from backends.resumable import Agent
from backends.scripted import Connection, Gone
from support import sse
from support.fleet import is_up, kill, known, over, read, ready, run, text, truthful, whole
from support.raw import Raw
from support.redis import MASTER, Switch, cluster, replica, sentinel
from support.resume import numbers, rest, stop
from support.wait import until

# Each row of docs/resume.md's table of failures.
pytestmark = pytest.mark.drill

COUNT = 60
HOLD = 10
LOST = 17
# How long an instance counts as running after it last said so.
LEASE = 15.0


class Steps:
    """A script for `upstream`: one answer in the convention dialect, which waits before some of its events."""

    def __init__(self, *holds: int):
        self.may = {number: threading.Event() for number in holds}

    def __call__(self, connection: Connection) -> None:
        connection.request()
        connection.head()
        for number, event in enumerate(wire.convention(COUNT)):
            while number in self.may and not self.may[number].wait(0.005):
                if connection._closed.is_set():
                    raise Gone
            connection.chunk(event)
        connection.end()


def test_sentinels_promote_a_replica(redis, fleet):
    """Streams go on meanwhile. Who follows one elsewhere sees it whole, or is told that something is missing."""
    primary = redis()
    second = replica(redis, primary)
    watcher = sentinel(redis, primary)
    agent = Agent(COUNT, pace=0.1, hold=HOLD)
    a, b = fleet(agent, {"mode": "sentinel", "master": MASTER, "urls": [watcher.url]})
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(HOLD)
        known(b, stream, HOLD)
        with rest(b.url, stream) as follower:
            agent.go.set()
            follower.until_events(HOLD + 10)
            primary.kill()
            until("the loss is noticed", lambda: not is_up(a) and not is_up(b))
            place = [b"127.0.0.1", str(second.port).encode()]
            until("the replica is promoted", lambda: watcher.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER) == place)
            ready(a, b, within=3.0)
            whole(sse.events(client.read_body()), stream, COUNT)
            truthful(sse.events(follower.read_body()), stream, COUNT)
    agent.pace = 0.0
    fresh = run(a, COUNT)
    over(b, fresh)
    whole(read(b, fresh), fresh, COUNT)
    truthful(read(b, stream), stream, COUNT)


def test_sentinels_ask_for_a_login_of_their_own(redis, fleet, tmp_path):
    """Neither side knows the user of the other. Who has not logged in to the sentinel cannot ask it for the primary."""
    primary = redis(user=["default on nopass ~* &* +@all", "weir on >of-the-server ~* &* +@all"])
    replica(redis, primary)
    # What the test itself asks.
    own = ["default on nopass ~* &* -@all +ping +sentinel|replicas", "watch on >of-the-sentinel ~* &* +@all"]
    watcher = sentinel(redis, primary, user=own)
    for name in ("server", "sentinel"):
        (tmp_path / name).write_text(f"of-the-{name}")
    login = {
        "username": "weir",
        "password": f"file:{tmp_path}/server",
        "sentinel_username": "watch",
        "sentinel_password": f"file:{tmp_path}/sentinel",
    }
    a, b = fleet(Agent(COUNT), {"mode": "sentinel", "master": MASTER, "urls": [watcher.url], **login})
    stream = run(a, COUNT)
    over(b, stream)
    whole(read(b, stream), stream, COUNT)


@pytest.mark.parametrize("is_ahead", [True, False], ids=["who has them", "who lacks them"])
def test_a_failover_loses_the_last_entries(redis, fleet, is_ahead):
    """Nothing comes twice, and nothing in another order. Who lacks what is lost is told so."""
    first = redis()
    second = replica(redis, first)
    agent = Steps(HOLD, LOST)
    with Switch(first.port) as switch:
        a, b = fleet(agent, {"url": switch.url})
        with Raw(a.url).post("/agent") as client:
            stream = client.headers["weir-stream-id"]
            client.until_events(HOLD)
            key, entry = f"weir:{{{stream}}}:s", b"%d-0" % HOLD
            until("the replica has them", lambda: entry in second.everything().get(key, b""))
            # From here on it gets nothing more.
            second.ask("REPLICAOF", "NO", "ONE")
            agent.may[HOLD].set()
            client.until_events(LOST)
            known(b, stream, LOST)
            with rest(b.url, stream, 0 if is_ahead else 3) as follower:
                if is_ahead:
                    follower.until_events(LOST)
                else:
                    # One that comes when the other server has taken over.
                    follower.close()
                first.kill()
                switch.lead(second.port)
                ready(a, b)
                agent.may[LOST].set()
                whole(sse.events(client.read_body()), stream, COUNT)
                if is_ahead:
                    whole(sse.events(follower.read_body()), stream, COUNT)
                    return
        over(b, stream)
        *events, last = read(b, stream, 3)
        assert numbers(events, stream) == list(range(4, HOLD + 1))
        assert last.name == "error" and "resume_gap" in (last.data or "")
        # What comes after the gap can be read.
        events = read(b, stream, LOST)
        assert events[-1].name == "done" and wire.text_of(COUNT).endswith(text(events))


@pytest.mark.slow
def test_an_instance_is_killed(redis, fleet):
    """Who follows its streams elsewhere is told, at the latest a second after its lease is over."""
    agent = Agent(COUNT, hold=HOLD)
    a, b, c = fleet(agent, redis().reached(), number=3)
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        first = client.until_events(HOLD)
        known(b, stream, HOLD)
        known(c, stream, HOLD)
        with rest(b.url, stream, 3) as one, rest(c.url, stream) as two:
            one.until_events(HOLD - 3)
            two.until_events(HOLD)
            kill(a)
            died = time.monotonic()
            for follower, before in ((one, 3), (two, 0)):
                follower.socket.settimeout(LEASE + 5)
                *events, last = sse.events(follower.read_body())
                assert events == first[before:]
                assert last.name == "error" and "upstream_reset" in (last.data or "")
            took = time.monotonic() - died
    print(f"told after {took:.1f} s")
    # The half second is for the test itself.
    assert took < LEASE + 1.5
    for proxy in (b, c):
        assert over(proxy, stream)["outcome"] == "upstream_reset"
        *events, last = read(proxy, stream, 3)
        assert events == first[3:] and "upstream_reset" in (last.data or "")
        # It must not look whole to who has all that there is.
        with rest(proxy.url, stream, HOLD) as again:
            body = again.read_body()
            assert again.status == 410 or b"upstream_reset" in body, (again.status, body)
        assert stop(proxy.url, stream) == 202
    # The others go on.
    agent.go.set()
    fresh = run(b, COUNT)
    over(c, fresh)
    whole(read(c, fresh), fresh, COUNT)


@pytest.mark.slow
def test_an_instance_whose_clients_follow_elsewhere_is_killed(redis, fleet):
    """Its clients come back anywhere. The run does not go on for ever for those of them that do not."""
    agent = Agent(COUNT, hold=HOLD)
    a, b, c = fleet(agent, redis().reached(), number=3, on_disconnect={"grace": "500ms"})
    with Raw(a.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        first = client.until_events(HOLD)
        known(c, stream, HOLD)
        known(b, stream, HOLD)
        follower = rest(b.url, stream)
        follower.until_events(HOLD)
        came = rest(c.url, stream, HOLD - 1)
        came.until_events(1)
    kill(b)
    follower.close()
    with came:
        assert came.events() == first[HOLD - 1 :]
        assert not agent.runs[0].connection._closed.wait(1.5), "one still follows it"
    assert agent.runs[0].connection.gone(LEASE + 5)
    assert a.ended()["outcome"] == "client_gone"


def test_a_cluster(redis, fleet):
    """The keys of streams lie on several nodes. Every way between instances works as with one server."""
    began = time.monotonic()
    nodes = cluster(redis)
    print(f"the cluster took {time.monotonic() - began:.1f} s")
    agent = Agent(COUNT, hold=HOLD)
    store = {"mode": "cluster", "urls": [node.url for node in nodes]}
    a, b = fleet(agent, store, resume={"idempotency": True})
    clients = [Raw(a.url).post("/agent", idempotency_key=f"k{number}") for number in range(8)]
    streams = [client.headers["weir-stream-id"] for client in clients]
    followers = []
    for client, stream in zip(clients, streams):
        first = client.until_events(HOLD)
        known(b, stream, HOLD)
        followers.append(rest(b.url, stream, 3))
        assert followers[-1].until_events(HOLD - 3) == first[3:]
    used = [node for node in nodes if any(key.endswith(":s") for key in node.everything())]
    assert len(used) > 1
    with Raw(b.url).post("/agent", idempotency_key="k3") as same:
        assert same.headers["weir-stream-id"] == streams[3]
    assert stop(b.url, streams[0]) == 202
    assert agent.runs[0].connection.gone(3)
    assert "stopped" in (sse.events(followers[0].read_body())[-1].data or "")
    agent.go.set()
    for client, stream, follower in list(zip(clients, streams, followers))[1:]:
        events = sse.events(client.read_body())
        whole(events, stream, COUNT)
        with follower:
            assert sse.events(follower.read_body()) == events[3:]
        over(b, stream)
        whole(read(b, stream), stream, COUNT)
    for one in (*clients, followers[0]):
        one.close()
    assert len(agent.runs) == 8
