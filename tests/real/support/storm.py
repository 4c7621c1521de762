"""A storm of clients that come back: thousands lose their connection at once, and return at random moments.

Shared by `test_resume_storm.py` and `benches/storm.py`.
"""

import asyncio
import random
import re
import resource
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from support.follower import request
from support.resume import GRACE, stream_path
from support.stores import journals
from support.weir import config_for

VIEWERS = 5000
# How many of them follow each stream.
EACH = 10
# The journal of a stream when the storm begins, and how many of these events a client has lost.
EVENTS, LOST = 200, 50
# Seconds between two events of a stream.
PACE = 2.0
# The clients come back within this time, each at its own moment.
JITTER = 2.0
# More connections than these would wait in the kernel.
OPENING = 100
ID = re.compile(rb"id: [0-9a-f]{32}\.([0-9]+)\n")
STREAM = re.compile(rb"\r\nweir-stream-id: ([0-9a-f]{32})\r\n", re.IGNORECASE)
TOTAL = 128 << 20


def viewers() -> int:
    """Returns how many viewers the descriptors of a process allow. Weir needs one for each, and some more."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(VIEWERS, (soft - 500) * EACH // (EACH + 1) // EACH * EACH)


def config(storm: str, good: str, store: str, **sections: Any) -> dict[str, Any]:
    """Returns a configuration with a route for the streams of the storm, and one for those of others."""
    upstreams = {"storm": {"endpoints": [storm]}, "good": {"endpoints": [good]}}
    resumed = {"resume": {"ids": "all"}, "on_disconnect": GRACE}
    routes = [
        {"name": "storm", "match": {"path_prefix": "/agent"}, "upstream": "storm", **resumed},
        {"name": "good", "upstream": "good"},
    ]
    total = journals(store, total_bytes=f"{TOTAL >> 20}MiB")
    return config_for("", upstreams=upstreams, routes=routes, resume=total, **sections)


class Figures(NamedTuple):
    """How long clients waited for the first event that they had missed, in milliseconds."""

    clients: int
    p50: float
    p99: float
    slowest: float


class Viewer(asyncio.Protocol):
    """A client that notes the stream, the number of the last event, and when the first event came."""

    def __init__(self, sends: bytes):
        self.sends = sends
        self.status = 0
        self.stream = ""
        self.first = self.last = 0
        self.came_at = 0.0
        self.lost = False
        self._tail = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.sends)

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        if not self.status:
            if b"\r\n\r\n" not in data:
                self._tail = data
                return
            self.status = int(data.split(None, 2)[1])
            found = STREAM.search(data)
            self.stream = found[1].decode() if found else ""
        for match in ID.finditer(data):
            self.last = int(match[1])
            if not self.first:
                self.first, self.came_at = self.last, time.monotonic()
        # An id may be split, but not counted twice.
        end = data.rfind(b"\n") + 1
        self._tail = data[end:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Crowd:
    """The viewers of some streams."""

    def __init__(self, address: str, number: int):
        self.address = address
        self.viewers: list[Viewer] = []
        self._number = number

    async def _connect(self, sends: bytes) -> Viewer:
        host, _, port = self.address.rpartition(":")
        loop = asyncio.get_running_loop()
        _, viewer = await loop.create_connection(lambda: Viewer(sends), host, int(port))
        return viewer

    async def _all(self, what: str, is_so: Callable[[], bool], within: float = 60.0) -> None:
        limit = time.monotonic() + within
        while not is_so():
            assert time.monotonic() < limit, (what, self.problems())
            await asyncio.sleep(0.02)

    def problems(self) -> list[tuple[int, int, bool]]:
        """Returns what some viewers have that have nothing: status, number of the last event, whether they were cut."""
        empty = [viewer for viewer in self.viewers if not viewer.first]
        return [(viewer.status, viewer.last, viewer.lost) for viewer in empty][:5]

    async def open(self) -> None:
        """Starts the streams, and attaches all viewers."""
        gate = asyncio.Semaphore(OPENING)

        async def start(run: int) -> list[Viewer]:
            async with gate:
                sends = request(self.address, "POST", f"/agent?run={run}&count={EVENTS}&each={EVENTS}&then={PACE}", b"{}")
                first = await self._connect(sends)
                while first.last < EVENTS:
                    assert not first.lost, first.status
                    await asyncio.sleep(0.01)
                back = request(self.address, "GET", f"{stream_path(first.stream)}?after={EVENTS - 1}")
                return [first, *[await self._connect(back) for _ in range(EACH - 1)]]

        groups = await asyncio.gather(*(start(run) for run in range(self._number // EACH)))
        self.viewers = [viewer for group in groups for viewer in group]
        await self._all("an event for each viewer", lambda: all(viewer.first for viewer in self.viewers))

    def cut(self) -> None:
        """Resets all connections."""
        for viewer in self.viewers:
            assert viewer.transport is not None and not viewer.lost
            viewer.transport.abort()

    async def come_back(self, jitter: float = JITTER) -> Figures:
        """Brings all viewers back within `jitter` seconds, as `EventSource` does."""
        before, self.viewers = self.viewers, []

        async def back(old: Viewer) -> tuple[float, int, Viewer]:
            await asyncio.sleep(random.random() * jitter)
            after = old.last - LOST
            last = {"last_event_id": f"{old.stream}.{after}", "accept": "text/event-stream"}
            began = time.monotonic()
            viewer = await self._connect(request(self.address, "GET", stream_path(old.stream), **last))
            self.viewers.append(viewer)
            return began, after, viewer

        came = await asyncio.gather(*(back(old) for old in before))
        await self._all("a replayed event for each", lambda: all(viewer.first for _, _, viewer in came))
        wrong = [(viewer.status, after, viewer.first) for _, after, viewer in came if viewer.first != after + 1]
        assert not wrong, wrong[:5]
        took = sorted((viewer.came_at - began) * 1000 for began, _, viewer in came)
        share = lambda part: round(took[int(len(took) * part)], 1)
        return Figures(len(took), share(0.5), share(0.99), round(took[-1], 1))

    def close(self) -> None:
        for viewer in self.viewers:
            if viewer.transport is not None:
                viewer.transport.abort()
