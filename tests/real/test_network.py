"""Tests faults of the network link between Weir and its neighbours."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.faults import (
    CHAT,
    PATHS,
    STREAMS,
    Agent,
    Running,
    chat,
    chats,
    errors,
    nothing_is_left,
    only,
    plain,
    refused,
    token,
)
from support.h2 import H2
from support.link import Link
from support.raw import Raw
from support.wait import until


@pytest.fixture
def line() -> Iterator[Callable[..., Link]]:
    """`line(delay=..., loss=...)` makes a network link whose two ends, `near` and `far`, are both on this machine."""
    links: list[Link] = []

    def lay(**how: float) -> Link:
        try:
            links.append(Link(**how))
        except OSError as error:
            pytest.skip(f"a tunnel device needs root: {error}")
        return links[-1]

    yield lay
    for link in links:
        link.close()


@pytest.mark.parametrize("protocol", ["http/1.1", "http/2"])
def test_delay_and_loss_on_both_sides_cost_no_event(weir, upstream, line, protocol):
    link = line(delay=0.05, loss=0.05)
    agent = Agent(upstream, every=0.05, host=link.near)
    upstreams = only(link.across(agent.server.url))
    # When the first packets of a connection are lost, the kernel retries after 1 s, then after 2, then after 4.
    proxy = weir(listen=f"{link.near}:0", upstreams=upstreams, defaults={"deadlines": {"connect": "14s"}})
    url = link.across(proxy.url)
    with nothing_is_left(proxy):
        if protocol == "http/2":
            with H2(url) as connection:
                fields = {"body": b"{}", "content_type": "application/json"}
                through(link, Running(agent, [connection.request("POST", path, **fields) for path in PATHS]))
        else:
            with ThreadPoolExecutor(len(PATHS)) as pool:
                clients = pool.map(lambda path: Raw(url).post(path), PATHS)
            through(link, Running(agent, clients))
        proxy.outcomes(finished=len(PATHS))
    metrics = proxy.metrics()
    # Connecting takes a round trip.
    assert metrics.value("weir_upstream_connect_seconds_sum") > len(PATHS) * 2 * link.delay
    assert errors(proxy) == metrics.by("weir_events_dropped_total", "reason") == {}


def through(link: Link, running: Running) -> None:
    before = link.lost
    until("losses amid the events", lambda: link.lost > before + 50)
    running.go_on()
    running.finish()


def test_a_line_that_is_away_for_a_while_costs_no_event(weir, upstream, line):
    link = line()
    agent = Agent(upstream, host=link.near)
    proxy = weir(upstreams=only(link.across(agent.server.url)), defaults={"deadlines": {"idle": "10s"}})
    with nothing_is_left(proxy):
        running = Running(agent, chats(proxy))
        link.cut()
        cut, before = time.monotonic(), link.lost
        until("a second has passed", lambda: time.monotonic() - cut > 1)
        assert link.lost > before + STREAMS
        link.mend()
        running.go_on()
        running.finish()
        proxy.outcomes(finished=STREAMS)
    assert errors(proxy) == {}


def test_a_line_to_the_agent_that_is_dead_ends_its_streams_by_idle(weir, upstream, line):
    link = line()
    agent = Agent(upstream, host=link.near)
    deadlines = {"idle": "1s", "connect": "500ms"}
    proxy = weir(upstreams=only(link.across(agent.server.url)), defaults={"deadlines": deadlines})
    with nothing_is_left(proxy):
        running = Running(agent, chats(proxy))
        calls = list(agent.server.connections)
        link.cut()
        cut = time.monotonic()
        for client in running.streams.values():
            body = client.read_body()
            assert client.events()[-1].json()["error"]["code"] == "idle_timeout"
            assert body.count(b'"error"') == 1 and b"[DONE]" not in body
            client.close()
        # The last event came shortly before.
        assert 0.5 < time.monotonic() - cut < 2
        proxy.outcomes(idle_timeout=STREAMS)
        refused(proxy, 504, "upstream_connect")
        metrics = proxy.metrics()
        assert metrics.by("weir_upstream_errors_total", "reason") == {"idle_timeout": STREAMS, "upstream_connect": 1}
        assert metrics.by("weir_upstream_cancellations_total", "reason") == {"timeout": STREAMS}
        link.mend()
        # The agent is told immediately.
        for call in calls:
            call.gone()
        assert plain(proxy) == b"agent"


# The interval between events, the outcome of the stream, and the time until it ends, in seconds.
DEAD_CLIENTS = {
    # The kernel buffers the few bytes, and gives up when none were acknowledged for `client_stall`.
    "a little": (0.2, "client_gone", 1.5),
    # The kernel's buffer is full. Then `client_stall` runs, and one more second in which the client may read the error.
    "a lot": (0.001, "client_stalled", 2.0),
}


@pytest.mark.parametrize("sent", DEAD_CLIENTS)
def test_a_client_whose_line_is_dead_stops_its_agent(weir, upstream, line, sent):
    every, outcome, expected = DEAD_CLIENTS[sent]
    link = line()
    agent = Agent(upstream, every=every)
    listen = ["127.0.0.1:0", f"{link.near}:0"]
    proxy = weir(listen=listen, upstreams=only(agent.server.url), defaults={"deadlines": {"client_stall": "1s"}})
    _, far = (one["address"] for one in proxy.logs() if one.get("listener") == "traffic")
    with nothing_is_left(proxy):
        running = Running(agent, chats(proxy))
        lost = [Raw(link.across(f"http://{far}")).post(path) for path in PATHS[STREAMS:8]]
        for client in lost:
            client.until_events(2)
        calls = agent.server.connections[STREAMS:]
        link.cut()
        cut = time.monotonic()
        for call in calls:
            assert call.gone() - cut > expected - 1.5
        assert time.monotonic() - cut < expected + 1
        running.go_on()
        running.finish()
        proxy.outcomes(finished=STREAMS, **{outcome: len(lost)})
        assert proxy.metrics().by("weir_upstream_cancellations_total", "reason") == {outcome: len(lost)}
    for client in lost:
        client.close()


@pytest.mark.parametrize("protocol", ["http/1.1", "http/2"])
def test_a_client_whose_line_is_dead_is_given_up_although_it_only_gets_heartbeats(weir, upstream, line, protocol):
    """Heartbeats fit the kernel's buffers. What is sent and not acknowledged for `client_stall` ends the stream within
    one more second. A client that is only silent keeps its stream."""

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(token(0))
        connection.gone(60)

    link = line()
    server = upstream(script)
    listen = ["127.0.0.1:0", f"{link.near}:0"]
    # Another route's `client_stall` does not matter.
    routes = [
        {"name": "patient", "match": {"path_prefix": "/patient"}, "upstream": "agent", "deadlines": {"client_stall": "60s"}},
        {"name": "all", "upstream": "agent"},
    ]
    defaults = {"deadlines": {"client_stall": "3s"}, "heartbeat": "200ms"}
    proxy = weir(listen=listen, upstreams=only(server.url), routes=routes, defaults=defaults)
    _, far = (one["address"] for one in proxy.logs() if one.get("listener") == "traffic")
    with nothing_is_left(proxy):
        near = chat(proxy)
        near.until_events(1)
        connect = H2 if protocol == "http/2" else Raw
        lost = [connect(link.across(f"http://{far}")) for _ in range(3)]
        for client in lost:
            client.post(CHAT).until_bytes(b": ")
        link.cut()
        cut = time.monotonic()
        for call in server.connections[1:]:
            # The first heartbeat that is not acknowledged leaves up to 0.2 s later.
            assert 3 <= call.gone(6) - cut < 4.3
        assert server.connections[0].closed_at is None
        near.close()
        proxy.outcomes(client_gone=4)
    for client in lost:
        client.close()


def test_a_client_that_pauses_and_acknowledges_is_told_that_it_stalled(weir, upstream, line):
    """The client's system acknowledges what arrives until its buffers are full, and replies to window probes. Such a
    client gets the reason, and not a broken connection."""
    link = line()
    agent = Agent(upstream, every=0.002)
    proxy = weir(listen=f"{link.near}:0", upstreams=only(agent.server.url), defaults={"deadlines": {"client_stall": "1s"}})
    with nothing_is_left(proxy):
        with Raw(link.across(proxy.url), receive_buffer=4096).post(CHAT) as client:
            client.until_events(1)
            # Its stream is over, and it has a second to read why.
            agent.server.connections[0].gone()
            client.read_body()
            assert client.events()[-1].json()["error"]["code"] == "client_stalled"
        proxy.outcomes(client_stalled=1)
