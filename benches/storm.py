#!/usr/bin/env python3
"""How soon thousands of clients get their streams back that have lost them at the same moment, for docs/sizing.md.

    .cache/real/bin/python benches/storm.py [WEIR]

Starts the release build on 127.0.0.1, with an agent in another process and the clients in this one. They lose their
connections all at once, and come back at random moments within some time. All of that three times, for each of several
such times, in less than 90 s. The machine is shared with the clients, which take more of it than Weir: the figures are an
upper bound. `tests/run real` installs what this script needs.
"""

import asyncio
import contextlib
import io
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ["WEIR_BIN"] = str(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/weir").resolve())
sys.path.insert(0, str(ROOT / "tests/real"))

from support import storm  # noqa: E402
from support.known import Known  # noqa: E402
from support.weir import Weir  # noqa: E402

ROUNDS = 3
# Seconds within which the clients come back.
JITTERS = (1.0, 2.0, 5.0)


@contextlib.contextmanager
def running() -> Iterator[Weir]:
    agent = Known()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "weir.yaml")
        file.write_text(json.dumps(storm.config(agent.url, agent.url, "memory")))
        proxy = Weir("--config", str(file))
        try:
            yield proxy
        finally:
            with contextlib.redirect_stdout(io.StringIO()):
                proxy.close()
            agent.close()


def processor(proxy: Weir) -> float:
    """Returns the seconds of processor time that the process has used."""
    fields = Path(f"/proc/{proxy.child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(proxy: Weir) -> None:
    number = storm.viewers()
    crowd = storm.Crowd(proxy.address, number)
    await crowd.open()
    before = proxy.rss()
    print(f"{number} viewers of {number // storm.EACH} streams, {storm.LOST} events lost by each")
    print("| back within | p50 | p99 | slowest | processor time each | memory each, at the peak |")
    print("|--:|--:|--:|--:|--:|--:|")
    for jitter in JITTERS:
        rows = []
        for _ in range(ROUNDS):
            proxy.forget_peak()
            used = processor(proxy)
            crowd.cut()
            back = await crowd.come_back(jitter)
            each = (processor(proxy) - used) / number * 1000
            rows.append((back.p50, back.p99, back.slowest, each, (proxy.peak() - before) / number / 1024))
        # The best and the worst of the rounds.
        cells = [(min(column), max(column)) for column in zip(*rows)]
        units = ("ms", "ms", "ms", "ms", "KiB")
        digits = (0, 0, 0, 2, 1)
        told = [f"{low:.{places}f} to {high:.{places}f} {unit}" for (low, high), places, unit in zip(cells, digits, units)]
        print(f"| {jitter:g} s | {' | '.join(told)} |", flush=True)
    crowd.close()


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.chdir(ROOT / "tests/real")
    with running() as proxy:
        asyncio.run(measure(proxy))


if __name__ == "__main__":
    main()
