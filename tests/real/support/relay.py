"""A TCP relay that cuts event streams and WebSockets, as a bad network would."""

import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from support.raw import connect


class Relay:
    """Forwards connections to `target`. It ends the first event streams and WebSockets after so many bytes of their bodies
    as `cuts` says, one number for each; later ones, and all other responses, pass."""

    def __init__(self, target: str, cuts: Iterable[int] = ()):
        self.cut = 0
        self._target = target
        self._cuts = iter(cuts)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def next_cut(self) -> int | None:
        """Returns how much of the next stream may pass, if it is to be cut."""
        with self._lock:
            return next(self._cuts, None)

    def has_cut(self) -> None:
        with self._lock:
            self.cut += 1

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server, _ = connect(self._target)
            except OSError:
                return
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Joined(self, client, server)

    def close(self) -> None:
        with suppress(OSError):
            # The accepting thread would keep the listener open.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class _Joined:
    """One connection through the relay."""

    def __init__(self, relay: Relay, client: socket.socket, server: socket.socket):
        self._relay, self._client, self._server = relay, client, server
        # What has arrived of the head of a response; None while a body passes.
        self._head: bytes | None = b""
        # How much of the body may still pass.
        self._left: int | None = None
        for work in (self._up, self._down):
            threading.Thread(target=work, daemon=True).start()

    def _up(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(65536):
                # The client sends its next request when it has the whole response before.
                if b" HTTP/1.1\r\n" in data:
                    self._head = b""
                self._server.sendall(data)
        self._end()

    def _down(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(65536):
                passing = self._passing(data)
                self._client.sendall(data[:passing])
                if self._left is not None and self._left <= 0:
                    self._relay.has_cut()
                    break
        self._end()

    def _passing(self, data: bytes) -> int:
        """Returns how many bytes of `data` may pass."""
        before = 0
        if self._head is not None:
            had = len(self._head)
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return len(data)
            head = self._head[:end].lower()
            is_stream = b"text/event-stream" in head or head.startswith(b"http/1.1 101")
            self._left = self._relay.next_cut() if is_stream else None
            before = end + 4 - had
            self._head = None
        if self._left is None:
            return len(data)
        passing = min(len(data) - before, self._left)
        self._left -= passing
        return before + passing

    def _end(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
