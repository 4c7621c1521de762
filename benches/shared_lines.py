#!/usr/bin/env python3
"""Which cache lines move between threads for each event: those that would keep Weir from scaling to many cores.

    benches/shared_lines.py [--case NAME]... [WEIR]

Runs the release build with two workers under valgrind, which writes down each access to memory, and the thread of it. Streams of
both workers get events in lock step and in turns, so that each event is handled by the other worker than the one before. The
accesses are given to a model of two caches that never forget: a line moves if a thread reads or writes what another one has
written since, or writes what another one has read. What a processor's counters call a hit in another core's modified line
(`perf c2c`) is such a move, and here none is missed.

Fails if events move any line, for every tenth event or more often. Lines that move for other reasons are listed: what timers
do is seen in the same time without events. The requests at the beginning must move some, or else the measurement is blind.
What the kernel writes into the program's memory is not seen; it does that for the thread that asks.

NAME is a case of `benches/instructions.py`, except those that are requests. A case takes some 30 s. A build with line numbers
names the functions that were inlined, too.
"""

import argparse
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from instructions import CASES
from lockstep import ROOT, Ends, Stream

LINE = 64
# Streams that are opened, so that both workers have some.
STREAMS = 12
# Steps of each stream before anything counts, and the turns that count: one step of each worker.
WARM_UP, TURNS = 30, 250
# A line that moves once in so many events is not moved by events.
RARE = 10
# Accesses that are shown of each line.
SHOWN = 3
DEFAULTS = ["OpenAI chat, one event a read"]
# As valgrind writes them: a thread takes the lock, an instruction, an access.
TOKEN = re.compile(r"SCHED\[(\d+)\]:\s+acquired lock|^I +([0-9a-f]+),|^ ([LSM]) +([0-9a-f]+),(\d+)")


@dataclass
class Line:
    """A cache line: the threads that have it as it is, and how often it had to come from another thread."""

    holders: set[int] = field(default_factory=set)
    # What is only read is nobody's.
    is_written: bool = False
    moves: int = 0
    # Moves in the time without events.
    idle: int = 0
    # Where the program was, by thread, when it came.
    places: Counter[tuple[int, int, bool]] = field(default_factory=Counter)


class Caches:
    """The accesses of all threads, in the order in which they happened."""

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}
        self.is_idle = False

    def access(self, thread: int, address: int, size: int, writes: bool, place: int) -> None:
        for number in range(address // LINE, (address + size - 1) // LINE + 1):
            line = self.lines.setdefault(number, Line())
            # A write takes the line from all others. A read fetches what another one has written.
            if line.holders - {thread} if writes else line.is_written and thread not in line.holders:
                if self.is_idle:
                    line.idle += 1
                else:
                    line.moves += 1
                    line.places[thread, place, writes] += 1
            if writes:
                line.holders, line.is_written = {thread}, True
            else:
                line.holders.add(thread)

    def moved(self) -> list[tuple[int, Line]]:
        """Returns the lines that moved, the most mobile first."""
        moved = [(number, line) for number, line in self.lines.items() if line.moves]
        return sorted(moved, key=lambda each: -each[1].moves)


class Trace:
    """What valgrind writes, up to now."""

    def __init__(self, path: Path):
        self.file = path.open()
        self.thread = 0
        self.place = 0

    def accesses(self) -> Iterator[tuple[int, int, int, bool, int]]:
        """Yields what was added: thread, address, size, whether it writes, and the address of the instruction."""
        thread, place = self.thread, self.place
        match = TOKEN.search
        for line in self.file:
            found = match(line)
            if not found:
                continue
            if found[2]:
                place = int(found[2], 16)
            elif found[3]:
                yield thread, int(found[4], 16), int(found[5]), found[3] != "L", place
            else:
                thread = int(found[1])
        self.thread, self.place = thread, place

    def skip(self) -> None:
        for _ in self.accesses():
            pass


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


def described(number: int, line: Line, names: Names, events: int, workers: dict[int, str]) -> str:
    """Returns a line of the report."""
    text = f"  line {number * LINE:#x} ({names.of(number * LINE)}): {line.moves} moves with {events} events, {line.idle} without"
    for (thread, place, writes), times in line.places.most_common(SHOWN):
        who = workers.get(thread, f"thread {thread}")
        text += f"\n    {times} x {who} {'writes' if writes else 'reads'} in {names.of(place)}"
    return text


def workers_of(stream: Stream, open_streams: list[Ends], trace: Trace) -> dict[int, list[Ends]]:
    """Finds the thread that works for each stream: the one with most accesses in its steps."""
    found: dict[int, list[Ends]] = {}
    for ends in open_streams:
        trace.skip()
        for _ in range(3):
            stream.step(ends)
        counts = Counter(thread for thread, *_ in trace.accesses())
        found.setdefault(counts.most_common(1)[0][0], []).append(ends)
    return found


def quiet(trace: Trace) -> None:
    """Waits until Weir has nothing to do that events have left."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if sum(1 for _ in trace.accesses()) < 20_000:
            return


def measured(weir: str, name: str) -> list[str]:
    """Prints what one case moves, and returns what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "trace"
        tool = ["valgrind", "--tool=lackey", "--basic-counts=no", "--trace-mem=yes", "--trace-sched=yes"]
        stream = Stream(weir, [*tool, f"--log-file={log}"], CASES[name], workers=2)
        try:
            trace = Trace(log)
            names = Names(stream.weir.pid, weir)
            caches = Caches()
            trace.skip()
            open_streams = [stream.opened() for _ in range(STREAMS)]
            for access in trace.accesses():
                caches.access(*access)
            requests = sum(line.moves for _, line in caches.moved())
            workers = workers_of(stream, open_streams, trace)
            if len(workers) < 2:
                return [f"{name}: all streams have one worker: try again"]
            pairs = [streams[0] for streams in list(workers.values())[:2]]
            for _ in range(WARM_UP):
                for ends in pairs:
                    stream.step(ends)
            quiet(trace)
            caches = Caches()
            begun = time.monotonic()
            for _ in range(TURNS):
                for ends in pairs:
                    stream.step(ends)
            took = time.monotonic() - begun
            count = 0
            writers: dict[int, set[int]] = {}
            for access in trace.accesses():
                caches.access(*access)
                count += 1
                if access[3]:
                    writers.setdefault(access[1] // LINE, set()).add(access[0])
            caches.is_idle = True
            time.sleep(took)
            for access in trace.accesses():
                caches.access(*access)
            # Names are asked of the living process.
            shown = dict(zip(workers, ("worker A", "worker B")))
            return report(name, caches, writers, names, count, took, requests, shown)
        finally:
            stream.weir.kill()
            stream.weir.wait()


def report(
    name: str,
    caches: Caches,
    writers: dict[int, set[int]],
    names: Names,
    count: int,
    took: float,
    requests: int,
    workers: dict[int, str],
) -> list[str]:
    """Prints what moved, and returns what is wrong with it."""
    events = 2 * TURNS
    moved = caches.moved()
    names.learn(
        {number * LINE for number, _ in moved}
        | {place for _, line in moved for (_, place, _), _ in line.places.most_common(SHOWN)}
    )
    often = [each for each in moved if (each[1].moves - each[1].idle) * RARE >= events]
    rare = [each for each in moved if each not in often]
    shared = sum(len(threads) > 1 for threads in writers.values())
    print(
        f"{name}: {events} events in {took:.1f} s, {count / events:,.0f} accesses each, to {len(caches.lines):,} lines; "
        f"{len(writers):,} were written, {shared} of them by more than one thread"
    )
    print(f"lines that move with events: {len(often)}")
    for each in often:
        print(described(*each, names, events, workers))
    print(f"lines that move for other reasons, or less often: {len(rare)}")
    for each in rare:
        print(described(*each, names, events, workers))
    print(f"for comparison, {STREAMS} requests: {requests} moves")
    wrong = []
    if often:
        wrong.append(f"{name}: {len(often)} lines move between threads with events")
    if not requests:
        wrong.append(f"{name}: no line moves with requests either, so nothing was measured")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", metavar="NAME", choices=list(CASES), help="a case of benches/instructions.py")
    parser.add_argument("weir", nargs="?", default=str(ROOT / "target/release/weir"), help="the program")
    options = parser.parse_args()
    wrong = []
    for name in options.case or DEFAULTS:
        wrong += measured(str(Path(options.weir).resolve()), name)
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
