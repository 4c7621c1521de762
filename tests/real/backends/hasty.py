"""Upstreams that answer before they have read a request, and then close the connection.

The kernel resets a connection that is closed while received bytes are unread. What was sent before can still be read.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from h2 import events
from h2.connection import H2Connection
from h2.errors import ErrorCodes

from backends.scripted_h2 import LENIENT

GOAWAY = 7


class Hasty(NamedTuple):
    """An answer, and how it is given."""

    # The response, as HTTP/1.1 bytes, or the body of a 413 over HTTP/2.
    answer: bytes
    # Bytes of the request body to read first.
    after: int = 0
    # HTTP/1.1: `close` at once, or `linger`: end the sending half and read for a moment.
    # HTTP/2: `close` or `goaway` (then close), or else the code of a RST_STREAM.
    how: str | ErrorCodes = "close"
    # HTTP/2: whether the length is announced.
    sized: bool = True


class Server:
    """A listener that answers each request of each connection in the same way."""

    def __init__(self, hasty: Hasty, http2: bool = False, path: Path | None = None, tls: ssl.SSLContext | None = None):
        self._hasty, self._http2, self._tls = hasty, http2, tls
        if path:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen(1024)
            self.url = f"unix:{path}"
        else:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
            self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            if accepted.family == socket.AF_INET:
                # Otherwise the answer may wait for an acknowledgement, and be discarded when the connection is closed.
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        serve: Callable[[socket.socket], None] = self._answer_h2 if self._http2 else self._answer
        # Weir may have closed the connection.
        with suppress(OSError):
            serve(self._tls.wrap_socket(accepted, server_side=True) if self._tls else accepted)

    def _answer(self, accepted: socket.socket) -> None:
        with accepted:
            got = b""
            while b"\r\n\r\n" not in got:
                got += accepted.recv(65536)
            left = self._hasty.after - len(got.partition(b"\r\n\r\n")[2])
            while left > 0:
                left -= len(accepted.recv(min(left, 65536)))
            accepted.sendall(self._hasty.answer)
            if self._hasty.how == "linger":
                accepted.shutdown(socket.SHUT_WR)
                accepted.settimeout(0.02)
                while accepted.recv(65536):
                    pass

    def _answer_h2(self, accepted: socket.socket) -> None:
        with accepted:
            h2 = H2Connection(LENIENT)
            h2.initiate_connection()
            # The windows of the streams alone hold the uploads back.
            h2.increment_flow_control_window(1 << 30)
            accepted.sendall(h2.data_to_send())
            got: dict[int, int] = {}
            while more := accepted.recv(16384):
                for event in h2.receive_data(more):
                    match event:
                        case events.RequestReceived():
                            got[event.stream_id] = 0
                        case events.DataReceived() if event.stream_id in got:
                            got[event.stream_id] += len(event.data)
                accepted.sendall(h2.data_to_send())
                for number in [number for number, bytes_ in got.items() if bytes_ >= self._hasty.after]:
                    del got[number]
                    accepted.sendall(self._frames(h2, number))
                    if self._hasty.how in ("close", "goaway"):
                        return

    def _frames(self, h2: H2Connection, number: int) -> bytes:
        body = self._hasty.answer
        length = [("content-length", str(len(body)))] if self._hasty.sized else []
        h2.send_headers(number, [(":status", "413"), ("content-type", "text/plain"), *length])
        for at in range(0, len(body), 16384):
            h2.send_data(number, body[at : at + 16384], end_stream=at + 16384 >= len(body))
        if isinstance(self._hasty.how, ErrorCodes):
            h2.reset_stream(number, self._hasty.how)
        frames = h2.data_to_send()
        if self._hasty.how == "goaway":
            payload = number.to_bytes(4) + bytes(4)
            frames += len(payload).to_bytes(3) + bytes([GOAWAY, 0]) + bytes(4) + payload
        return frames

    def close(self) -> None:
        with suppress(OSError):
            # The accepting thread would keep the listener open.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
