"""A raw-socket upstream driven by a script, for servers that misbehave on purpose.

A script is a function that gets each connection. It reads requests, sends any bytes, split anywhere, waits for signals,
stalls, and ends with FIN or RST. The connection records what it received and when its client left.
"""

import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from typing import NamedTuple

from support.tls import TlsSocket


class Request(NamedTuple):
    """One request as received."""

    line: str
    headers: dict[str, str]
    body: bytes
    at: float


class Gone(Exception):
    """The client closed the connection."""


class Connection:
    """One accepted connection. Its own thread reads it, so a leaving client is always noticed."""

    def __init__(self, accepted: "socket.socket | TlsSocket"):
        self.socket = accepted
        self.requests: list[Request] = []
        self.heads = 0
        self.sent = 0
        self.received = bytearray()
        self.closed_at: float | None = None
        self._queue: Queue[Request] = Queue()
        self._closed = threading.Event()
        self._buffer = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _more(self) -> None:
        got = self.socket.recv(262144)
        if not got:
            raise Gone
        self.received += got
        self._buffer += got

    def _read(self) -> None:
        try:
            while True:
                request = self._request()
                self.requests.append(request)
                self._queue.put(request)
        except (Gone, OSError):
            self.closed_at = time.monotonic()
            self._closed.set()

    def _request(self) -> Request:
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.heads += 1
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (field.partition(":") for field in fields)}
        return Request(line, headers, self._body(headers), time.monotonic())

    def _body(self, headers: dict[str, str]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", ""):
            while not (end := self._chunks_end()):
                self._more()
            body, self._buffer = self._buffer[:end], self._buffer[end:]
            return body
        length = int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return body

    def _chunks_end(self) -> int:
        """Returns where a chunked body ends; 0 if it is incomplete."""
        at = 0
        while line := re.compile(rb"([0-9a-fA-F]+)\r\n").match(self._buffer, at):
            at = line.end()
            if int(line[1], 16) == 0:
                end = re.compile(rb"([^\r\n]+\r\n)*\r\n").match(self._buffer, at)
                return end.end() if end else 0
            at += int(line[1], 16) + 2
        return 0

    def request(self, within: float = 15) -> Request:
        """Returns the next request."""
        limit = time.monotonic() + within
        while True:
            try:
                return self._queue.get(timeout=0.02)
            except Empty:
                if self._closed.is_set() or time.monotonic() > limit:
                    raise Gone from None

    def send(self, data: bytes | str) -> None:
        data = data.encode() if isinstance(data, str) else data
        try:
            self.socket.sendall(data)
        except OSError:
            self._closed.wait(5)
            raise Gone from None
        self.sent += len(data)

    def head(self, content_type: str = "text/event-stream", status: str = "200 OK", *more: str) -> None:
        fields = [f"content-type: {content_type}", "transfer-encoding: chunked", *more]
        self.send("\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]))

    def chunk(self, data: bytes | str) -> None:
        data = data.encode() if isinstance(data, str) else data
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self, trailers: str = "") -> None:
        """Sends the regular end of a chunked body."""
        self.send(f"0\r\n{trailers}\r\n")

    def fin(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            # The client closed first, or the test is over.
            raise Gone from None

    def reset(self) -> None:
        # The reading thread keeps the socket open. Disconnecting a lingering socket sends RST at once.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.shutdown(socket.SHUT_RD)
        self._closed.wait(5)
        self.socket.close()

    def gone(self, within: float = 15) -> float:
        """Waits for the client to leave, and returns when it did."""
        assert self._closed.wait(within), f"the client is still there after {within} s"
        assert self.closed_at is not None
        return self.closed_at


Script = Callable[[Connection], None]


class Upstream:
    """A listener that runs `script` for each connection: TCP, TLS over it, or a Unix socket at `path`."""

    def __init__(
        self,
        script: Script,
        port: int = 0,
        path: Path | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ):
        self.connections: list[Connection] = []
        self.errors: list[BaseException] = []
        self._script = script
        self._tls = tls
        if path:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen(1024)
            self.url = f"unix:{path}"
        else:
            self._listener = socket.create_server((host, port), backlog=1024)
            self.port = self._listener.getsockname()[1]
            self.url = f"http{'s' if tls else ''}://{host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            if accepted.family == socket.AF_INET:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(TlsSocket(accepted, self._tls) if self._tls else accepted)
            self.connections.append(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: Connection) -> None:
        try:
            self._script(connection)
        except Gone:
            pass
        except BaseException as error:
            self.errors.append(error)

    def requests(self) -> list[Request]:
        return [request for connection in list(self.connections) for request in connection.requests]

    def heads(self) -> int:
        """Returns the number of request heads received, with or without complete bodies."""
        return sum(connection.heads for connection in list(self.connections))

    def close(self) -> None:
        try:
            # The accepting thread would keep the listener open.
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        for connection in self.connections:
            connection.socket.close()
        assert not self.errors, self.errors
