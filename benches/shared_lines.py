#!/usr/bin/env python3
"""Which cache lines move between threads for each event: those that would keep Weir from scaling to many cores.

    benches/shared_lines.py [--case NAME]... [WEIR]

Runs the release build with eight workers under valgrind, which writes down each access to memory, and the thread of it. A stream
of each worker gets an event, in lock step and in turns, so that each event is handled by another worker than the one before. The
accesses are given to a model of one cache for each thread, which never forgets: a line moves if a thread reads or writes what
another one has written since, or writes what another one has read. What a processor's counters call a hit in another core's
modified line (`perf c2c`) is such a move, and here none is missed.

Fails if a line moves to any worker with every fourth of its events or more often, and comes from a worker that had it for an event
of its own, or from a thread that did something for the same worker's event. Lines that move for other reasons are listed: timers
do that, about once a second, whatever the events. The requests at the beginning must move some, or else the measurement is blind.
What the kernel writes into the program's memory is not seen; it does that for the thread that asks.

NAME is a case of `benches/instructions.py` whose streams go to a client of plain HTTP/1.1, or a WebSocket that is passed on. TLS and
compression take minutes this way, and the clients of HTTP/2 and of bridges answer no pings meanwhile. A case takes some 30 s. A
build with line numbers names the functions that were inlined, too. Needs valgrind and binutils.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from instructions import CASES
from lockstep import PATIENCE, ROOT, Ends, Stream

LINE = 64
# As many as count without contention on a machine of fewer cores (`metrics/busy/places.rs`).
WORKERS = 8
# Streams that are opened, so that each worker has some.
STREAMS = 32
# Turns before anything counts, and those that count: one step of each worker.
WARM_UP, TURNS = 5, 40
# A line that moves to a worker with fewer than one in so many of its events is not moved by events.
OFTEN = 4
# Seconds without an access after which a worker waits for more.
QUIET = 0.002
# Accesses that are shown of a line that events move, and of another one.
SHOWN = 3
SHOWN_OF_OTHERS = 1
NAMES = [name for name, case in CASES.items() if case.client in ("http1", "websocket")]
DEFAULTS = ["OpenAI chat, one event a read"]
# What valgrind writes when a thread goes on.
GOES_ON = re.compile(r"SCHED\[(\d+)\]:\s+acquired lock")


@dataclass
class Line:
    """A cache line: the threads that have it as it is, and how often it had to come from another thread."""

    holders: set[int] = field(default_factory=set)
    # What is only read is nobody's.
    is_written: bool = False
    moves: int = 0
    # By worker, its events for which the line moved to it, and the last one of them.
    events: Counter[int] = field(default_factory=Counter)
    last: int = -1
    # By thread, its last access: the event, and whose it is.
    touched: dict[int, tuple[int, int]] = field(default_factory=dict)
    # Where the threads were when it moved to them.
    places: Counter[tuple[int, int, bool]] = field(default_factory=Counter)


class Caches:
    """The accesses of all threads, in the order in which they happened."""

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}
        # Whose event it is, and its number.
        self.worker = 0
        self.event = 0
        self.count = 0
        self.writers: dict[int, set[int]] = {}

    def access(self, thread: int, address: int, size: int, writes: bool, place: int) -> None:
        self.count += 1
        for number in range(address // LINE, (address + size - 1) // LINE + 1):
            line = self.lines.setdefault(number, Line())
            # A write takes the line from all others. A read fetches what another one has written.
            if line.holders - {thread} if writes else line.is_written and thread not in line.holders:
                line.moves += 1
                if thread == self.worker and line.last != self.event and self.is_from_event(line):
                    line.events[thread] += 1
                    line.last = self.event
                line.places[thread, place, writes] += 1
            if writes:
                line.holders, line.is_written = {thread}, True
                self.writers.setdefault(number, set()).add(thread)
            else:
                line.holders.add(thread)
            line.touched[thread] = self.event, self.worker

    def is_from_event(self, line: Line) -> bool:
        """Reports whether a line comes from another worker's event, or from another thread that takes part in this worker's."""
        others = [(event, worker, thread) for thread, (event, worker) in line.touched.items() if thread != self.worker]
        _, worker, thread = max(others)
        return worker in (thread, self.worker)

    def moved(self) -> list[tuple[int, Line]]:
        """Returns the lines that moved, the most mobile first."""
        moved = [(number, line) for number, line in self.lines.items() if line.moves]
        return sorted(moved, key=lambda each: -each[1].moves)


class Trace:
    """What valgrind writes, up to now."""

    def __init__(self, path: Path):
        self.file = path.open()
        # The beginning of a line that is not whole yet.
        self.rest = ""
        self.thread = 0
        self.place = "I  0,0"

    def accesses(self) -> Iterator[tuple[int, int, int, bool, int]]:
        """Yields what was added: thread, address, size, whether it writes, and the address of the instruction."""
        for part in self.file:
            line, self.rest = self.rest + part, ""
            if not line.endswith("\n"):
                self.rest = line
                break
            # An instruction, and then what it loads, stores or modifies: `I  04ad1020,3`, ` S 1ffeffe7a8,8`.
            if line[0] == "I":
                self.place = line
            elif line[0] == " ":
                address, size = line[3:].split(",")
                yield self.thread, int(address, 16), int(size), line[1] != "L", int(self.place[3:].split(",")[0], 16)
            elif found := GOES_ON.search(line):
                self.thread = int(found[1])

    def skip(self) -> None:
        """Leaves out what was written until now, and the rest of its last line. Whoever goes on says so."""
        self.file.seek(0, os.SEEK_END)
        self.rest = "left out: "
        for _ in self.until_quiet():
            pass

    def until_quiet(self) -> Iterator[tuple[int, int, int, bool, int]]:
        """Yields accesses until there are no more for a while."""
        deadline = time.monotonic() + PATIENCE
        seen = True
        while seen and time.monotonic() < deadline:
            seen = False
            for access in self.accesses():
                seen = True
                yield access
            time.sleep(QUIET)


class Names:
    """Names of addresses, from the process's mappings and the program's symbols."""

    def __init__(self, process: int, program: str):
        self.program = program
        self.maps = []
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            parts = line.split()
            start, end = (int(each, 16) for each in parts[0].split("-"))
            self.maps.append((start, end, int(parts[2], 16), parts[5] if len(parts) > 5 else "memory of the process"))
        output = subprocess.run(["readelf", "-lW", program], capture_output=True, text=True, check=True).stdout
        # Segments: their offset in the file, their address in the program, their size.
        self.segments = [
            tuple(int(each, 16) for each in found)
            for found in re.findall(r"LOAD +(0x\w+) (0x\w+) 0x\w+ (0x\w+)", output)
        ]

        self.known: dict[int, str] = {}

    def learn(self, addresses: set[int]) -> None:
        """Looks addresses up, all at once: the symbols of a program are large."""
        in_program = {}
        for address in addresses:
            start, _, offset, name = next((each for each in self.maps if each[0] <= address < each[1]), (0, 0, 0, "nowhere"))
            at = address - start + offset
            segments = [each for each in self.segments if each[0] <= at < each[0] + each[2]] if name == self.program else []
            if segments:
                in_program[address] = at - segments[0][0] + segments[0][1]
            else:
                self.known[address] = Path(name).name
        command = ["addr2line", "-afCsip", "-e", self.program, *map(hex, in_program.values())]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout if in_program else ""
        for address, text in zip(in_program, re.split(r"^0x\w+: ", output, flags=re.MULTILINE)[1:]):
            # Functions that were inlined come first; those of the standard library say little.
            frames = [re.sub(r"^\(inlined by\) | at \S+:[\d?]+.*$", "", each.strip()) for each in text.splitlines()]
            own = [each for each in frames if not re.match("<?(core|alloc|std)::", each)]
            self.known[address] = " < ".join((own or frames[-1:])[:2]).replace("??", "data of the program")

    def of(self, address: int) -> str:
        """Returns the function at an address, or else what is mapped there."""
        return self.known[address]


def described(number: int, line: Line, names: Names, shown: int) -> str:
    """Returns a part of the report."""
    most = max(line.events.values(), default=0)
    text = f"  line {number * LINE:#x} ({names.of(number * LINE)}): {line.moves} moves, for at most {most} of {TURNS} events of a worker"
    for (thread, place, writes), times in line.places.most_common(shown):
        text += f"\n    {times} x thread {thread} {'writes' if writes else 'reads'} in {names.of(place)}"
    return text


def by_worker(stream: Stream, opened: list[Ends], trace: Trace) -> dict[int, Ends]:
    """Returns a stream of each worker: the thread with most accesses in its steps, unless a timer came between."""
    found: dict[int, Ends] = {}
    for ends in opened:
        busiest = set()
        for _ in range(2):
            stream.step(ends)
            counts = Counter(thread for thread, *_ in trace.until_quiet())
            busiest.add(counts.most_common(1)[0][0])
        if len(busiest) == 1:
            found.setdefault(busiest.pop(), ends)
    return found


def measured(weir: str, name: str) -> list[str]:
    """Prints what moves in one case, and returns what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "trace"
        tool = ["valgrind", "--tool=lackey", "--basic-counts=no", "--trace-mem=yes", "--trace-sched=yes"]
        stream = Stream(weir, [*tool, f"--log-file={log}"], CASES[name], WORKERS)
        try:
            trace = Trace(log)
            trace.skip()
            requests = Caches()
            opened = [stream.opened() for _ in range(STREAMS)]
            for access in trace.until_quiet():
                requests.access(*access)
            workers = by_worker(stream, opened, trace)
            if len(workers) < 2:
                return [f"{name}: all streams have one worker"]
            caches = Caches()
            for turn in range(WARM_UP + TURNS):
                if turn == WARM_UP:
                    caches = Caches()
                for caches.worker, ends in workers.items():
                    caches.event += 1
                    stream.step(ends)
                    for access in trace.until_quiet():
                        caches.access(*access)
            names = Names(stream.weir.pid, weir)
        finally:
            stream.weir.kill()
            stream.weir.wait()
    return report(name, caches, names, len(workers), sum(line.moves for _, line in requests.moved()))


def report(name: str, caches: Caches, names: Names, workers: int, requests: int) -> list[str]:
    """Prints what moved, and returns what is wrong with it."""
    events = workers * TURNS
    moved = caches.moved()
    often = [each for each in moved if any(count * OFTEN >= TURNS for count in each[1].events.values())]
    others = [each for each in moved if each not in often]
    names.learn(
        {number * LINE for number, _ in moved}
        | {place for _, line in moved for (_, place, _), _ in line.places.most_common(SHOWN)}
    )
    shared = sum(len(threads) > 1 for threads in caches.writers.values())
    print(
        f"{name}: {events} events of {workers} workers, {caches.count / events:,.0f} accesses each, to {len(caches.lines):,} "
        f"lines; {len(caches.writers):,} were written, {shared} of them by more than one thread"
    )
    print(f"lines that move with events: {len(often)}")
    for each in often:
        print(described(*each, names, SHOWN))
    print(f"lines that move for other reasons: {len(others)}")
    for each in others:
        print(described(*each, names, SHOWN_OF_OTHERS))
    print(f"for comparison, {STREAMS} requests: {requests} moves")
    wrong = []
    if often:
        wrong.append(f"{name}: {len(often)} lines move between threads with events")
    if not requests:
        wrong.append(f"{name}: no line moves with requests either, so nothing was measured")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", metavar="NAME", choices=NAMES, help="; ".join(NAMES))
    parser.add_argument("weir", nargs="?", default=str(ROOT / "target/release/weir"), help="the program")
    options = parser.parse_args()
    # Valgrind and its trace must not outlive this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    wrong = []
    for name in options.case or DEFAULTS:
        wrong += measured(str(Path(options.weir).resolve()), name)
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
