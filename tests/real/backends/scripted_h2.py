"""An HTTP/2 upstream that runs a script for each of its streams, for servers that misbehave on purpose.

The framing library does not validate here: a script may send any head, and any other bytes.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

Head = list[tuple[str, str]]

LENIENT = H2Configuration(
    client_side=False,
    header_encoding="utf-8",
    validate_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)


class Gone(Exception):
    """The stream or its connection is over."""


class Stream:
    """One complete request, and the means to answer it."""

    def __init__(self, connection: "Connection", number: int, head: Head):
        self.connection = connection
        self.number = number
        self.head_fields = head
        self.headers = dict(head)
        self.body = b""
        self.trailers: Head = []
        self.complete = threading.Event()
        self.over = threading.Event()
        # The script has ended.
        self.served = False
        # The code of the client's RST_STREAM.
        self.reset_code: int | None = None
        self.closed_at: float | None = None

    def head(self, content_type: str = "text/event-stream", status: str = "200", *more: tuple[str, str]) -> None:
        self.fields((":status", status), ("content-type", content_type), *more)

    def fields(self, *fields: tuple[str, str], last: bool = False) -> None:
        """Sends a header block with exactly these headers."""
        self.connection.tell(lambda h2: h2.send_headers(self.number, list(fields), end_stream=last))

    def data(self, data: bytes | str, frame: int = 16384, last: bool = False) -> None:
        """Sends frames of at most `frame` bytes, as the windows allow, in as few writes as possible."""
        left = data.encode() if isinstance(data, str) else data
        while left:
            left = self.connection.write(self, left, frame)
        if last:
            self.end()

    def end(self) -> None:
        self.connection.tell(lambda h2: h2.end_stream(self.number))

    def reset(self, code: ErrorCodes) -> None:
        self.connection.tell(lambda h2: h2.reset_stream(self.number, code))

    def gone(self, within: float = 15) -> float:
        """Waits until the client has reset the stream or left, and returns when it did."""
        assert self.over.wait(within), f"stream {self.number} is still wanted after {within} s"
        assert self.closed_at is not None
        return self.closed_at

    def close(self, code: int | None = None) -> None:
        self.reset_code = code
        self.closed_at = time.monotonic()
        self.over.set()


class Connection:
    """One accepted connection, read by its own thread."""

    def __init__(self, server: "UpstreamH2", accepted: socket.socket):
        self.socket = accepted
        self.streams: list[Stream] = []
        self.pings = 0
        self.goodbye: int | None = None
        # The number of the last stream, after a GOAWAY.
        self.retired: int | None = None
        self.closed = threading.Event()
        self._server = server
        self._h2 = H2Connection(LENIENT)
        # Guards the frames, and wakes threads that wait for a window.
        self._moved = threading.Condition()
        self._h2.local_settings = Settings(False, {SettingCodes.MAX_CONCURRENT_STREAMS: server.streams})
        self.tell(lambda h2: h2.initiate_connection())

    def start(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def tell(self, what: Callable[[H2Connection], Any]) -> None:
        with self._moved:
            try:
                what(self._h2)
                self.socket.sendall(self._h2.data_to_send())
            except (OSError, ProtocolError):
                raise Gone from None

    def write(self, stream: Stream, data: bytes, frame: int) -> bytes:
        """Sends what fits into the windows, and returns the rest."""
        with self._moved:
            try:
                while not (room := self._h2.local_flow_control_window(stream.number)):
                    if stream.over.is_set() or not self._moved.wait(15):
                        raise Gone
                now, rest = data[:room], data[room:]
                for at in range(0, len(now), frame):
                    self._h2.send_data(stream.number, now[at : at + frame])
                self.socket.sendall(self._h2.data_to_send())
            except (OSError, ProtocolError):
                raise Gone from None
        return rest

    def idle(self) -> bool:
        """Reports whether no stream is open."""
        with self._moved:
            return self._h2.open_inbound_streams == 0

    def forget(self) -> None:
        """Forgets streams that have been served, so that memory does not grow in long tests."""
        with self._moved:
            self.streams[:] = [stream for stream in self.streams if not stream.served]

    def raw(self, frames: bytes) -> None:
        """Sends exactly these bytes between two frames."""
        with self._moved:
            try:
                self.socket.sendall(frames)
            except OSError:
                raise Gone from None

    def retire(self) -> None:
        """Retires the connection like a server that is being replaced: running streams continue, new ones are
        ignored."""
        with self._moved:
            if self.retired is None:
                self.retired = self._h2.highest_inbound_stream_id
                self.goaway(self.retired)

    def goaway(self, last: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Sends a GOAWAY: streams after `last` were not processed and will not be."""
        payload = last.to_bytes(4) + int(code).to_bytes(4)
        self.raw(len(payload).to_bytes(3) + bytes([7, 0]) + bytes(4) + payload)

    def close(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def _read(self) -> None:
        try:
            while got := self.socket.recv(262144):
                with self._moved:
                    for event in self._h2.receive_data(got):
                        self._note(event)
                    self.socket.sendall(self._h2.data_to_send())
                    self._moved.notify_all()
        except (OSError, ProtocolError):
            pass
        self.closed.set()
        for stream in list(self.streams):
            if not stream.over.is_set():
                stream.close()
        with self._moved:
            self._moved.notify_all()

    def _note(self, event: Any) -> None:
        stream = next((one for one in self.streams if one.number == getattr(event, "stream_id", 0)), None)
        match event:
            case events.RequestReceived() if self.retired is None:
                self.streams.append(Stream(self, event.stream_id, event.headers))
                self._server.run(self.streams[-1])
            case events.DataReceived() if stream:
                stream.body += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case events.TrailersReceived() if stream:
                stream.trailers = event.headers
            case events.StreamEnded() if stream:
                stream.complete.set()
            case events.StreamReset() if stream:
                stream.close(int(event.error_code))
            case events.PingReceived():
                self.pings += 1
            case events.ConnectionTerminated():
                self.goodbye = int(event.error_code)


Script = Callable[[Stream], None]


class UpstreamH2:
    """A listener that runs `script` for each stream of each connection: with prior knowledge, or TLS."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None, streams: int = 100, port: int = 0):
        self.connections: list[Connection] = []
        self.errors: list[BaseException] = []
        self.streams = streams
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self.connections.append(Connection(self, accepted))
            except Gone:
                continue
            # Started only now: a test that has a response may look up its connection.
            self.connections[-1].start()

    def run(self, stream: Stream) -> None:
        threading.Thread(target=self._run, args=(stream,), daemon=True).start()

    def _run(self, stream: Stream) -> None:
        try:
            self._script(stream)
        except Gone:
            pass
        except BaseException as error:
            self.errors.append(error)
        stream.served = True

    def all(self) -> list[Stream]:
        return [stream for connection in list(self.connections) for stream in list(connection.streams)]

    def open(self) -> int:
        """Returns the number of open connections."""
        return sum(not connection.closed.is_set() for connection in list(self.connections))

    def close(self) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        for connection in self.connections:
            connection.close()
        assert not self.errors, self.errors
