"""Tests the memory peaks, and that Weir continues when its memory limit is reached."""

import asyncio
import importlib.util
import json
import subprocess
import zlib
from contextlib import ExitStack

import pytest

from backends import flood, wire
from support.process import ROOT
from support.raw import Raw
from support.wait import until
from support.weir import BINARY

MIB = 1024 * 1024
LIMIT = 64 * MIB
CHAT = "/v1/chat/completions"


def test_requests_are_refused_and_stalled_clients_let_go_before_memory_runs_out(weir, upstream):
    """Clients that read nothing fill their queues until no memory is left for more clients. Later there is memory
    again."""

    def script(connection):
        while True:
            path = connection.request().line.split()[1]
            if path == "/steady":
                connection.head()
                connection.chunk(flood.tool_call(0))
                connection.gone(within=60)
            else:
                flood.pour(connection, 200 * MIB, 0)

    server = upstream(script)
    queue = {"max_bytes": "4MiB", "max_events": 65536, "merge": False}
    proxy = weir(server.url, limits={"memory": "64MiB"}, defaults={"queue": queue, "deadlines": {"client_stall": "5m"}})
    with Raw(proxy.url).post("/steady") as steady, ExitStack() as stalled:
        steady.until_events(1)
        proxy.forget_peak()
        refused = None
        while not refused:
            client = stalled.enter_context(Raw(proxy.url, receive_buffer=4096))
            client.post(CHAT)
            if client.status == 503:
                refused = client
            assert len(stalled._exit_callbacks) < 200
        assert int(refused.headers["retry-after"]) > 0
        error = json.loads(refused.read_body())["error"]
        assert error["code"] == "overloaded" and "limits.memory" in error["message"]
        ended = proxy.ended(outcome="client_stalled")
        assert ended["duration_ms"] < 60_000
        until("there is memory again", lambda: serves(proxy), within=30)
        assert proxy.rss() < LIMIT
        # A loose bound: the agents meanwhile send more than the limit several times over.
        assert proxy.peak() < LIMIT * 3
        stalled.close()
        until("the others have left", lambda: len(proxy.streams()) == 1)
        metrics = proxy.metrics()
        assert metrics.value("weir_memory_limit_bytes") == LIMIT
        assert 0 < metrics.value("weir_memory_used_bytes") < LIMIT
        assert [stream["route"] for stream in proxy.streams()] == ["all"], "the one that reads goes on"


def test_events_in_the_connections_of_stalled_clients_count_as_what_waits_for_them(weir, upstream):
    """An event that is being written is no longer in a queue, but still counts."""
    event = b"data: " + b"x" * (15 * MIB) + b"\n\n"

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(event)
        connection.gone(within=60)

    stall = {"deadlines": {"client_stall": "5m"}}
    proxy = weir(upstream(script).url, limits={"memory": "96MiB"}, defaults=stall)
    with ExitStack() as stalled:
        for _ in range(8):
            client = stalled.enter_context(Raw(proxy.url, receive_buffer=4096))
            client.send("POST", CHAT, b"{}", content_type="application/json")
        until("some were let go", lambda: ended(proxy) > 0)
        until("there is memory again", lambda: proxy.rss() < 96 * MIB * 0.95)


def ended(proxy) -> float:
    return proxy.metrics().by("weir_streams_total", "outcome").get("client_stalled", 0)


def serves(proxy) -> bool:
    with Raw(proxy.url).post("/steady") as client:
        return client.status == 200


# Peaks

GROWTH = 64 * MIB
BOMB = 256 * MIB
EVENTS = list(wire.openai(3))


def gzip_bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * MIB) for _ in range(BOMB // MIB)) + packer.flush()


def zstd_bomb() -> bytes:
    """Returns zstd blocks of one byte with a repeat count: 8 KiB (RFC 8878, 3.1.1)."""
    size = 128 * 1024
    header = (0xFD2FB528).to_bytes(4, "little") + b"\x00\x38"
    blocks = BOMB // size
    return header + b"".join(((size << 3) | 2 | (n == blocks - 1)).to_bytes(3, "little") + b" " for n in range(blocks))


def brotli_bomb() -> bytes:
    script = f"process.stdout.write(zlib.brotliCompressSync(Buffer.alloc({BOMB}, 32), {{params: {{[zlib.constants.BROTLI_PARAM_QUALITY]: 1}}}}))"
    return subprocess.run(["node", "-e", script], capture_output=True, check=True).stdout


def once(*pieces: bytes | str, coding: str = ""):
    """Returns an upstream's script: these pieces as one stream."""

    def script(connection):
        while True:
            connection.request()
            connection.head("text/event-stream", "200 OK", *([f"content-encoding: {coding}"] if coding else []))
            for piece in pieces:
                connection.chunk(piece)
            connection.end()

    return script


HEAVY = {
    "an event of 64 MiB": lambda: once(b"data: ", *[b"x" * MIB] * 64),
    "64 MiB of lines of one event": lambda: once(*[b"data: x\n" * 131072] * 64),
    "32 MiB of comments": lambda: once(EVENTS[0], *[b": ping\n\n" * 131072] * 32, *EVENTS[1:]),
    "one comment of 32 MiB": lambda: once(EVENTS[0], b": ", *[b"x" * MIB] * 32, b"\n\n", *EVENTS[1:]),
    "256 MiB of gzip": lambda: once(gzip_bomb(), coding="gzip"),
    "256 MiB of brotli": lambda: once(brotli_bomb(), coding="br"),
    "256 MiB of zstd": lambda: once(zstd_bomb(), coding="zstd"),
    "a head of 20,000 fields": lambda: fields,
}


def fields(connection):
    connection.request()
    connection.send("HTTP/1.1 200 OK\r\n" + "x: y\r\n" * 20_000 + "\r\n")


@pytest.mark.parametrize("kind", HEAVY)
def test_what_is_heavy_stays_within_64_mib(weir, upstream, kind):
    proxy = weir(upstream(HEAVY[kind]()).url)
    with Raw(proxy.url).post("/warm") as client:
        client.read_body()
    proxy.forget_peak()
    before = proxy.rss()
    with Raw(proxy.url).post(CHAT) as client:
        client.read_body()
    assert proxy.peak() - before < GROWTH


def test_a_thousand_stalled_clients_cost_their_queues(weir, upstream):
    number, bound = 1000, 64 * 1024

    def script(connection):
        while True:
            connection.request(within=60)
            flood.pour(connection, 512 * 1024, 0)

    queue = {"max_bytes": "64KiB", "max_events": 65536}
    proxy = weir(upstream(script).url, defaults={"queue": queue, "deadlines": {"client_stall": "1m"}})
    proxy.forget_peak()
    before = proxy.rss()
    with ExitStack() as stalled:
        for _ in range(number):
            client = stalled.enter_context(Raw(proxy.url, receive_buffer=4096))
            client.send("POST", CHAT, b'{"stream":true}', content_type="application/json")
        until("all of them stream", lambda: len(proxy.streams()) == number, within=30)
        waiting = lambda: sum(stream["queue_bytes"] > bound / 2 for stream in proxy.streams())
        until("something waits for each of them", lambda: waiting() == number, within=45)
        # In addition to the queue: bytes being written, bytes held while it is full, and the allocator's fragmentation.
        assert proxy.peak() - before < number * (bound + 96 * 1024)


def test_a_silent_websocket_takes_at_most_6_kib():
    spec = importlib.util.spec_from_file_location("tunnels", ROOT / "benches/tunnels.py")
    tunnels = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tunnels)
    # Memory that was freed goes back to the system within a second.
    tunnels.SETTLE = 2
    assert asyncio.run(tunnels.measure(str(BINARY), 1000)) <= 6
