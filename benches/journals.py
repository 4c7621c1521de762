#!/usr/bin/env python3
"""What an event costs in a journal, in memory and in Redis, as tables for docs/sizing.md.

    .cache/real/bin/python benches/journals.py [WEIR]

Starts the release build and a Redis on 127.0.0.1, with an agent and clients in this process. In memory, it is
`weir_journal_bytes`; in Redis, what MEMORY USAGE says of the keys of the streams, and how much the server has grown.
Agents write event by event, or several at once as a fast model does: less than a minute in all. `tests/run real`
installs what this script needs.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
os.environ["WEIR_BIN"] = str(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/weir").resolve())
sys.path.insert(0, str(ROOT / "tests/real"))

from backends.scripted import Connection, Upstream  # noqa: E402
from support.fleet import ready  # noqa: E402
from support.raw import Raw  # noqa: E402
from support.redis import Redis  # noqa: E402
from support.wait import until  # noqa: E402
from support.weir import Weir, config_for  # noqa: E402

STREAMS = 16
EVENTS = 1000
# The bytes of an event. A token of a chat has about 200.
SIZES = (60, 200, 1000)
# How many events a write has, and the seconds between two writes: enough that Weir reads each by itself.
BATCHES = (1, 4, 16)
PACE = 0.003
LIMITS = {"max_events": 1_000_000, "max_bytes": "64MiB"}


class Agent:
    """A script for `upstream`: `events` events of `size` bytes, `batch` of them in one write."""

    def __init__(self, size: int, events: int, batch: int):
        empty = self._event("")
        assert len(empty) <= size, f"an event has {len(empty)} bytes at least"
        self._all = [self._event("x" * (size - len(empty)))] * events
        self._batch = batch

    @staticmethod
    def _event(text: str) -> str:
        # No name: that would be most of a short event.
        return f'data: {{"type":"token","content":"{text}"}}\n\n'

    def __call__(self, connection: Connection) -> None:
        # Weir uses a connection again, and the script ends when it closes it.
        while True:
            connection.request()
            connection.head()
            for at in range(0, len(self._all), self._batch):
                connection.chunk("".join(self._all[at : at + self._batch]))
                connection._closed.wait(PACE)
            connection.end()


class Measured(NamedTuple):
    """What one stream takes."""

    # The bytes of its events.
    events: float
    # The bytes of what else is known of it.
    other: float
    # The entries of its Redis stream.
    entries: float


def streams(agent: Agent, resume: dict, measure: Callable[[Weir, list[str]], Measured]) -> Measured:
    """Runs some streams to their ends, and returns what `measure` says of them."""
    server = Upstream(agent)
    defaults = {"resume": LIMITS, "dialect": "convention", "queue": {"overflow": "block"}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "weir.json")
        file.write_text(json.dumps(config_for(server.url, defaults=defaults, resume=resume)))
        proxy = Weir("--config", str(file))
        try:
            ready(proxy)
            with ThreadPoolExecutor(STREAMS) as pool:
                return measure(proxy, list(pool.map(lambda _: run(proxy), range(STREAMS))))
        finally:
            # Closing prints the log.
            with contextlib.redirect_stdout(io.StringIO()):
                proxy.close()
            server.close()


def run(proxy: Weir) -> str:
    with Raw(proxy.url).post("/agent") as client:
        client.read_body()
        return client.headers["weir-stream-id"]


def in_memory(agent: Agent) -> Measured:
    def measure(proxy: Weir, ids: list[str]) -> Measured:
        until("they are over", lambda: proxy.metrics().value("weir_journal_streams", state="ended") == len(ids))
        return Measured(proxy.metrics().value("weir_journal_bytes") / len(ids), 0, 0)

    return streams(agent, {"store": "memory", "total_bytes": "4GiB"}, measure)


def in_redis(agent: Agent, server: Redis) -> Measured:
    def measure(_: Weir, ids: list[str]) -> Measured:
        with server.connect() as redis:

            def is_over(key: str) -> bool:
                last = redis.ask("XREVRANGE", key, "+", "-", "COUNT", 1)
                return bool(last) and last[0][0].endswith(b"-1")

            def sizes(kind: str) -> float:
                taken = [redis.ask("MEMORY", "USAGE", f"weir:{{{one}}}:{kind}", "SAMPLES", 0) for one in ids]
                return sum(taken) / len(ids)

            keys = [f"weir:{{{one}}}:s" for one in ids]
            until("they are stored", lambda: all(map(is_over, keys)))
            entries = sum(redis.ask("XLEN", key) for key in keys) / len(keys)
            return Measured(sizes("s"), sizes("m"), entries)

    return streams(agent, {"store": "redis", "redis": server.reached()}, measure)


def grown(server: Redis) -> int:
    """Returns how many bytes the server has."""
    said = server.ask("INFO", "memory").decode()
    return int(next(line for line in said.splitlines() if line.startswith("used_memory:")).partition(":")[2])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Redis(Path(folder, "redis"))
        try:
            tables(server)
        finally:
            with contextlib.redirect_stdout(io.StringIO()):
                server.close()


def tables(server: Redis) -> None:
    print("| event, bytes | events in a write | in memory, bytes an event | in Redis, bytes an event | entries of 1000 events |")
    print("|--:|--:|--:|--:|--:|")
    for size in SIZES:
        for batch in BATCHES:
            agent = Agent(size, EVENTS, batch)
            memory, redis = in_memory(agent), in_redis(agent, server)
            shares = f"{memory.events / EVENTS:.0f} | {redis.events / EVENTS:.0f}"
            print(f"| {size} | {batch} | {shares} | {redis.entries:.0f} |", flush=True)
            server.ask("FLUSHALL")
    before = grown(server)
    memory, redis = in_memory(Agent(200, 1, 1)), in_redis(Agent(200, 1, 1), server)
    whole = (grown(server) - before) / STREAMS
    print("\n| a stream of one event of 200 bytes | bytes |\n|---|--:|")
    print(f"| in memory | {memory.events:.0f} |")
    print(f"| in Redis, its events | {redis.events:.0f} |")
    print(f"| in Redis, what else is known of it | {redis.other:.0f} |")
    print(f"| in Redis, growth of the server with all names | {whole:.0f} |")
    print(f"\n{STREAMS} streams each.")


if __name__ == "__main__":
    main()
