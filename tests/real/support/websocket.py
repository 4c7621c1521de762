"""WebSocket connections of which a test writes and reads every byte (RFC 6455), for both ends."""

import base64
import hashlib
import json
import socket
import ssl
import struct
import time
from contextlib import suppress
from typing import Any, NamedTuple

from support.raw import Closed, connect
from support.wait import PATIENCE

# The key of the example in RFC 6455, 1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
# Any mask will do, as long as it changes every byte.
MASK = b"\x5a\xa5\x3c\xc3"


def accept_for(key: str) -> str:
    """Returns the `Sec-WebSocket-Accept` that answers `key`."""
    magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1((key + magic).encode()).digest()).decode()


def request(*fields: str, path: str = "/echo", host: str = "h.test", line: str = "") -> bytes:
    """Returns an upgrade request with further `fields`, or with the first `line` replaced."""
    usual = ["connection: Upgrade", "upgrade: websocket", f"sec-websocket-key: {KEY}", "sec-websocket-version: 13"]
    return "\r\n".join([line or f"GET {path} HTTP/1.1", f"host: {host}", *usual, *fields, "", ""]).encode()


def masked(payload: bytes, mask: bytes) -> bytes:
    """Masks or unmasks `payload`."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def frame(opcode: int, payload: bytes = b"", mask: bytes | None = None, final: bool = True, reserved: int = 0) -> bytes:
    """Returns the bytes of one frame."""
    size = len(payload)
    first, second = opcode | reserved << 4 | (0x80 if final else 0), 0x80 if mask else 0
    if size < 126:
        head = bytes([first, second | size])
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, second | 126, size)
    else:
        head = struct.pack(">BBQ", first, second | 127, size)
    return head + (mask + masked(payload, mask) if mask else payload)


def closing(code: int, reason: str = "") -> bytes:
    """Returns the payload of a close frame."""
    return struct.pack(">H", code) + reason.encode()


class Frame(NamedTuple):
    """One frame as it arrived, unmasked."""

    opcode: int
    payload: bytes
    final: bool = True
    masked: bool = False
    reserved: int = 0

    @property
    def code(self) -> int:
        """Returns the code of a close frame. Fails for another frame."""
        assert self.opcode == CLOSE and len(self.payload) >= 2, self
        return struct.unpack_from(">H", self.payload)[0]


class Wire:
    """One end of a connection, behind its handshake."""

    def __init__(self, connection: Any, unread: bytes = b"", mask: bytes | None = None):
        self.socket = connection
        self._unread = bytearray(unread)
        self._mask = mask

    def say(self, words: bytes | str) -> None:
        """Sends exactly these bytes."""
        self.socket.sendall(words.encode() if isinstance(words, str) else words)

    def send(self, opcode: int, payload: bytes = b"", final: bool = True, reserved: int = 0) -> None:
        """Sends a frame, masked if this is the client's end."""
        self.say(frame(opcode, payload, self._mask, final, reserved))

    def close_with(self, code: int, reason: str = "") -> None:
        self.send(CLOSE, closing(code, reason))

    def take(self, size: int) -> bytes:
        """Returns exactly the next `size` bytes."""
        while len(self._unread) < size:
            got = self.socket.recv(262144)
            if not got:
                raise Closed
            self._unread += got
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    def head(self) -> str:
        """Returns the head of a request or a response."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            got = self.socket.recv(65536)
            if not got:
                raise Closed
            self._unread += got
        return self.take(end + 4).decode("latin-1")

    def frame(self) -> Frame:
        """Returns the next frame."""
        first, second = self.take(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self.take(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self.take(8))
        mask = self.take(4) if second & 0x80 else b""
        payload = self.take(size)
        return Frame(
            first & 0x0F, masked(payload, mask) if mask else payload, bool(first & 0x80), bool(mask), first >> 4 & 7
        )

    def frames(self, within: float = PATIENCE) -> list[Frame]:
        """Returns all frames until the other end closes the connection."""
        self.socket.settimeout(within)
        seen = []
        try:
            while True:
                seen.append(self.frame())
        except (Closed, ConnectionError, ssl.SSLError):
            return seen

    def rest(self, within: float = PATIENCE) -> bytes:
        """Returns all bytes until the other end closes the connection. Fails if it does not."""
        self.socket.settimeout(within)
        with suppress(ConnectionError, ssl.SSLError):
            while got := self.socket.recv(262144):
                self._unread += got
        return bytes(self._unread)

    def received(self, seconds: float) -> bytes:
        """Returns all bytes that arrive until nothing does for this time, or the other end closes the connection."""
        with suppress(TimeoutError):
            self.rest(seconds)
        return bytes(self._unread)

    def silent(self, seconds: float) -> bool:
        """Reports whether nothing arrives for this time."""
        self.socket.settimeout(seconds)
        try:
            got = self.socket.recv(65536)
        except TimeoutError:
            return not self._unread
        finally:
            self.socket.settimeout(PATIENCE)
        self._unread += got
        return False

    def gone(self, within: float = PATIENCE) -> float:
        """Reads until the other end has left, and returns when that was."""
        self.rest(within)
        return time.monotonic()

    def fin(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Closes the connection abruptly, with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def parsed(head: str) -> tuple[str, dict[str, str]]:
    """Returns the first line of a head, and its fields."""
    line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
    return line, {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}


class Asked(Wire):
    """A client that has sent the bytes of an upgrade request, and reads whatever answer comes."""

    def __init__(
        self, url: str, words: bytes = b"", tls: ssl.SSLContext | None = None, receive_buffer: int | None = None
    ):
        connection, self.host = connect(url, receive_buffer, tls)
        super().__init__(connection, mask=MASK)
        self.say(words or request(host=self.host))

    def answer(self) -> "Asked":
        line, self.headers = parsed(self.head())
        self.status = int(line.split()[1])
        return self

    def body(self) -> bytes:
        """Returns the body of an answer that tells its length."""
        return self.take(int(self.headers.get("content-length", "0")))

    def error(self) -> str:
        """Returns the code of an error that Weir itself has answered with."""
        return json.loads(self.body())["error"]["code"]


def tunnel(url: str, *fields: str, path: str = "/echo", **how: Any) -> Asked:
    """Opens a WebSocket, and fails unless it is accepted."""
    host = "localhost" if url.startswith("unix:") else url.partition("://")[2]
    client = Asked(url, request(*fields, path=path, host=host), **how).answer()
    assert client.status == 101, (client.status, client.rest(2))
    assert client.headers["sec-websocket-accept"] == accept_for(KEY)
    assert client.headers["upgrade"].lower() == "websocket"
    return client
