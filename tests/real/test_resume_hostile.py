"""Tests that hostile clients of resume are refused, bounded, and learn nothing."""

import asyncio
import random
import socket
import statistics
import time
from contextlib import ExitStack

import pytest

from support import sse
from support.follower import Follower, number, request
from support.known import Known
from support.raw import Raw
from support.resume import GRACE, rest, stream_path
from support.stores import STORES, journals
from support.wait import until

pytestmark = [pytest.mark.alone, pytest.mark.drill]

MIB = 1 << 20
UNKNOWN = "0123456789abcdef0123456789abcdef"
EVENTS = "text/event-stream"


@pytest.fixture(params=STORES)
def store(request) -> str:
    return request.param


@pytest.fixture
def agent():
    one = Known()
    yield one
    one.close()


@pytest.fixture
def proxied(weir, agent, store):
    """`proxied(**resume)` starts Weir."""

    def start(total_bytes: str = "64MiB", queue=None, **resume):
        defaults = {"resume": {"ids": "all", **resume}, "on_disconnect": GRACE, "queue": queue or {}}
        return weir(agent.url, defaults=defaults, resume=journals(store, total_bytes=total_bytes))

    return start


def waiting(proxy, run: int = 1) -> Raw:
    """Starts a run of ten events, of which five have come."""
    client = Raw(proxy.url).post(f"/agent?run={run}&count=10&each=1&hold=5")
    client.until_events(5)
    return client


LONG = "9" * 4000
# What follows `/.weir/streams/`, with the live stream as `ID`.
PATHS = {
    "": 400,
    "/": 400,
    "ID/": 400,
    "ID//": 400,
    "ID/..": 400,
    "./ID": 400,
    "../streams/ID": 400,
    "ID%00": 400,
    "%49D": 400,
    "ID;a=b": 400,
    "ID.3": 400,
    "ID0": 400,
    "-" + "0" * 31: 400,
    "+" + "0" * 31: 400,
    " " * 3: 400,
    "0" * 31: 400,
    "g" * 32: 400,
    "0" * 8000: 400,
    "0" * 32: 404,
    UNKNOWN: 404,
    # The same number, as others may write it.
    "UPPER": 200,
    "ID?": 200,
    "ID?after=0": 200,
    "ID?after=%35": 200,
    "ID?before=x&&=&after=5&%": 200,
    "ID?after=": 400,
    "ID?after": 400,
    "ID?after=%": 400,
    "ID?after=%ff": 400,
    "ID?after=+5": 400,
    "ID?after=-1": 400,
    "ID?after=5.0": 400,
    "ID?after=0x5": 400,
    "ID?after=5&after=5": 400,
    "ID?after=5;6": 400,
    "ID?after=6": 400,
    "ID?after=18446744073709551615": 400,
    "ID?after=18446744073709551616": 400,
    f"ID?after={LONG}": 400,
    "ID?after=%D9%A5": 400,
}
# Values of `Last-Event-ID` at the stream's own path, with the live stream as `ID`.
IDS = {
    b"": 200,
    b"ID.0": 200,
    b"ID.5": 200,
    b"ID.05": 200,
    b"ID.6": 400,
    b"ID.": 400,
    b"ID.-1": 400,
    b"ID.+1": 400,
    b"ID.5.5": 400,
    b"ID.5 6": 400,
    b"ID.0x5": 400,
    b"ID.18446744073709551615": 400,
    b"ID.18446744073709551616": 400,
    b"ID." + LONG.encode(): 400,
    b"ID.\xff": 400,
    b"\xff\xfe": 400,
    UNKNOWN.encode() + b".1": 404,
    # An id of an agent that no event has.
    b"x" * 1024: 410,
    b"x" * 1025: 400,
    b"ID": 410,
    b".1": 410,
    b"7": 410,
    "\u00e9".encode(): 410,
}


def test_hostile_ids_and_positions_are_refused_and_never_forwarded(proxied, agent):
    proxy = proxied()
    with waiting(proxy) as first:
        stream = first.headers["weir-stream-id"]
        problems = []

        def ask(what: object, path: str, status: int, head: bytes = b"") -> None:
            with Raw(proxy.url) as client:
                client.say(f"GET {path} HTTP/1.1\r\nhost: a\r\n".encode("latin-1") + head + b"\r\n").read_head()
                if client.status != status:
                    problems.append((what, client.status, status))

        for path, status in PATHS.items():
            written = path.replace("ID", stream).replace("UPPER", stream.upper()).replace(" ", "%20")
            ask(path[:60], f"/.weir/streams/{written}", status)
        for value, status in IDS.items():
            line = b"last-event-id: " + value.replace(b"ID", stream.encode()) + b"\r\n"
            ask(value[:60], stream_path(stream), status, line)
        twice = f"last-event-id: {stream}.1\r\n".encode() * 2
        ask("twice", stream_path(stream), 400, twice)
        ask("twice, at the route", "/agent", 400, twice)
        ask("damaged, at the route", "/agent", 400, f"last-event-id: {stream}.x\r\n".encode())
        assert not problems, problems
        for method in ("HEAD", "POST", "PUT", "PATCH", "OPTIONS"):
            with Raw(proxy.url).send(method, stream_path(stream)) as client:
                assert client.read_head().status == 405, method
        assert agent.runs()["started"] == 1
        agent.go()
        assert sse.events(first.read_body())[-1].name == "done"
    assert proxy.metrics().value("weir_stream_panics_total") == 0


FOR = 4.0
PIPELINED = 64


async def reads_again(address: str, stream: str, after: int, until_at: float) -> int:
    """Asks for the last event of a stream that is over, again and again, on one connection. Returns how often."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    asks = request(address, "GET", f"{stream_path(stream)}?after={after}") * PIPELINED
    done = 0
    while time.monotonic() < until_at:
        writer.write(asks)
        tail, ends = b"", 0
        while ends < PIPELINED:
            data = await reader.read(262144)
            assert data, f"closed after {done + ends}"
            tail += data
            ends += tail.count(b"\r\n0\r\n\r\n")
            tail = tail[tail.rfind(b"\r\n0\r\n\r\n") + 7 :] if b"\r\n0\r\n\r\n" in tail else tail
        done += ends
    writer.transport.abort()
    return done


async def comes_and_goes(address: str, stream: str, until_at: float) -> int:
    """Attaches to a stream that runs, and resets the connection. Returns how often."""
    host, _, port = address.rpartition(":")
    asks = request(address, "GET", stream_path(stream))
    done = 0
    while time.monotonic() < until_at:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(asks)
        if random.random() < 0.9:
            await reader.read(1)
        writer.transport.abort()
        done += 1
    return done


@pytest.mark.slow
def test_thousands_attach_and_leave_every_second(proxied, agent, capsys):
    proxy = proxied(max_viewers=1024)
    with Raw(proxy.url).post("/agent?run=2&count=4") as short:
        short.read_body()
    over = short.headers["weir-stream-id"]
    with waiting(proxy) as first:
        stream = first.headers["weir-stream-id"]
        until("one viewer", lambda: proxy.metrics().value("weir_viewers") == 1)
        before = proxy.rss()

        async def attack() -> tuple[int, int]:
            end = time.monotonic() + FOR
            reading = [reads_again(proxy.address, over, 3, end) for _ in range(4)]
            going = [comes_and_goes(proxy.address, stream, end) for _ in range(8)]
            done = await asyncio.gather(*reading, *going)
            return sum(done[:4]), sum(done[4:])

        read, went = asyncio.run(attack())
        with capsys.disabled():
            print(f"\n{read / FOR:.0f} attach to what is over, and {went / FOR:.0f} to what runs, in each second")
        assert read > 1000 * FOR and went > 100 * FOR
        until("all others have left", lambda: proxy.metrics().value("weir_viewers") == 1)
        assert proxy.rss() - before < 24 * MIB
        with rest(proxy.url, stream, accept="application/json") as state:
            assert b'"viewers":1' in state.read_body()
        with rest(proxy.url, stream) as again:
            assert [number(one, stream) for one in blocks(again, 5)] == [1, 2, 3, 4, 5]
        agent.go()
        assert sse.events(first.read_body())[-1].name == "done"
    assert agent.runs() == {"started": 2, "finished": 2}


def blocks(client: Raw, least: int) -> list[bytes]:
    client.until_events(least)
    return [block + b"\n\n" for block in bytes(client.body).split(b"\n\n") if block and not block.startswith(b":")]


@pytest.mark.slow
def test_viewers_that_never_read(proxied, agent):
    """As many as there may be, on one stream. They cost their queues, and neither the agent nor the one who reads waits."""
    count, pad, most = 12_000, 1000, 16
    queue = {"max_bytes": "256KiB"}
    proxy = proxied(queue=queue, max_viewers=most, max_bytes="8MiB")
    path = f"/agent?run=1&count={count}&pad={pad}&each=40&every=0.01&hold=5"
    before = proxy.rss()

    async def read() -> list[bytes]:
        client = await Follower.ask(proxy.address, "POST", path, b"{}")
        events: list[bytes] = []
        await client.read_events(events, 5)
        stream = client.headers["weir-stream-id"]
        with ExitStack() as silent:
            for _ in range(most - 1):
                one = Raw(proxy.url, receive_buffer=4096)
                silent.enter_context(one).send("GET", stream_path(stream)).read_head()
                assert one.status == 200
            with rest(proxy.url, stream) as late:
                late.read_body()
                assert late.status == 503 and late.headers["retry-after"]
            with rest(proxy.url, stream, accept=EVENTS) as late:
                assert late.status == 200 and late.read_body() == b"retry: 3000\n\n"
            proxy.forget_peak()
            agent.go()
            async with asyncio.timeout(60):
                await client.read(events)
            assert agent.runs()["finished"] == 1, "the agent was held back"
        client.cut()
        return events

    events = asyncio.run(read())
    assert b"event: done" in events[-1] and b"client_stalled" not in events[-1]
    # All queues, one event of each connection, the journal, and what the allocator keeps.
    assert proxy.peak() - before < most * (MIB // 2) + 8 * MIB + 24 * MIB, f"{(proxy.peak() - before) / MIB:.1f} MiB"
    until("all have left", lambda: proxy.metrics().value("weir_viewers") == 0)


@pytest.mark.slow
def test_journals_that_fill_stay_within_their_bound(weir, agent, store):
    """Far more than `total_bytes` is written into the journals of streams that go on without a reader."""
    streams, total = 60, 32 * MIB
    defaults = {"resume": {"max_bytes": "4MiB", "max_events": 100_000}, "on_disconnect": "continue"}
    proxy = weir(agent.url, defaults=defaults, resume=journals(store, total_bytes="32MiB"))
    proxy.forget_peak()
    before = proxy.rss()
    for run in range(streams):
        with Raw(proxy.url) as client:
            client.post(f"/agent?run={run}&count=5000&pad=1000&each=100&every=0.05")
    most = 0.0

    def over() -> bool:
        nonlocal most
        metrics = proxy.metrics()
        most = max(most, metrics.value("weir_journal_bytes"))
        return agent.runs()["finished"] == streams

    until("all runs are over", over, within=90)
    assert proxy.metrics().by("weir_journal_evicted_total", "reason").get("total_limit", 0) > 0
    assert most < total * 5 / 4, f"{most / MIB:.1f} MiB"
    assert proxy.peak() - before < total * 5 / 4 + 32 * MIB, f"{(proxy.peak() - before) / MIB:.1f} MiB"


@pytest.mark.slow
def test_many_small_journals_stay_within_their_bound(weir, agent, store, capsys):
    """What is kept of a stream besides its events counts as well: a client can end thousands of streams a second."""
    streams, total = 10_000, MIB
    defaults = {"resume": {"keep": "10m"}, "on_disconnect": GRACE}
    proxy = weir(agent.url, defaults=defaults, resume=journals(store, total_bytes="1MiB"))

    async def many() -> None:
        async def some(first: int) -> None:
            host, _, port = proxy.address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            for run in range(first, streams, 8):
                writer.write(request(proxy.address, "POST", f"/agent?run={run}&count=2", b"{}"))
                await reader.readuntil(b"\r\n0\r\n\r\n")
            writer.transport.abort()

        await asyncio.gather(*(some(first) for first in range(8)))

    with Raw(proxy.url).post("/agent?run=0&count=2") as warm:
        warm.read_body()
    before = proxy.rss()
    asyncio.run(many())
    until("all are over", lambda: proxy.metrics().value("weir_streams_active") == 0)
    growth = proxy.rss() - before
    with capsys.disabled():
        print(f"\n{streams} small streams are over: {growth / MIB:.1f} MiB, {growth / streams / 1024:.2f} KiB each")
    assert growth < total + 16 * MIB


SAMPLES = 4000


def times(proxy, targets: list[str]) -> dict[str, list[float]]:
    """Returns how long 404s took, in microseconds, by target. All are asked in turn on one connection, in random order."""
    took: dict[str, list[float]] = {target: [] for target in targets}
    order = targets * (SAMPLES // 10)
    connection = socket.create_connection(("127.0.0.1", int(proxy.address.rpartition(":")[2])))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    asks = {target: request("a", "GET", stream_path(target), authorization="Bearer two") for target in targets}
    size = 0
    with connection:
        for _ in range(10):
            random.shuffle(order)
            for target in order:
                began = time.perf_counter()
                connection.sendall(asks[target])
                answer = connection.recv(4096)
                while b"\r\n\r\n{" not in answer or not answer.endswith(b"}"):
                    answer += connection.recv(4096)
                took[target].append((time.perf_counter() - began) * 1e6)
                size = size or len(answer)
                assert answer.startswith(b"HTTP/1.1 404 ") and len(answer) == size, answer
    return took


def test_a_foreign_stream_and_an_unknown_one_take_the_same_time(proxied, agent):
    """How much two kinds of unknown ids differ says how exact the measurement is on this machine."""
    proxy = proxied()
    client = Raw(proxy.url).post("/agent?run=1&count=10&each=1&hold=5", authorization="Bearer one")
    with client:
        client.until_events(5)
        foreign = client.headers["weir-stream-id"]
        tried = []
        for _ in range(5):
            one, other = (f"{random.getrandbits(128):032x}" for _ in range(2))
            took = times(proxy, [foreign, one, other])
            figures = {target: (statistics.median(all_), sorted(all_)[len(all_) * 9 // 10]) for target, all_ in took.items()}
            is_same = []
            for place, least in ((0, 0.7), (1, 2.0)):
                noise = abs(figures[one][place] - figures[other][place])
                unknown = (figures[one][place] + figures[other][place]) / 2
                is_same.append(abs(figures[foreign][place] - unknown) <= max(least, 3 * noise))
            tried.append([tuple(round(value, 2) for value in figure) for figure in figures.values()])
            if all(is_same):
                print(tried)
                return
        pytest.fail(f"median and 90th percentile in µs of a foreign stream and of two unknown ones: {tried}")


def test_what_a_hostile_client_sends_is_not_in_the_log(proxied, agent):
    """Neither an id that was guessed, nor a position, nor a credential."""
    proxy = proxied()
    secret = "5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5e"
    for headers in ({}, {"last_event_id": f"{secret}.1"}, {"authorization": f"Bearer {secret}"}):
        with rest(proxy.url, secret, **headers) as client:
            client.read_body()
            assert client.status == 404
    with Raw(proxy.url).get("/agent?run=1", last_event_id=f"{secret}.1", authorization=f"Bearer {secret}") as client:
        client.read_body()
        assert client.status == 404
    assert secret not in "\n".join(proxy.child.lines)
    assert agent.runs()["started"] == 0
