"""Tests faults between Weir and its neighbours: of names, certificates, the clock or the network link.

Running streams continue or end with one error of the right kind; new requests get the documented status; the metrics
agree; and after the fault nothing is left of it.
"""

import glob
import json
import os
import socket
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support import sse
from support.h2 import H2, Stream
from support.link import Link
from support.raw import Raw
from support.wait import settled, until
from support.weir import BINARY, Weir, config_for

CHAT = "/v1/chat/completions"
DONE = "data: [DONE]\n\n"
# Each stream is identified by its path.
PATHS = [f"{CHAT}?{number}" for number in range(20)]
STREAMS = 5
DAY = 86_400


def token(number: int) -> str:
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":"{number} "}}}}]}}\n\n'


class Agent:
    """An agent whose streams count until `over` is set. A plain request is answered with the agent's name."""

    def __init__(self, upstream, name: str = "agent", every: float = 0.02, **where):
        self.over = threading.Event()
        # The number of events sent, by the path of the stream.
        self.sent: dict[str, int] = defaultdict(int)
        self._name, self._every = name, every
        self.server = upstream(self._script, **where)

    def _script(self, connection) -> None:
        while True:
            path = connection.request(within=60).line.split()[1]
            if not path.startswith(CHAT):
                connection.send(f"HTTP/1.1 200 OK\r\ncontent-length: {len(self._name)}\r\n\r\n{self._name}")
                continue
            connection.head()
            while not self.over.wait(self._every):
                connection.chunk(token(self.sent[path]))
                self.sent[path] += 1
            connection.chunk(DONE)
            connection.end()


class Running:
    """Running streams, the first of `PATHS`, and the events that each must have received in the end."""

    def __init__(self, agent: Agent, clients: Iterable[Raw | Stream]):
        self.agent = agent
        self.streams = dict(zip(PATHS, clients))
        self.go_on()

    def go_on(self) -> None:
        """Checks that events sent from now on still arrive."""
        marks = {path: token(self.agent.sent[path] + 1) for path in self.streams}
        for path, client in self.streams.items():
            client.until_bytes(marks[path].encode())

    def finish(self) -> None:
        """Checks that each stream got every event, in order, and nothing else."""
        self.agent.over.set()
        for path, client in self.streams.items():
            assert client.read_body().decode() == "".join(map(token, range(self.agent.sent[path]))) + DONE
            if isinstance(client, Raw):
                client.close()


def chat(proxy: Weir, path: str = CHAT) -> Raw:
    return Raw(proxy.url).post(path)


def chats(proxy: Weir) -> list[Raw]:
    return [chat(proxy, path) for path in PATHS[:STREAMS]]


def plain(proxy: Weir) -> bytes:
    """Sends a new request, over a new connection to the agent, and returns the response."""
    with Raw(proxy.url).get("/plain") as client:
        return client.read_body()


def refused(proxy: Weir, status: int, code: str) -> str:
    """Checks that a new stream gets this status and error. Returns what the log says about it."""
    before = len(proxy.logs())
    with chat(proxy) as client:
        assert client.status == status
        assert json.loads(client.read_body())["error"]["code"] == code
    return str(until("it is logged", lambda: [line for line in proxy.logs()[before:] if line.get("code") == code]))


def errors(proxy: Weir) -> dict[str, float]:
    return proxy.metrics().by("weir_upstream_errors_total", "reason")


@contextmanager
def nothing_is_left(proxy: Weir, kept: int = 0) -> Iterator[None]:
    """Checks that no stream, client or descriptor is left over, except for `kept` pooled connections to agents."""

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{proxy.child.pid}/fd"))

    # The workers may still be starting.
    base = settled("descriptors", descriptors) + kept
    yield
    until("no stream", lambda: proxy.metrics().value("weir_streams_active") == 0)
    until("no client", lambda: proxy.metrics().value("weir_connections_active") == 0)
    until(f"no more than {base} descriptors", lambda: descriptors() <= base)


def only(url: str, **settings) -> dict:
    """Returns an upstream without pooled connections, so that each request opens its own."""
    return {"agent": {"endpoints": [url], "pool_idle": "0s", **settings}}


def started_by(line: str, folder: Path, monkeypatch) -> None:
    """Makes this shell line start Weir from here on. The process id stays the same."""
    script = folder / "weir.sh"
    script.write_text(f"#!/bin/sh\nexec {line}\n")
    script.chmod(0o755)
    monkeypatch.setattr("support.weir.BINARY", script)


def replace(file: Path, text: str) -> None:
    """Replaces a file atomically, so that no reader sees half of it."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(file)


# Names


class Names:
    """The names that Weir can resolve. It runs with its own /etc."""

    def __init__(self, etc: Path):
        self._etc = etc
        etc.mkdir()
        (etc / "nsswitch.conf").write_text("hosts: files\n")
        self.are({})

    def are(self, addresses: dict[str, str]) -> None:
        replace(self._etc / "hosts", "".join(f"{address} {name}\n" for name, address in addresses.items()))

    def others_are_asked_of(self, server: str) -> None:
        """Sends queries for unknown names to `server`, with one attempt and a timeout of one second."""
        (self._etc / "nsswitch.conf").write_text("hosts: files dns\n")
        (self._etc / "resolv.conf").write_text(f"nameserver {server}\noptions timeout:1 attempts:1\n")


@pytest.fixture
def names(tmp_path, monkeypatch) -> Names:
    etc = tmp_path / "etc"
    names = Names(etc)
    if subprocess.run(["unshare", "--mount", "mount", "--bind", etc, "/etc"], capture_output=True).returncode:
        pytest.skip("a mount namespace needs root")
    mount = f"mount --bind {etc} /etc"
    started_by(f"unshare --mount sh -c '{mount} && exec \"$0\" \"$@\"' {BINARY} \"$@\"", tmp_path, monkeypatch)
    return names


def test_a_name_that_moves_takes_new_requests_along_and_no_running_stream(weir, upstream, names):
    old = Agent(upstream, "old")
    new = Agent(upstream, "new", host="127.0.0.2", port=old.server.port)
    names.are({"agent.test": "127.0.0.1"})
    proxy = weir(upstreams={"agent": {"endpoints": [f"http://agent.test:{old.server.port}"], "pool_idle": "300ms"}})
    with nothing_is_left(proxy):
        running = Running(old, chats(proxy))
        assert plain(proxy) == b"old"
        kept = old.server.connections[-1]
        names.are({"agent.test": "127.0.0.2"})
        # A pooled connection is used until it closes.
        kept.gone(within=5)
        assert plain(proxy) == b"new"
        later = Running(new, chats(proxy))
        running.go_on()
        later.finish()
        running.finish()
        proxy.outcomes(finished=2 * STREAMS)
    assert errors(proxy) == {}
    assert len(old.server.requests()) == STREAMS + 1, "none of the later ones came here"


def test_a_name_that_is_lost_is_a_502_until_it_is_found(weir, upstream, names):
    agent = Agent(upstream)
    names.are({"agent.test": "127.0.0.1"})
    proxy = weir(upstreams=only(f"http://agent.test:{agent.server.port}"))
    with nothing_is_left(proxy):
        running = Running(agent, chats(proxy))
        names.are({})
        for _ in range(10):
            assert "did not resolve" in refused(proxy, 502, "upstream_connect")
        running.go_on()
        assert errors(proxy) == {"upstream_connect": 10}
        assert len(agent.server.requests()) == STREAMS
        names.are({"agent.test": "127.0.0.1"})
        assert plain(proxy) == b"agent"
        running.finish()
        proxy.outcomes(finished=STREAMS)
    assert proxy.metrics().value("weir_requests_total", code="502") == 10


def test_a_name_that_is_lost_is_waited_for_within_connect_budget(weir, upstream, names):
    agent = Agent(upstream)
    proxy = weir(upstreams=only(f"http://agent.test:{agent.server.port}", connect_budget="10s"))
    with nothing_is_left(proxy), Raw(proxy.url) as client:
        began = time.monotonic()
        client.send("GET", "/plain")
        # Weir retries every 0.1 s.
        until("several attempts", lambda: time.monotonic() - began > 0.3)
        names.are({"agent.test": "127.0.0.1"})
        assert client.read_head().read_body() == b"agent"
        assert time.monotonic() - began < 5
    assert errors(proxy) == {}


def test_a_name_server_that_is_silent_is_a_504_in_time(weir, upstream, names):
    agent = Agent(upstream)
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.settimeout(5)
        address = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        try:
            server.bind((address, 53))
        except OSError as error:
            pytest.skip(f"no place for a name server: {error}")
        names.others_are_asked_of(address)
        names.are({"agent.test": "127.0.0.1"})
        url = f"http://agent.test:{agent.server.port}"
        proxy = weir(upstreams=only(url), defaults={"deadlines": {"connect": "300ms"}})
        with nothing_is_left(proxy):
            running = Running(agent, chats(proxy))
            names.are({})
            began = time.monotonic()
            refused(proxy, 504, "upstream_connect")
            assert 0.3 < time.monotonic() - began < 0.9
            assert b"agent" in server.recv(512), "it was asked"
            running.go_on()
            names.are({"agent.test": "127.0.0.1"})
            assert plain(proxy) == b"agent"
            running.finish()
            proxy.outcomes(finished=STREAMS)
        assert errors(proxy) == {"upstream_connect": 1}


# Certificates


@pytest.mark.parametrize("tickets", [0, 2], ids=["whole handshakes", "resumed sessions"])
def test_an_agent_whose_certificate_expires_is_a_502_until_it_has_a_good_one(weir, upstream, authority, tmp_path, tickets):
    """With session tickets, the default of servers, a resumed session does not show the certificate again. Weir must
    still notice that it has expired."""
    expires = datetime.now(UTC) + timedelta(seconds=2)
    context = authority.server(authority.issue(tmp_path, until=expires))
    context.num_tickets = tickets
    agent = Agent(upstream, tls=context)
    proxy = weir(upstreams=only(agent.server.url, tls={"ca_file": authority.file(tmp_path)}))
    with nothing_is_left(proxy):
        running = Running(agent, chats(proxy))
        assert plain(proxy) == b"agent"
        asked = agent.server.heads()
        # Certificates count in whole seconds.
        until("it expires", lambda: datetime.now(UTC) > expires + timedelta(seconds=1))
        assert "expired" in refused(proxy, 502, "upstream_tls")
        assert agent.server.heads() == asked, "no request left before the certificate was checked"
        assert errors(proxy) == {"upstream_tls": 1}
        running.go_on()
        files = authority.issue(tmp_path)
        context.load_cert_chain(files.cert, files.key)
        assert plain(proxy) == b"agent"
        running.go_on()
        running.finish()
        proxy.outcomes(finished=STREAMS)
    assert errors(proxy) == {"upstream_tls": 1}


def test_the_certificate_of_a_listener_changes_under_traffic(weir, upstream, authority, tmp_path):
    """Running streams continue with the old certificate. Every new connection is answered, at some point with the new
    one."""
    files = authority.issue(tmp_path)
    agent = Agent(upstream)
    listen = {"address": "127.0.0.1:0", "tls": {"cert": files.cert, "key": files.key}}
    proxy = weir(listen=listen, upstreams=only(agent.server.url))
    shown: list[str] = []
    stop = threading.Event()

    def connecting(_) -> None:
        while not stop.wait(0.02):
            with Raw(proxy.url, tls=authority.client()) as client:
                shown.append(client.socket.getpeercert()["serialNumber"])
                assert client.get("/plain").read_body() == b"agent"

    def expires() -> float:
        return proxy.metrics().value("weir_tls_certificate_not_after_seconds")

    with nothing_is_left(proxy):
        running = Running(agent, [Raw(proxy.url, tls=authority.client()).post(path) for path in PATHS[:STREAMS]])
        with ThreadPoolExecutor(2) as pool, H2(proxy.url, authority.client("h2")) as connection:
            stream = connection.post(f"{CHAT}?h2")
            try:
                load = pool.map(connecting, range(2))
                old = until("connections", lambda: len(shown) > 10 and shown[0])
                until_old = expires()
                authority.issue(tmp_path, until=datetime.now(UTC) + timedelta(days=1))
                until("new connections see another", lambda: old not in shown[-10:])
                running.go_on()
            finally:
                stop.set()
            # None of their connections failed.
            list(load)
            assert len(set(shown)) == 2
            assert expires() < until_old
            running.finish()
            assert stream.read_body().decode() == "".join(map(token, range(agent.sent[f"{CHAT}?h2"]))) + DONE
        proxy.outcomes(finished=STREAMS + 1)
    assert proxy.metrics().by("weir_requests_total", "code") == {"200": len(shown) + STREAMS + 1}
    assert errors(proxy) == {}


# The clock


@pytest.fixture
def jump(tmp_path, monkeypatch):
    """`jump(seconds)` sets Weir's wall clock, and only that clock, off by so many seconds."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        pytest.skip("no libfaketime here: apt-get install faketime")
    offset = tmp_path / "offset"
    settings = {"LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": offset, "FAKETIME_NO_CACHE": 1}
    # Setting the wall clock changes neither the monotonic clock nor file times.
    settings |= {"DONT_FAKE_MONOTONIC": 1, "NO_FAKE_STAT": 1}
    replace(offset, "+0")
    words = " ".join(f"{name}={value}" for name, value in settings.items())
    started_by(f'env {words} {BINARY} "$@"', tmp_path, monkeypatch)
    return lambda seconds: replace(offset, f"{seconds:+d}")


def test_a_wall_clock_that_jumps_moves_no_timer(weir, upstream, jump):
    """The clock jumps by a day, which exceeds every default deadline (`total` is an hour). Only real time may end
    streams."""
    over = threading.Event()

    def quiet(connection) -> None:
        path = connection.request().line.split()[1]
        if path != "/quiet/request":
            connection.head()
        if path.endswith("event"):
            connection.chunk(token(0))
        over.wait(30)
        if path == "/quiet/request":
            connection.head()
        connection.chunk(DONE)
        connection.end()

    began = time.monotonic()
    agent = Agent(upstream)
    config = config_for(agent.server.url, workers=1)
    config["upstreams"]["agent"]["pool_idle"] = "1h"
    config["upstreams"]["quiet"] = {"endpoints": [upstream(quiet).url], "pool_idle": "0s"}
    short = {"deadlines": {"idle": "1s"}, "heartbeat": "200ms"}
    config["routes"] = [
        {"name": "short", "match": {"path_prefix": "/short"}, "upstream": "quiet", **short},
        {"name": "quiet", "match": {"path_prefix": "/quiet"}, "upstream": "quiet"},
        {"name": "all", "upstream": "agent"},
    ]
    proxy = weir(config=config)
    assert plain(proxy) == b"agent"
    with nothing_is_left(proxy, kept=STREAMS):
        running = Running(agent, chats(proxy))
        waiting = [Raw(proxy.url).send("POST", f"/quiet/{what}") for what in ("request", "head", "event")]
        with Raw(proxy.url) as kept:
            for seconds in (DAY, 0, -DAY, 0):
                started = time.monotonic()
                with chat(proxy, "/short/event") as client:
                    client.until_events(1)
                    jumped = time.monotonic()
                    jump(seconds)
                    body = client.read_body()
                assert client.events()[-1].json()["error"]["code"] == "idle_timeout"
                assert time.monotonic() - started > 1.0, "not before its time"
                assert time.monotonic() - jumped < 2.5, "not long after it"
                assert 2 <= len(sse.comments(body)) <= 5, "heartbeats keep their time"
                ended = proxy.ended(stream_id=client.headers["weir-stream-id"])
                said = datetime.fromisoformat(ended["timestamp"]) - datetime.now(UTC)
                assert abs(said.total_seconds() - seconds) < 60, "the clock has jumped"
                assert 1000 <= ended["duration_ms"] < 4000
                # Neither this connection nor the one to the agent has expired.
                assert kept.get("/plain").read_body() == b"agent"
                running.go_on()
        over.set()
        for client in waiting:
            assert client.read_head().status == 200
            assert client.read_body().decode().removeprefix(token(0)) == DONE
            client.close()
        running.finish()
        proxy.outcomes(finished=STREAMS + len(waiting), idle_timeout=4)
    assert len(agent.server.connections) == STREAMS + 1
    lasted, metrics = time.monotonic() - began, proxy.metrics()
    for name, labels, value in metrics.samples:
        if name.startswith("weir_") and name.endswith("_seconds_sum"):
            count = metrics.value(name.replace("_sum", "_count"), **labels)
            assert 0 <= value <= count * lasted, (name, labels, value, count)
    assert metrics.value("weir_time_to_first_event_seconds_count") >= STREAMS


# The network link


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
