"""A client of event streams for crowds: many on one event loop, and each event with its exact bytes."""

import asyncio
import re
import socket

# Weir writes the id as the last line of an event.
_ID = re.compile(rb"^id: ([0-9a-f]{32})\.([1-9][0-9]*)\n\n", re.MULTILINE)


def request(host: str, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Returns the bytes of a request."""
    fields = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body or method == "POST":
        fields |= {"content-type": "application/json", "content-length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def number(block: bytes, stream: str) -> int:
    """Returns the number of an event in the stream. Fails if its id has another form."""
    found = _ID.search(block)
    assert found and found[1].decode() == stream, block
    return int(found[2])


def without_id(block: bytes) -> bytes:
    return _ID.sub(b"\n", block, count=1)


class Blocks:
    """Splits the body of an event stream into its events."""

    def __init__(self) -> None:
        self._rest = b""
        # Heartbeats, drop notices and the preamble.
        self.comments: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the events that are complete with `data`, each with the empty line behind it."""
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        events = []
        for block in whole:
            while block.startswith(b":"):
                comment, _, block = block.partition(b"\n")
                self.comments.append(comment)
            if block:
                events.append(block + b"\n\n")
        return events


class Follower:
    """One connection with one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes):
        self._reader, self._writer = reader, writer
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        fields = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in fields}
        self.blocks = Blocks()
        self.ended = False

    @classmethod
    async def ask(
        cls,
        address: str,
        method: str,
        path: str,
        body: bytes = b"",
        receive_buffer: int | None = None,
        **headers: str,
    ) -> "Follower":
        """Sends a request to `host:port`, and reads the head of the response. With a `receive_buffer`, little of the body
        is read before it is asked for."""
        host, _, port = address.rpartition(":")
        connection = socket.socket()
        connection.setblocking(False)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
        except BaseException:
            connection.close()
            raise
        reader, writer = await asyncio.open_connection(sock=connection, limit=receive_buffer or 65536)
        try:
            writer.write(request(address, method, path, body, **headers))
            head = await reader.readuntil(b"\r\n\r\n")
        except BaseException:
            writer.transport.abort()
            raise
        return cls(reader, writer, head[:-4])

    async def piece(self) -> bytes:
        """Returns the next part of the body, or nothing at its end. Raises if the body breaks off."""
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            self.ended = True
            return await self._reader.readexactly(int(self.headers.get("content-length", "0")))
        size = int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        data = await self._reader.readexactly(size + 2)
        self.ended = size == 0
        return data[:-2]

    async def read(self, events: list[bytes], at_most: int | None = None) -> bool:
        """Appends the events of the body to `events`. Returns whether the body has ended: otherwise `at_most` bytes of it
        were read."""
        left = at_most
        while not self.ended:
            if left is not None and left <= 0:
                return False
            data = await self.piece()
            events += self.blocks.feed(data if left is None else data[:left])
            if left is not None:
                left -= len(data)
        return True

    async def read_events(self, events: list[bytes], least: int) -> None:
        """Appends events until there are at least so many, or the body ends."""
        while len(events) < least and not self.ended:
            events += self.blocks.feed(await self.piece())

    def cut(self) -> None:
        """Resets the connection."""
        self._writer.transport.abort()


async def whole(address: str, path: str, **headers: str) -> list[bytes]:
    """Returns all events of a response."""
    client = await Follower.ask(address, "GET", path, **headers)
    events: list[bytes] = []
    try:
        assert client.status == 200, (client.status, await client.piece())
        await client.read(events)
    finally:
        client.cut()
    return events
