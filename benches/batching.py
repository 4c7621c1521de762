#!/usr/bin/env python3
"""What `batch` and `pace` save clients, and what they cost in delay, as tables for docs/performance.md.

    benches/batching.py [--write] [WEIR]

Runs the release build with an agent and clients in this process, so all times are of one clock. Each token is the
number of its piece in four digits, which leads to the time at which the agent wrote it. Streams with and without a
policy run at the same time, so that whatever else the machine does delays both. Takes about ten seconds, and fails
after 25. `--write` puts the tables into docs/performance.md.
"""

import asyncio
import contextlib
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOC = ROOT / "docs/performance.md"
BEGIN, END = "<!-- batching:begin -->", "<!-- batching:end -->"
BATCH = {"max_delay": "50ms", "max_chars": 20}
PACE = {"max_delay": "300ms"}
# Tokens a second of even streams, and how many seconds each stream lasts.
RATES, SECONDS = (20, 50, 200), 4
# Tokens of a burst, and the seconds from one to the next.
BURST, EVERY = 10, 0.2
# The longest that everything may take, and the longest that the program may take to start or to stop.
LIMIT, PATIENCE = 25, 3
# Streams start a little apart, so that no two of them write at the same time.
APART = 0.0013
DIGITS = 4
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
)


class Failed(Exception):
    """The measurement is not valid."""


class Stream:
    """One stream: how its agent writes, and what was measured."""

    def __init__(self, route: str, burst: int, every: float):
        self.route, self.burst, self.every = route, burst, every
        # When the agent wrote each piece, and when the client read each event, with the number of its pieces.
        self.written: list[float] = []
        self.read: list[tuple[float, int]] = []

    def delays(self) -> list[float]:
        """Returns how long each piece took from the agent to the client, in ms."""
        arrived = [at for at, pieces in self.read for _ in range(pieces)]
        return [(at - written) * 1000 for at, written in zip(arrived, self.written, strict=True)]

    def longest_gap(self) -> float:
        """Returns the longest time between two events at the client, in ms."""
        times = [at for at, _ in self.read]
        return max(after - before for before, after in zip(times, times[1:])) * 1000


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1766000000, "model": "m"}
    return b"data: %s\n\n" % json.dumps({**base, "choices": [choice]}).encode()


class Agent:
    """A mock agent. `?stream=N` asks for stream N."""

    def __init__(self, streams: list[Stream]):
        self.streams = streams

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that fails is reported where it runs.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            asked = re.search(rb"[?&]stream=(\d+)", head)
            if asked:
                await self.play(self.streams[int(asked[1])], writer)
        writer.close()

    async def play(self, stream: Stream, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(event({"role": "assistant", "content": ""})))
        began, number = time.perf_counter(), 0
        for burst in range(round(SECONDS / stream.every)):
            await asyncio.sleep(began + (burst + 1) * stream.every - time.perf_counter())
            data = b""
            for _ in range(stream.burst):
                data += chunk(event({"content": f"{number:0{DIGITS}}"}))
                number += 1
            stream.written += [time.perf_counter()] * stream.burst
            writer.write(data)
            await writer.drain()
        writer.write(chunk(event({}, "stop")) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()


async def read(address: str, number: int, stream: Stream) -> None:
    """Reads one stream as a client, and notes when each event with text arrived."""
    await asyncio.sleep(number * APART)
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"stream":true}'
    writer.write(
        f"POST /{stream.route}/v1/chat/completions?stream={number} HTTP/1.1\r\nhost: x\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise Failed(f"weir answered {head.decode(errors='replace')}")
    said, unread = "", b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        unread += (await reader.readexactly(size + 2))[:-2]
        now = time.perf_counter()
        *blocks, unread = unread.split(b"\n\n")
        for block in blocks:
            if text := text_of(block):
                said += text
                stream.read.append((now, len(text) // DIGITS))
    writer.close()
    if said != "".join(f"{piece:0{DIGITS}}" for piece in range(len(stream.written))):
        raise Failed(f"/{stream.route}: the client did not get what the agent wrote")


def text_of(block: bytes) -> str:
    """Returns the text of an event; nothing if it has none."""
    data = b"".join(line[5:] for line in block.split(b"\n") if line.startswith(b"data:")).strip()
    if not data or data == b"[DONE]":
        return ""
    return "".join(choice["delta"].get("content") or "" for choice in json.loads(data)["choices"])


@contextlib.contextmanager
def running(weir: str, upstream: str) -> Iterator[Path]:
    """Runs Weir, and stops it in the end. Gives the file that it logs to."""
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder) / "weir.yaml", Path(folder) / "log"
        policies = {"plain": {}, "batch": {"batch": BATCH}, "pace": {"pace": PACE}}
        # JSON is valid YAML.
        config = {
            "listen": "127.0.0.1:0",
            "admin": {"listen": "off"},
            "drain": {"delay": "0s", "limit": "1s"},
            "upstreams": {"agent": {"endpoints": [upstream]}},
            "defaults": {"dialect": "openai_chat"},
            "routes": [
                {"name": name, "upstream": "agent", "match": {"path_prefix": f"/{name}"}, **policy}
                for name, policy in policies.items()
            ],
        }
        file.write_text(json.dumps(config))
        with log.open("wb") as out:
            serve = [weir, "serve", "--config", str(file)]
            process = subprocess.Popen(serve, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=out)
        try:
            yield log
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def listening(log: Path) -> str:
    """Waits until Weir listens, and returns where."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        # The last line may be incomplete.
        for line in log.read_text(errors="replace").split("\n")[:-1]:
            if '"listening"' in line:
                return json.loads(line)["address"]
        await asyncio.sleep(0.01)
    raise Failed("weir did not start:\n" + log.read_text(errors="replace"))


async def measured(weir: str) -> str:
    """Runs all streams, and returns the tables."""
    even = [[Stream(route, 1, 1 / rate) for route in ("plain", "batch")] for rate in RATES]
    bursts = [Stream(route, BURST, EVERY) for route in ("plain", "pace")]
    streams = [stream for pair in even for stream in pair] + bursts
    server = await asyncio.start_server(Agent(streams).serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with running(weir, f"http://127.0.0.1:{port}") as log:
        async with asyncio.timeout(LIMIT):
            address = await listening(log)
            for phase in (streams[: -len(bursts)], bursts):
                await asyncio.gather(*(read(address, streams.index(one), one) for one in phase))
    server.close()
    return f"{batched(even)}\n\n{paced(bursts)}"


def batched(pairs: list[list[Stream]]) -> str:
    lines = [
        f"`batch: {shown(BATCH)}`, tokens that come one by one, for {SECONDS} s:\n",
        "| tokens a second | events at the client | with `batch` | renders saved | p50 added ms | p99 added ms |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for rate, (without, batch) in zip(RATES, pairs, strict=True):
        events = len(without.read), len(batch.read)
        added = [quantile(batch.delays(), share) - quantile(without.delays(), share) for share in (0.5, 0.99)]
        saved = 100 * (1 - events[1] / events[0])
        lines.append(f"| {rate} | {events[0]} | {events[1]} | {saved:.0f} % | {added[0]:.1f} | {added[1]:.1f} |")
    return "\n".join(lines)


def paced(pair: list[Stream]) -> str:
    lines = [
        f"`pace: {shown(PACE)}`, bursts of {BURST} tokens every {EVERY * 1000:.0f} ms, for {SECONDS} s:\n",
        "| | longest gap between two events ms | p50 delay ms | p99 delay ms |",
        "|---|--:|--:|--:|",
    ]
    for name, stream in zip(("without", "with `pace`"), pair, strict=True):
        delays = stream.delays()
        p50, p99 = quantile(delays, 0.5), quantile(delays, 0.99)
        lines.append(f"| {name} | {stream.longest_gap():.1f} | {p50:.1f} | {p99:.1f} |")
    return "\n".join(lines)


def shown(policy: dict[str, object]) -> str:
    """Returns a policy as YAML writes it in one line."""
    return "{ " + ", ".join(f"{key}: {value}" for key, value in policy.items()) + " }"


def write(tables: str) -> None:
    """Puts the tables between the two marks of the document."""
    before, begin, rest = DOC.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{DOC} lacks {BEGIN} or {END}")
    DOC.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}")


def main() -> None:
    options = sys.argv[1:]
    paths = [one for one in options if one != "--write"]
    if len(paths) > 1 or any(one.startswith("-") for one in paths):
        raise SystemExit("benches/batching.py [--write] [WEIR]")
    weir = paths[0] if paths else str(ROOT / "target/release/weir")
    try:
        tables = asyncio.run(measured(weir))
    except TimeoutError:
        raise SystemExit(f"not done within {LIMIT} s") from None
    except (Failed, OSError, asyncio.IncompleteReadError) as error:
        raise SystemExit(str(error)) from None
    print(tables)
    if "--write" in options:
        write(tables)


if __name__ == "__main__":
    main()
