#!/usr/bin/env python3
"""Whose the memory of a quiet stream is: the bytes that Weir has asked its allocator for, by the function that asked.

    cargo build --release --no-default-features --target-dir target/system
    benches/heap.py [--case NAME] [--streams N] [--write] [WEIR]

Opens streams of a case of `benches/instructions.py` under valgrind, each with one event, and asks valgrind twice, some streams
apart, for all blocks that the process can reach (`vgdb leak_check`). The difference is what the streams hold. Their two
connections are included, what the kernel and the allocator add is not. Valgrind sees the blocks of the C library's allocator
alone, so the program must be built without jemalloc, as above. A build for debugging has larger futures.

The row of a block is the innermost function that belongs to Weir or to a library, apart from those of the language. `--write`
puts the table into docs/performance.md. Takes some 20 s; needs valgrind.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from instructions import CASES
from lockstep import PATIENCE, ROOT, Stream
from profile import user_part, write

# Streams before the first look: what is allocated once, for the first of them, does not count.
FIRST = 10
# A row of its own for so many bytes of each stream.
LEAST = 48
NAMES = [name for name, case in CASES.items() if case.client in ("http1", "gzip", "tls", "h2", "h2-tls", "websocket")]
# Parts that only hand blocks on.
CARRIERS = ("allocator", "standard library", "libc", "memory: copying, comparing, clearing")


def looked(process: int) -> Counter:
    """Returns the bytes of all blocks, by the part and the function that asked for them."""
    ask = ["vgdb", f"--pid={process}", "leak_check", "full", "reachable", "any", "unlimited"]
    text = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    found: Counter = Counter()
    for record in re.split(r"^==\d+== *$", text, flags=re.MULTILINE):
        size = re.search(r"==\d+== ([\d,]+) (?:\([^)]*\) )?bytes in [\d,]+ blocks? (?:is|are) ", record)
        if size:
            frames = re.findall(r"(?:at|by) 0x[0-9A-F]+: (.*) \((?:in )?([^()]*)\)$", record, re.MULTILINE)
            found[asked(frames)] += int(size[1].replace(",", ""))
    if not found:
        raise SystemExit("valgrind told of no blocks")
    return found


def asked(frames: list[tuple[str, str]]) -> tuple[str, str]:
    """Returns the part and the function of a block, from the innermost call to the outermost."""
    for name, place in frames:
        part = user_part(name, place)
        if "::" in name and part not in CARRIERS:
            return part, name
    return "others", "others"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", default="OpenAI chat, client over TLS", choices=NAMES, metavar="NAME", help="; ".join(NAMES))
    parser.add_argument("--streams", type=int, default=40, help="streams between the two looks")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("weir", nargs="?", default=str(ROOT / "target/system/release/weir"), help="a build without jemalloc")
    options = parser.parse_args()
    weir = str(Path(options.weir).resolve())
    if not Path(weir).is_file():
        raise SystemExit(f"there is no program {weir}: cargo build --release --no-default-features --target-dir target/system")
    if not shutil.which("vgdb"):
        raise SystemExit("there is no valgrind: install Debian's package valgrind")
    if b"_rjem_malloc" in Path(weir).read_bytes():
        raise SystemExit(f"{weir} is built with jemalloc, whose blocks valgrind does not see: --no-default-features")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        stream = Stream(weir, ["valgrind", "--leak-check=no", "--num-callers=60", f"--log-file={log}"], CASES[options.case])
        try:
            looks = []
            held = []
            for count in (FIRST, options.streams):
                opened = [stream.opened() for _ in range(count)]
                for ends in opened:
                    stream.step(ends)
                held += opened
                looks.append(looked(stream.weir.pid))
        finally:
            stream.weir.kill()
            stream.weir.wait()
    each = Counter({key: (looks[1][key] - looks[0][key]) / options.streams for key in looks[1]})
    parts: Counter = Counter()
    for (part, _), size in each.items():
        parts[part] += size
    lines = ["| part, and what asked for a block | bytes of a stream |", "|---|--:|"]
    for part, size in parts.most_common():
        if size < LEAST:
            continue
        lines.append(f"| **{part}** | **{size:,.0f}** |")
        lines += [f"| `{name}` | {bytes_:,.0f} |" for (of, name), bytes_ in each.most_common() if of == part and bytes_ >= LEAST]
    lines.append(f"| **together** | **{sum(parts.values()):,.0f}** |")
    heading, table = f"Memory: {options.case}", "\n".join(lines)
    text = f'`benches/heap.py --case "{options.case}" --streams {options.streams}`\n\n{table}'
    print(f"{heading}\n\n{text}")
    if options.write:
        write(heading, text)


if __name__ == "__main__":
    main()
