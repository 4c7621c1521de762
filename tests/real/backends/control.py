"""Lets a test control a backend, by query parameters and a side channel.

A stream is named by `?run=NAME`. Its behaviour: `count=N` words, `hold=K` waits before event K until it is opened,
`step=1` waits before every event, `cut=K` fails before event K, `endless=1` never ends.
The side channel: `POST /_open?run=NAME&n=1` gives permits, `GET /_seen` returns the state of each run.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping


class Cut(Exception):
    """The failure that a test asked for."""


class Run:
    """One stream: its parameters, its progress, and how it ended."""

    def __init__(self, path: str, query: Mapping[str, str]):
        self.path = path
        self.name = query.get("run", "")
        self.count = None if query.get("endless") else int(query.get("count", "6"))
        self.hold = int(query["hold"]) if "hold" in query else None
        self.cut = int(query["cut"]) if "cut" in query else None
        self.step = "step" in query
        self.sent = 0
        self.state = "streaming"
        self.at = time.monotonic()

    def becomes(self, state: str) -> None:
        self.state, self.at = state, time.monotonic()

    def waits_before(self, index: int) -> bool:
        return self.step or index == self.hold

    def told(self) -> dict[str, object]:
        return {key: getattr(self, key) for key in ("path", "name", "sent", "state", "at")}


class Runs:
    """All runs of one backend process, and their permits."""

    def __init__(self) -> None:
        self.all: list[Run] = []
        self.permits: dict[str, int] = {}

    def begin(self, path: str, query: Mapping[str, str]) -> Run:
        run = Run(path, query)
        self.all.append(run)
        return run

    def open(self, name: str, number: int) -> None:
        self.permits[name] = self.permits.get(name, 0) + number

    def _may_go(self, run: Run) -> bool:
        left = self.permits.get(run.name, 0)
        if left:
            self.permits[run.name] = left - 1
        return left > 0

    def _before(self, run: Run, index: int) -> None:
        if run.cut == index:
            raise Cut
        if run.waits_before(index):
            run.becomes("waiting")

    async def play(self, run: Run, events: Iterator[str]) -> AsyncIterator[str]:
        """Yields the events of an asyncio backend."""
        try:
            for index, event in enumerate(events):
                self._before(run, index)
                while run.state == "waiting" and not self._may_go(run):
                    await asyncio.sleep(0.002)
                run.becomes("streaming")
                yield event
                run.sent += 1
                # A real agent awaits its model here.
                await asyncio.sleep(0.01 if run.count is None else 0)
            run.becomes("finished")
        except Cut:
            run.becomes("cut")
            raise
        except (asyncio.CancelledError, GeneratorExit):
            run.becomes("cancelled")
            raise

    async def play_async(self, run: Run, events: AsyncIterator[str]) -> AsyncIterator[str]:
        """Yields the events of an asyncio backend that itself waits for them."""
        try:
            index = 0
            async for event in events:
                self._before(run, index)
                while run.state == "waiting" and not self._may_go(run):
                    await asyncio.sleep(0.002)
                run.becomes("streaming")
                yield event
                run.sent += 1
                index += 1
            run.becomes("finished")
        except Cut:
            run.becomes("cut")
            raise
        except (asyncio.CancelledError, GeneratorExit):
            run.becomes("cancelled")
            raise

    def play_sync(self, run: Run, events: Iterator[str]) -> Iterator[str]:
        """Yields the events of a threaded backend."""
        try:
            for index, event in enumerate(events):
                self._before(run, index)
                while run.state == "waiting" and not self._may_go(run):
                    time.sleep(0.002)
                run.becomes("streaming")
                yield event
                run.sent += 1
                if run.count is None:
                    time.sleep(0.01)
            run.becomes("finished")
        except Cut:
            run.becomes("cut")
            raise
        except GeneratorExit:
            run.becomes("cancelled")
            raise

    def seen(self) -> list[dict[str, object]]:
        return [run.told() for run in self.all]


def words(count: int | None) -> Iterator[str]:
    """Yields the answer in pieces that are deliberately awkward."""
    pieces = ["Rain ", "in ", "Bergen: ", "\u00fcber ", "7\u202f\u00b0C ", "\U0001f327 ", '"quoted" ', "a\nb\\ "]
    source: Iterator[str] = itertools.cycle(pieces)
    return itertools.islice(source, count)


Dialect = Callable[[int | None], Iterator[str]]
