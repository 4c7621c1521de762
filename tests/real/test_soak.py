"""Tests that Weir's memory and behaviour stay stable under mixed traffic with faults and reloads. Every end is
expected.

`tests/soak` runs this test for half an hour; otherwise it takes `WEIR_SOAK_SECONDS`, 15 by default.
"""

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from h2.errors import ErrorCodes

from backends import wire
from backends.scripted_h2 import Stream, UpstreamH2
from support.raw import Closed, Raw
from support.wait import until
from support.weir import config_for

SECONDS = float(os.environ.get("WEIR_SOAK_SECONDS", "15"))
CLIENTS = 12
MIB = 1024 * 1024
# The growth allowed to the allocator after the first third.
GROWTH = 12 * MIB

DIALECTS = {"/v1/chat/completions": wire.openai, "/v1/messages": wire.anthropic}
# The prefix of paths whose agent speaks HTTP/2.
HTTP2 = "/http2"
PLACES = [prefix + place for prefix in ("", HTTP2) for place in DIALECTS]


def asked(path: str) -> tuple[str, list[bytes]]:
    """Returns the kind of the stream, and the pieces to send."""
    place, _, kind = path.removeprefix(HTTP2).partition("?kind=")
    pieces = list(DIALECTS[place](random.randint(1, 60)))
    if kind in ("truncated", "reset", "leaves"):
        pieces = pieces[: 1 + len(pieces) // 2]
    return kind, pieces


def script(connection):
    """Sends what the path asks for. A connection serves many requests."""
    while True:
        kind, pieces = asked(connection.request(within=SECONDS + 60).line.split()[1])
        if kind == "plain":
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain")
            continue
        connection.head()
        if kind == "malformed":
            connection.chunk(pieces[1])
            connection.send("nonsense\r\n")
            return connection.gone()
        for piece in pieces:
            connection.chunk(piece)
        if kind in ("whole", "truncated"):
            connection.end()
        elif kind == "reset":
            return connection.reset()
        else:
            connection.gone()
            return None


def script_h2(stream: Stream) -> None:
    """Serves one HTTP/2 stream in the same way."""
    kind, pieces = asked(stream.headers[":path"])
    if kind == "plain":
        stream.fields((":status", "200"), ("content-length", "5"))
        return stream.data(b"plain", last=True)
    # A body that is longer than its content-length is an error of this stream alone.
    announced = [("content-length", str(len(pieces[0]) + 1))] if kind == "malformed" else []
    stream.head("text/event-stream", "200", *announced)
    for piece in pieces:
        stream.data(piece)
    if kind in ("whole", "truncated"):
        stream.end()
    elif kind == "reset":
        stream.reset(ErrorCodes.INTERNAL_ERROR)
    else:
        stream.gone()
    if random.random() < 0.01:
        stream.connection.retire()


class Client(threading.Thread):
    """Runs one client after the other, each of its own kind."""

    def __init__(self, url: str, until_then: float, seed: int):
        super().__init__(daemon=True)
        self.url, self.until_then, self.random = url, until_then, random.Random(seed)
        self.expected: Counter[str] = Counter()
        self.problems: list[str] = []

    def run(self) -> None:
        while time.monotonic() < self.until_then:
            kind = self.random.choices(
                ["whole", "slow", "plain", "truncated", "reset", "malformed", "leaves", "garbage"],
                [8, 2, 3, 1, 1, 1, 2, 1],
            )[0]
            try:
                getattr(self, kind)(self.random.choice(PLACES))
            except Exception as error:
                self.problems.append(f"{kind}: {error!r}")

    def stream(self, place: str, kind: str) -> Raw:
        client = Raw(self.url)
        client.post(f"{place}?kind={kind}")
        assert client.status == 200, client.status
        return client

    def ends(self, place: str, kind: str, *outcomes: str) -> None:
        with self.stream(place, kind) as client:
            client.read_body()
            assert '"error"' in client.events()[-1].data, client.events()[-1]
        self.expected["/".join(outcomes)] += 1

    def whole(self, place: str, pause: float = 0) -> None:
        with self.stream(place, "whole") as client:
            while not client.ended:
                client.read_chunk()
                if pause:
                    time.sleep(pause)
            assert '"error"' not in client.body.decode()
            assert client.body.rstrip().endswith((b"[DONE]", b'"message_stop"}')), client.body[-60:]
        self.expected["finished"] += 1

    def slow(self, place: str) -> None:
        self.whole(place, pause=0.005)

    def plain(self, place: str) -> None:
        with Raw(self.url) as client:
            for _ in range(3):
                client.get(f"{place}?kind=plain")
                assert client.read_body() == b"plain"

    def truncated(self, place: str) -> None:
        self.ends(place, "truncated", "truncated")

    def reset(self, place: str) -> None:
        self.ends(place, "reset", "upstream_reset")

    def malformed(self, place: str) -> None:
        self.ends(place, "malformed", "upstream_reset", "upstream_error")

    def leaves(self, place: str) -> None:
        with self.stream(place, "leaves") as client:
            client.until_events(1)
        self.expected["client_gone"] += 1

    def garbage(self, _: str) -> None:
        with Raw(self.url) as client:
            client.say(bytes(self.random.randrange(256) for _ in range(300)) + b"\r\n\r\n")
            try:
                client.socket.shutdown(1)
                client.until_closed()
            except (Closed, OSError):
                pass


@pytest.fixture
def http2() -> Iterator[UpstreamH2]:
    server = UpstreamH2(script_h2)
    yield server
    server.close()


def test_a_soak(weir, upstream, http2, capsys):
    server = upstream(script)
    agents = {"agent": {"endpoints": [server.url]}, "http2": {"endpoints": [http2.url], "http2": True}}
    routes = [{"name": "http2", "match": {"path_prefix": HTTP2}, "upstream": "http2"}, {"name": "all", "upstream": "agent"}]
    config = config_for("", upstreams=agents, routes=routes)
    proxy = weir(config=config)
    started = time.monotonic()
    clients = [Client(proxy.url, started + SECONDS, seed) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    samples: list[tuple[float, int, int]] = []
    reloads = 0
    while any(client.is_alive() for client in clients):
        age = time.monotonic() - started
        files = len(os.listdir(f"/proc/{proxy.child.pid}/fd"))
        samples.append((age, proxy.rss(), files))
        config["drain"]["limit"] = f"{2 + reloads % 2}s"
        proxy.reload(config)
        reloads += 1
        # Forget closed connections, so that the test's own memory does not grow.
        server.connections[:] = [one for one in server.connections if not one.closed_at]
        http2.connections[:] = [one for one in http2.connections if not one.closed.is_set()]
        for connection in list(http2.connections):
            connection.forget()
        clients[0].join(min(1.0, SECONDS / 30))
    problems = [problem for client in clients for problem in client.problems]
    assert not problems, f"{len(problems)} problems, the first: {problems[:5]}"
    expected = sum((client.expected for client in clients), Counter())
    until("no stream", lambda: proxy.metrics().value("weir_streams_active") == 0)
    counted = Counter(proxy.metrics().by("weir_streams_total", "outcome"))
    for outcomes, number in expected.items():
        for outcome in outcomes.split("/"):
            took = min(number, int(counted[outcome])) if "/" in outcomes else number
            counted[outcome] -= took
            number -= took
    assert not +counted and not -counted, f"unexplained ends: {counted}, expected {expected}"
    assert proxy.metrics().value("weir_stream_panics_total") == 0
    first = [sample for sample in samples if sample[0] > SECONDS / 3] or samples
    assert samples[-1][1] - first[0][1] < GROWTH, [rss // 1024 for _, rss, _ in samples]
    until("no connection of a client", lambda: proxy.metrics().value("weir_connections_active") == 0)
    with capsys.disabled():
        ends = dict(sorted(expected.items()))
        rss = [rss / MIB for _, rss, _ in samples]
        print(
            f"\nsoak: {SECONDS:.0f} s, {sum(expected.values())} streams, {reloads} reloads, ends {ends}; "
            f"resident {rss[len(rss) // 3]:.1f} to {rss[-1]:.1f} MiB, at most {max(rss):.1f}; "
            f"descriptors {samples[len(samples) // 3][2]} to {samples[-1][2]}"
        )
