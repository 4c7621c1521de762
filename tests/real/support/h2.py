"""An HTTP/2 client on a plain socket, which reads each of several open streams separately."""

import ssl
from collections.abc import Iterator
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes

from support import sse
from support.raw import Closed, connect

GOAWAY = 7


class Stream:
    """One request and its response."""

    def __init__(self, connection: "H2", number: int):
        self._connection = connection
        self.number = number
        self.status = 0
        self.headers: dict[str, str] = {}
        self.trailers: dict[str, str] = {}
        self.body = bytearray()
        self.ended = False
        self.reset_by_peer: int | None = None
        # If false, received data is not acknowledged, so the window of this stream is not reopened.
        self.read = True

    def read_head(self) -> "Stream":
        while not self.status:
            self._more()
        return self

    def until_bytes(self, wanted: bytes) -> None:
        while wanted not in self.body:
            assert not self.ended, (wanted, self.body)
            self._more()

    def read_body(self) -> bytes:
        while not self.ended:
            self._more()
        return bytes(self.body)

    def events(self) -> list[sse.Event]:
        return sse.events(self.body.decode(errors="ignore"))

    def send(self, data: bytes, last: bool = False) -> None:
        """Sends a part of the request body."""
        self._connection.h2.send_data(self.number, data, end_stream=last)
        self._connection.flush()

    def reset(self) -> None:
        """Cancels the request with RST_STREAM."""
        self._connection.h2.reset_stream(self.number, ErrorCodes.CANCEL)
        self._connection.flush()

    def _more(self) -> None:
        if self.reset_by_peer is not None:
            raise Closed(ErrorCodes(self.reset_by_peer))
        self._connection.receive()


class H2:
    """One HTTP/2 connection, by prior knowledge or negotiated in the TLS handshake (ALPN)."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None):
        self.socket, self.host = connect(url, tls=tls)
        if isinstance(self.socket, ssl.SSLSocket):
            assert self.socket.selected_alpn_protocol() == "h2"
        self.scheme = "https" if tls else "http"
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.streams: dict[int, Stream] = {}
        self.goodbye: int | None = None
        self._unread = b""
        self.h2.initiate_connection()
        self.flush()

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Stream:
        """Sends a request. Without `body`, a POST stays open for `Stream.send`."""
        fields = [
            (":method", method),
            (":scheme", self.scheme),
            (":authority", self.host),
            (":path", path),
            *((name.replace("_", "-"), value) for name, value in headers.items()),
        ]
        stream = Stream(self, self.h2.get_next_available_stream_id())
        self.streams[stream.number] = stream
        self.h2.send_headers(stream.number, fields, end_stream=method != "POST")
        self.flush()
        if body is not None:
            stream.send(body, last=True)
        return stream

    def get(self, path: str) -> Stream:
        return self.request("GET", path).read_head()

    def post(self, path: str, body: bytes = b'{"stream":true}') -> Stream:
        return self.request("POST", path, body, content_type="application/json").read_head()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def receive(self) -> None:
        """Receives what the server sends next, on any stream."""
        got = self.socket.recv(65536)
        if not got:
            raise Closed
        self._unread += got
        for frame in self._frames():
            if frame[3] == GOAWAY:
                # After a GOAWAY the library would reject further frames, even those of streams that are still open.
                self.goodbye = int.from_bytes(frame[13:17])
                continue
            for event in self.h2.receive_data(frame):
                self._note(event)
        self.flush()

    def _frames(self) -> Iterator[bytes]:
        """Yields the complete frames received: three bytes of length, six more bytes of header, the payload."""
        while len(self._unread) >= 9:
            end = 9 + int.from_bytes(self._unread[:3])
            if len(self._unread) < end:
                return
            frame, self._unread = self._unread[:end], self._unread[end:]
            yield frame

    def _note(self, event: Any) -> None:
        stream = self.streams.get(getattr(event, "stream_id", 0) or 0)
        if stream is None:
            return
        match event:
            case events.ResponseReceived():
                stream.headers = dict(event.headers)
                stream.status = int(stream.headers[":status"])
            case events.DataReceived():
                stream.body += event.data
                if stream.read:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream.number)
            case events.TrailersReceived():
                stream.trailers = dict(event.headers)
            case events.StreamEnded():
                stream.ended = True
            case events.StreamReset():
                stream.reset_by_peer = int(event.error_code)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "H2":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
