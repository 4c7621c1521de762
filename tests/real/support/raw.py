"""An HTTP/1.1 client on a plain socket, for tests of the exact bytes and their timing."""

import socket
import ssl
import struct
import time
from typing import Any

from support import sse
from support.wait import PATIENCE


class Closed(Exception):
    """The server ended the connection."""


def connect(
    url: str, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None
) -> tuple[socket.socket, str]:
    """Connects to `http://host:port` or `unix:/path`. Returns the socket and the value for `Host`."""
    path = url.removeprefix("unix:") if url.startswith("unix:") else ""
    connection = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(PATIENCE)
    host, _, port = url.removeprefix("http://").partition(":")
    connection.connect(path or (host, int(port)))
    if tls:
        connection = tls.wrap_socket(connection, server_hostname="localhost")
    return connection, "localhost" if path else f"{host}:{port}"


class Raw:
    """One connection, with one request at a time."""

    def __init__(self, url: str, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None):
        self.socket, self.host = connect(url, receive_buffer, tls)
        self.head = b""
        self.status = 0
        self.interim: list[int] = []
        self.headers: dict[str, str] = {}
        self._unread = b""
        self.body = bytearray()
        self.ended = False
        self.trailers = b""

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> "Raw":
        fields = {"host": self.host, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if body or method == "POST":
            fields.setdefault("content-length", str(len(body)))
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
        self.body, self.trailers, self.ended = bytearray(), b"", False
        self.socket.sendall("\r\n".join(lines).encode() + body)
        return self

    def say(self, words: str | bytes) -> "Raw":
        """Sends exactly these bytes."""
        self.body, self.trailers, self.ended = bytearray(), b"", False
        self.socket.sendall(words.encode() if isinstance(words, str) else words)
        return self

    def get(self, path: str, **headers: str) -> "Raw":
        return self.send("GET", path, **headers).read_head()

    def post(self, path: str, body: bytes = b'{"stream":true}', **headers: str) -> "Raw":
        headers.setdefault("content_type", "application/json")
        return self.send("POST", path, body, **headers).read_head()

    def _receive(self) -> None:
        got = self.socket.recv(65536)
        if not got:
            raise Closed
        self._unread += got

    def read_head(self) -> "Raw":
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        self.head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        first, *lines = self.head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        if 100 <= self.status < 200:
            self.interim.append(self.status)
            return self.read_head()
        return self

    def read_chunk(self) -> bytes:
        """Returns the next HTTP chunk of the body, or nothing at its end."""
        while b"\r\n" not in self._unread:
            self._receive()
        size_text, _, rest = self._unread.partition(b"\r\n")
        size = int(size_text.split(b";")[0], 16)
        if size == 0:
            while b"\r\n\r\n" not in self._unread:
                self._receive()
            end = self._unread.index(b"\r\n\r\n") + 4
            self.trailers = self._unread[len(size_text) + 2 : end - 2]
            self._unread = self._unread[end:]
            self.ended = True
            return b""
        need = len(size_text) + 2 + size + 2
        while len(self._unread) < need:
            self._receive()
        chunk = self._unread[len(size_text) + 2 : need - 2]
        self._unread = self._unread[need:]
        self.body += chunk
        return chunk

    def read_body(self) -> bytes:
        """Returns the rest of the body, which is delimited by its length or chunked."""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while not self.ended:
                self.read_chunk()
        else:
            length = int(self.headers.get("content-length", "0"))
            while len(self._unread) < length:
                self._receive()
            self.body[:], self._unread = self._unread[:length], self._unread[length:]
            self.ended = True
        return bytes(self.body)

    def events(self) -> list[sse.Event]:
        """Returns all complete events received so far."""
        return sse.events(self.body.decode(errors="ignore"))

    def until_events(self, number: int) -> list[sse.Event]:
        """Reads until at least `number` events have arrived, or the body ends. Returns the events."""
        while len(found := self.events()) < number and not self.ended:
            self.read_chunk()
        return found

    def until_bytes(self, wanted: bytes) -> None:
        """Reads until the body contains `wanted`."""
        limit = time.monotonic() + PATIENCE
        while wanted not in self.body:
            assert not self.ended and time.monotonic() < limit, (wanted, self.body)
            self.read_chunk()

    def until_closed(self, within: float = PATIENCE) -> bytes:
        """Returns everything received until the server closes or resets the connection."""
        self.socket.settimeout(within)
        got = self._unread
        try:
            while more := self.socket.recv(65536):
                got += more
        except ConnectionError:
            pass
        return got

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Closes the connection abruptly, with an RST."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
