"""Measures how late events arrive next to a bad neighbour. Two processes run this module, so that neither slows the
other's clock: one runs the good agent and its clients, the other the bad agent and the bad client.

`POST /_measure?proxy=..&seconds=..` times the events of the good agent, `/_begin?proxy=..&kind=..` starts the bad
client, `/_so_far` returns how much it has done, `/_end` stops it.
"""

import asyncio
import gzip
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import chain, islice, repeat
from urllib.parse import parse_qsl

from backends import flood
from edge.frames import CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, block, frame

STREAMS = 20
HEADS = 300
# The events of a burst, which is a single write.
EVENTS = 100_000
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Figures = dict[str, float]

# The noise of the 99th percentile, in milliseconds. A thread that works for a neighbour waits for its processor while
# another process uses it, which is up to a slice of the scheduler, some 3 ms; one that mostly sleeps is preferred. It
# is far below what anyone would notice, since a model writes a token every 10 to 40 ms.
NOISE = 3


def bearable(apart: Figures, beside: Figures, noise: float = NOISE) -> bool:
    """Reports whether the delay of the events is at most twice as long, apart from noise."""
    return beside["p99"] <= max(2 * apart["p99"], apart["p99"] + noise)


def stamps(unread: bytes) -> tuple[list[float], bytes]:
    """Returns when each complete event left its agent, and the remaining bytes."""
    events = list(re.finditer(rb'"at": ([\d.]+)}\n\n', unread))
    return [float(event[1]) for event in events], unread[events[-1].end() :] if events else unread


def figures(noted: list[tuple[float, float]], start: float, end: float) -> Figures:
    """Returns statistics on the delays of events that left between `start` and `end`, whenever they arrived. `noted`
    holds the times of departure and arrival."""
    took = sorted((came - left) * 1000 for left, came in noted if start <= left < end)
    share = lambda part: round(took[int(len(took) * part)], 2)
    return {"events": len(took), "p50": share(0.5), "p99": share(0.99), "slowest": round(took[-1], 2)}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def ask(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: h\r\n\r\n".encode()


def address(proxy: str) -> tuple[str, int]:
    host, port = proxy.split(":")
    return host, int(port)


# The good agent and its clients


async def paced(writer: asyncio.StreamWriter, every: float) -> None:
    """Sends events at an interval, each with the time at which it leaves. All processes share this clock."""
    writer.write(STREAM)
    while not writer.is_closing():
        writer.write(chunk(b'data: {"at": %.6f}\n\n' % time.monotonic()))
        await asyncio.sleep(every)


class Listener(asyncio.Protocol):
    """A client that records when each event left and when it arrived."""

    def __init__(self, path: str):
        self.path = path
        self.noted: list[tuple[float, float]] = []
        self.ended = False
        self._unread = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.write(ask(self.path))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        left, self._unread = stamps(self._unread + data)
        self.noted += [(moment, now) for moment in left]

    def connection_lost(self, _: Exception | None) -> None:
        self.ended = True


async def measure(proxy: str, seconds: str) -> Figures:
    loop = asyncio.get_running_loop()
    # Each stream has its own pace, 20 to 50 ms, so that they do not fall into step.
    paths = [f"/paced?every={0.02 + 0.03 * number / STREAMS}" for number in range(STREAMS)]
    opened = [await loop.create_connection(lambda path=path: Listener(path), *address(proxy)) for path in paths]
    clients = [client for _, client in opened]

    async def have_events_since(moment: float) -> None:
        while not all(client.noted and client.noted[-1][0] >= moment for client in clients):
            assert not any(client.ended for client in clients), "a good stream was cut"
            await asyncio.sleep(0.01)

    await have_events_since(0)
    start = time.monotonic()
    await asyncio.sleep(float(seconds))
    end = time.monotonic()
    await have_events_since(end)
    for transport, _ in opened:
        transport.abort()
    return figures([one for client in clients for one in client.noted], start, end)


# The bad clients, which count what they have done


class Done:
    number = 0


POURED = Done()


@asynccontextmanager
async def connected(proxy: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address(proxy))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def half_head(proxy: str, done: Done) -> None:
    """Sends one byte of a head every second, and never its end."""
    async with connected(proxy) as (_, writer):
        writer.write(b"GET /bad HTTP/1.1\r\nhost: h\r\nx: ")
        while True:
            done.number += 1
            await asyncio.sleep(1)
            writer.write(b"x")


async def half_heads(proxy: str, done: Done) -> None:
    await asyncio.gather(*(half_head(proxy, done) for _ in range(HEADS)))


async def reads_nothing(proxy: str, done: Done) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(address(proxy))
        client.sendall(ask("/bad/flood"))
        while True:
            done.number = POURED.number
            await asyncio.sleep(0.01)


async def reads_bursts(proxy: str, done: Done) -> None:
    """Reads one burst after the other. All events of each must arrive."""
    while True:
        async with connected(proxy) as (reader, writer):
            writer.write(ask("/bad/burst"))
            body = bytearray()
            while not body.endswith(b"\r\n0\r\n\r\n"):
                size = len(body)
                body += await reader.read(1 << 20)
                assert len(body) > size, "the burst was cut"
            assert (came := body.count(b"}\n\n")) == EVENTS, came
            done.number += 1


async def reads_answers(path: str, proxy: str, done: Done) -> None:
    """Reads one whole answer after the other."""
    while True:
        async with connected(proxy) as (reader, writer):
            writer.write(ask(path))
            last = b""
            while not last.endswith(b"\r\n0\r\n\r\n"):
                more = await reader.read(1 << 20)
                assert more, "the answer was cut"
                last = last[-16:] + more
            done.number += 1


async def ignores_dust(proxy: str, done: Done) -> None:
    """Begins streams of compressed tiny events, and reads none of them."""
    while True:
        async with AsyncExitStack() as stack:
            for _ in range(5):
                _, writer = await stack.enter_async_context(connected(proxy))
                writer.write(ask("/bad/dust"))
            done.number += 1
            await asyncio.sleep(0.5)


def resets() -> Iterator[bytes]:
    get = block([(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/bad")])
    for number in range(1, 2**31, 2):
        yield frame(HEADERS, END_HEADERS | END_STREAM, number, get) + frame(RST_STREAM, 0, number, b"\0\0\0\x08")


FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "rapid resets": resets,
    "CONTINUATION": lambda: chain([frame(HEADERS, END_STREAM, 1, b"\x82")], repeat(frame(CONTINUATION, 0, 1))),
    "SETTINGS": lambda: repeat(frame(SETTINGS, 0, 0)),
    "PING": lambda: repeat(frame(PING, 0, 0, b"12345678")),
}


async def frames(proxy: str, done: Done, make: Callable[[], Iterator[bytes]]) -> None:
    """Sends frames as fast as they are taken. When Weir closes the connection, continues on a new one."""
    while True:
        with suppress(ConnectionError):
            async with connected(proxy) as (reader, writer):
                answers = asyncio.create_task(discard(reader))
                writer.write(PREFACE + frame(SETTINGS, 0, 0))
                endless = make()
                while not answers.done():
                    writer.write(b"".join(islice(endless, 500)))
                    await writer.drain()
                    done.number += 500


async def discard(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while await reader.read(65536):
            pass


LARGE_PATHS = {
    "first events": "/bad/large/unknown",
    "OpenAI chunks": "/bad/large/openai",
    "messages of Anthropic": "/bad/large/anthropic",
    "events with hidden parts": "/bad/hidden/large/langserve",
    "events that are translated": "/bad/translated/large/anthropic",
}
KINDS: dict[str, Callable[[str, Done], Awaitable[None]]] = {
    "half-open heads": half_heads,
    "a client that reads nothing": reads_nothing,
    **{kind: lambda proxy, done, make=make: frames(proxy, done, make) for kind, make in FLOODS.items()},
    "bursts": reads_bursts,
    "compressed tiny events": lambda proxy, done: reads_answers("/bad/dust", proxy, done),
    "compressed tiny events that nobody reads": ignores_dust,
    **{f"large {kind}": lambda proxy, done, path=path: reads_answers(path, proxy, done) for kind, path in LARGE_PATHS.items()},
}

# The agent and its commands

BURST = b"".join(b'data: {"n":%d}\n\n' % number for number in range(EVENTS))
# A few kilobytes that hold half a million events which may not be dropped.
DUST = gzip.compress(b"".join(b"id:%d\n\n" % (number * number % 1009 % 10) for number in range(520_000)))
# Events of 15 MiB: one that no dialect knows, so that each looks at it, and some that take long to read.
KEYS = b"".join(b',"k%d":%d' % (number, number) for number in range(920_000))
LARGE = {
    "unknown": b'data: {"first":0%s}\n\n' % KEYS,
    "openai": b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"}}]%s}\n\n' % KEYS,
    "anthropic": b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","a":0%s}}\n\n' % KEYS,
    "langserve": b'event: data\ndata: {"event":"on_chain_start","run_id":"r","data":{"input":[%s1]}}\n\n'
    % (b'{"a":[1,2]},' * 1_200_000),
}
at_work: list[tuple[asyncio.Task[None], Done]] = []


async def pour(writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM)
    tokens = chunk(flood.TOKEN.encode() * 100)
    while True:
        writer.write(tokens)
        await writer.drain()
        POURED.number += 100


async def begin(proxy: str, kind: str) -> Figures:
    done = Done()
    at_work.append((asyncio.create_task(KINDS[kind](proxy, done)), done))
    return {}


async def so_far() -> Figures:
    task, done = at_work[-1]
    if task.done():
        task.result()
    return {"done": done.number}


async def end() -> Figures:
    said = await so_far()
    task, _ = at_work.pop()
    task.cancel()
    await asyncio.wait([task])
    return said


STEPS = {"/_measure": measure, "/_begin": begin, "/_so_far": so_far, "/_end": end}


async def step(path: str, options: dict[str, str]) -> bytes:
    try:
        said = json.dumps(await STEPS[path](**options))
    except Exception as error:
        said = json.dumps({"problem": repr(error)})
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(said)}\r\n\r\n{said}".encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            path, _, query = target.partition("?")
            options = dict(parse_qsl(query))
            if path == "/paced":
                await paced(writer, float(options["every"]))
            elif path == "/bad/flood":
                await pour(writer)
            elif path == "/bad/burst":
                writer.write(STREAM + chunk(BURST) + b"0\r\n\r\n")
            elif path == "/bad/dust":
                writer.write(STREAM.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n") + chunk(DUST) + b"0\r\n\r\n")
            elif "/large/" in path:
                writer.write(STREAM + chunk(LARGE[path.rpartition("/")[2]]) + b"0\r\n\r\n")
            else:
                writer.write(await step(path, options) if path in STEPS else OK)
            await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
