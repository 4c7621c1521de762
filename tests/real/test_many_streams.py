"""Tests that 5,000 concurrent streams arrive whole, and measures their cost."""

import asyncio
import time
from urllib.request import Request, urlopen

import pytest

from support.backend import Backend
from support.process import python
from support.wait import until

STREAMS = 5000
# Measured at 25 to 35 KiB. A third of a page of slack per buffer would show.
BYTES_PER_STREAM = 64 * 1024
TOKEN = b'"content": "Rain "'


class Reader(asyncio.Protocol):
    """A client that sends one request, counts tokens, and remembers how the response ended."""

    def __init__(self, crowd: "Crowd"):
        self.crowd = crowd
        self.tokens = 0
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"content-type: application/json\r\ncontent-length: 15\r\n\r\n" + b'{"stream":true}'
        )

    def data_received(self, data: bytes) -> None:
        if not self.tokens:
            self.crowd.started += TOKEN in self.tail + data
        self.tokens += data.count(TOKEN)
        self.tail = (self.tail + data)[-60:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.crowd.ended += 1
        self.crowd.whole += b"data: [DONE]\n\n" in self.tail and exc is None


class Crowd:
    def __init__(self) -> None:
        self.started = self.ended = self.whole = 0
        self.readers: list[Reader] = []

    async def open(self, address: str, number: int) -> None:
        host, port = address.split(":")
        loop = asyncio.get_running_loop()
        gate = asyncio.Semaphore(100)

        async def one() -> None:
            async with gate:
                _, reader = await loop.create_connection(lambda: Reader(self), host, int(port))
                self.readers.append(reader)

        await asyncio.gather(*(one() for _ in range(number)))

    async def wait(self, what: str, condition) -> None:
        limit = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < limit, (what, self.started, self.ended, self.whole)
            await asyncio.sleep(0.02)


async def crowd(proxy, backend, report) -> None:
    warm = Crowd()
    await warm.open(proxy.address, 50)
    await warm.wait("the first fifty", lambda: warm.started == 50)
    before = proxy.rss()
    many = Crowd()
    started = time.monotonic()
    await many.open(proxy.address, STREAMS)
    await many.wait("a token for each", lambda: many.started == STREAMS)
    opened = time.monotonic() - started
    await many.wait("two for each", lambda: all(r.tokens >= 2 for r in many.readers))
    assert (await asyncio.to_thread(proxy.metrics)).value("weir_streams_active") == STREAMS + 50
    each = (proxy.rss() - before) / STREAMS
    report(f"\n{STREAMS} streams open in {opened:.1f} s, {each / 1024:.1f} KiB each in Weir")
    request = Request(f"{backend.url}/_finish", method="POST")
    await asyncio.to_thread(lambda: urlopen(request, timeout=10).close())
    await many.wait("every end", lambda: many.ended == STREAMS)
    assert many.whole == STREAMS
    assert each < BYTES_PER_STREAM


@pytest.mark.slow
def test_five_thousand_streams(weir, capsys):
    backend = Backend(python("-m", "backends.slow_streams"), r'"port": (\d+)')
    try:
        proxy = weir(backend.url)

        def report(line: str) -> None:
            with capsys.disabled():
                print(line)

        asyncio.run(crowd(proxy, backend, report))
        proxy.outcomes(finished=STREAMS + 50)
        assert until("no client", lambda: proxy.metrics().value("weir_connections_active") == 0)
    finally:
        backend.close()
