"""Tests that clients which come back by themselves see no error while replicas are replaced.

Three replicas behind a TCP balancer are replaced one by one, as a Deployment does it: a new one becomes ready, an old one
drains. Meanwhile 100 runs begin and end. The clients do what `EventSource` does, and nothing else.

With journals in memory, a run can be followed at its own replica only. So a rollout waits for runs, and what outlives
`drain.limit` is told so.
"""

import asyncio
import random
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle

import pytest

from backends import known
from support.follower import Follower, number, without_id
from support.known import Known
from support.resume import GRACE
from support.stores import STORES, journals
from support.wait import until
from support.weir import Weir

pytestmark = [pytest.mark.alone, pytest.mark.drill, pytest.mark.slow]

REPLICAS, STREAMS, COUNT = 3, 100, 120
EVENTS = "text/event-stream"
# What `EventSource` waits before it comes back, in seconds, unless the stream says something else.
RETRY = 0.3


@pytest.fixture(params=STORES)
def store(request) -> str:
    return request.param


@pytest.fixture
def agent():
    one = Known()
    yield one
    one.close()


class Balancer:
    """A TCP balancer: each connection goes to the next replica that is ready, and stays there."""

    def __init__(self) -> None:
        self.replicas: list[Weir] = []
        self._ready: list[Weir] = []
        self._turns = cycle(range(1 << 30))
        self._over = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._serve, self._look)]
        for thread in self._threads:
            thread.start()

    def is_ready(self, replica: Weir) -> bool:
        return replica in self._ready

    def _look(self) -> None:
        """Asks all replicas whether they are ready, as often as a kubelet that is in a hurry."""
        while not self._over.wait(0.05):
            self._ready = [one for one in list(self.replicas) if self._answers(one)]

    @staticmethod
    def _answers(replica: Weir) -> bool:
        try:
            return replica.ask("/readyz")[0] == 200
        except OSError:
            return False

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        # Connections that break off are what the test is about.
        self._loop.set_exception_handler(lambda *_: None)
        self._loop.run_until_complete(asyncio.start_server(self._join, sock=self._listener))
        self._loop.run_forever()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ready = self._ready
        if not ready:
            writer.transport.abort()
            return
        host, _, port = ready[next(self._turns) % len(ready)].address.rpartition(":")
        try:
            back, onward = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self._pass(reader, onward), self._pass(back, writer))

    @staticmethod
    async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()
        except OSError:
            sink.transport.abort()

    def close(self) -> None:
        self._over.set()
        self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()


@pytest.fixture
def balancer():
    one = Balancer()
    yield one
    one.close()


class Source:
    """What `EventSource` does (HTML, 9.2), and the application: it is over at `done` or at an error of the agent."""

    def __init__(self, address: str, run: int):
        self.run = run
        self.events: list[bytes] = []
        # An error event, which the application shows.
        self.error = b""
        # Why the library has given up.
        self.failed = ""
        self.connections = 0
        self._address = address
        self._last = ""

    @property
    def is_over(self) -> bool:
        last = self.events[-1] if self.events else b""
        return b"event: done\n" in last or bool(self.error) or bool(self.failed)

    async def follow(self, every: float) -> None:
        path = f"/agent?run={self.run}&count={COUNT}&each=2&every={every}"
        while not self.is_over:
            if self.connections:
                await asyncio.sleep(RETRY)
            self.connections += 1
            assert self.connections < 100
            headers = {"accept": EVENTS, "cache_control": "no-cache"}
            if self._last:
                headers["last_event_id"] = self._last
            try:
                client = await Follower.ask(self._address, "GET", path, **headers)
            except (OSError, asyncio.IncompleteReadError):
                # A network error: it comes back.
                continue
            try:
                await self._take(client)
            finally:
                client.cut()

    async def _take(self, client: Follower) -> None:
        kind = client.headers.get("content-type", "")
        if client.status != 200 or not kind.startswith(EVENTS):
            self.failed = f"{client.status} {kind}"
            return
        with suppress(OSError, asyncio.IncompleteReadError):
            while not (client.ended or self.is_over):
                for event in client.blocks.feed(await client.piece()):
                    self._dispatch(event, client.headers["weir-stream-id"])

    def _dispatch(self, event: bytes, stream: str) -> None:
        if b"event: error\n" in event:
            self.error = event
        elif b"data:" in event:
            self.events.append(event)
            self._last = f"{stream}.{number(event, stream)}"


def replaced(start: Callable[[], Weir], balancer: Balancer) -> list[float]:
    """Replaces all replicas, one by one. Returns how long each of them took to drain."""
    took = []
    for old in list(balancer.replicas):
        fresh = start()
        balancer.replicas.append(fresh)
        until("the new replica is ready", lambda: balancer.is_ready(fresh))
        began = time.monotonic()
        old.terminate()
        until("the old one gets no more", lambda: not balancer.is_ready(old))
        assert old.stopped(within=40) == 0
        balancer.replicas.remove(old)
        took.append(round(time.monotonic() - began, 1))
    return took


def rolled(weir, agent, balancer, store: str, limit: str, every: float, over: float) -> tuple[list[Source], list[float]]:
    """Starts runs over some seconds, and replaces all replicas meanwhile."""

    def start() -> Weir:
        return weir(
            agent.url,
            defaults={"resume": {}, "on_disconnect": GRACE},
            drain={"delay": "500ms", "limit": limit},
            resume=journals(store),
        )

    balancer.replicas += [start() for _ in range(REPLICAS)]
    until("all are ready", lambda: all(map(balancer.is_ready, balancer.replicas)))
    sources = [Source(balancer.address, run) for run in range(STREAMS)]

    async def run(source: Source) -> None:
        await asyncio.sleep(random.random() * over)
        await source.follow(every)

    async def run_all() -> None:
        async with asyncio.timeout(90):
            await asyncio.gather(*map(run, sources))

    with ThreadPoolExecutor(1) as pool:
        rollout = pool.submit(replaced, start, balancer)
        asyncio.run(run_all())
        return sources, rollout.result(90)


def ended(source: Source) -> str:
    """Returns how the run has ended for its client. Fails if anything is missing or wrong before that."""
    sent = known.events(source.run, COUNT)
    assert [without_id(event) for event in source.events] == sent[: len(source.events)], source.run
    if source.failed:
        return source.failed
    if source.error:
        return "drained" if b'"code":"drained"' in source.error else source.error.decode()
    return "whole" if len(source.events) == len(sent) else f"{len(source.events)} events"


@pytest.mark.timeout(180)
def test_a_rollout_that_waits_for_its_runs_is_not_noticed(weir, agent, balancer, store, capsys):
    """Runs take some 3 s, and `drain.limit` is longer."""
    sources, took = rolled(weir, agent, balancer, store, limit="30s", every=0.05, over=8.0)
    ends = [ended(source) for source in sources]
    assert set(ends) == {"whole"}, [end for end in ends if end != "whole"]
    assert agent.runs() == {"started": STREAMS, "finished": STREAMS}, "no run was lost, and none began twice"
    came = sum(source.connections for source in sources)
    with capsys.disabled():
        print(f"\n{STREAMS} runs in a rollout of {REPLICAS}: {came} connections, drained in {took} s")
    # The last replicas drain when most runs are over.
    assert max(took) < 15


@pytest.mark.timeout(180)
def test_runs_that_outlive_the_drain_are_told_so(weir, agent, balancer, store):
    """Runs take some 12 s, and `drain.limit` is 1 s."""
    sources, took = rolled(weir, agent, balancer, store, limit="1s", every=0.2, over=3.0)
    ends = [ended(source) for source in sources]
    assert set(ends) <= {"whole", "drained"}, set(ends)
    assert ends.count("drained") > REPLICAS
    assert max(took) < 6
    started = agent.runs()
    assert started["started"] == STREAMS, "nobody was given a second run"
    # Those who were told have the run up to that moment, and know that it is not whole.
    assert all(source.events for source, end in zip(sources, ends) if end == "drained")
