"""A small proxy for HTTP/1.1 that harms streams in one chosen way. Each response ends its connection."""

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Harm(NamedTuple):
    """What the proxy does to streams. Without any, it passes on everything at once."""

    # Seconds for which the head of each response is held back, and everything behind it.
    hold_head: float = 0
    # The connection is cut after so many seconds without a byte.
    idle: float = 0
    # What is cut for its silence looks complete.
    ends_well: bool = False
    # The connection is cut so many seconds after the request, whatever happens.
    total: float = 0
    # Comments of event streams are removed.
    strips_comments: bool = False
    # The content type of streams.
    content_type: str = ""
    # The request and the response are HTTP/1.0.
    http10: bool = False
    # The agent is asked on, although the client has left.
    ignores_leave: bool = False
    # Bytes are passed on in pieces of this size at least, or at the end.
    collects: int = 0
    # What has come is passed on every so many seconds.
    waits: float = 0
    # Requests without this text in their first line are not answered.
    key: str = ""


class BadHop:
    """Listens on a free port, in front of `upstream`, an `http://` URL."""

    def __init__(self, upstream: str, **harm: object):
        host, _, port = upstream.removeprefix("http://").partition(":")
        self._upstream = (host, int(port))
        self._harm = Harm(**harm)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = {self._listener}
        self.url = "http://127.0.0.1:{}".format(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        agent = socket.create_connection(self._upstream)
        self._open |= {client, agent}
        try:
            self._pass_on(client, agent)
        except OSError:
            # A timeout of this proxy, or somebody has left.
            pass
        finally:
            for one in (client, agent):
                self._open.discard(one)
                _shut(one)
                one.close()

    def _pass_on(self, client: socket.socket, agent: socket.socket) -> None:
        harm = self._harm
        request = _until(client, b"\r\n\r\n")
        if not request:
            return
        if harm.key.encode() not in request.partition(b"\r\n")[0]:
            return
        line, *fields = request.removesuffix(b"\r\n\r\n").split(b"\r\n")
        if harm.http10:
            line = line.replace(b"HTTP/1.1", b"HTTP/1.0")
        fields = [field for field in fields if not field.lower().startswith(b"connection:")]
        agent.sendall(b"\r\n".join([line, *fields, b"connection: close", b"", b""]))
        if not harm.ignores_leave:
            threading.Thread(target=_watch, args=(client, agent), daemon=True).start()
        if harm.total:
            timer = threading.Timer(harm.total, lambda: (_shut(client), _shut(agent)))
            timer.daemon = True
            timer.start()
        if harm.idle:
            agent.settimeout(harm.idle)
        answer = agent.makefile("rb")
        status = answer.readline()
        headers: dict[bytes, bytes] = {}
        while (field := answer.readline()) not in (b"\r\n", b""):
            name, _, value = field.partition(b":")
            headers[name.strip().lower()] = value.strip()
        is_stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        chunked = b"chunked" in headers.pop(b"transfer-encoding", b"")
        headers[b"connection"] = b"close"
        if is_stream and harm.content_type:
            headers[b"content-type"] = harm.content_type.encode()
        if harm.http10:
            status = status.replace(b"HTTP/1.1", b"HTTP/1.0")
        frames = b"content-length" not in headers and not harm.http10
        if frames:
            headers[b"transfer-encoding"] = b"chunked"
        if is_stream and harm.hold_head:
            time.sleep(harm.hold_head)
        head = b"".join(b"%s: %s\r\n" % field for field in headers.items())
        send = _silently(client) if harm.ignores_leave else client.sendall
        send(status + head + b"\r\n")
        length = int(headers.get(b"content-length", b"-1"))
        steps = _Steps(send, harm.waits) if harm.waits and is_stream else None
        if steps:
            send = steps.add
        waiting = b""
        try:
            for piece in _body(answer, chunked, length):
                if is_stream and harm.strips_comments and piece.startswith(b":"):
                    continue
                waiting += piece
                if is_stream and len(waiting) < harm.collects:
                    continue
                send(b"%x\r\n%s\r\n" % (len(waiting), waiting) if frames else waiting)
                waiting = b""
        except TimeoutError:
            if not harm.ends_well:
                raise
        if waiting:
            send(b"%x\r\n%s\r\n" % (len(waiting), waiting) if frames else waiting)
        if frames:
            send(b"0\r\n\r\n")
        if steps:
            steps.close()

    def close(self) -> None:
        for one in list(self._open):
            _shut(one)
            one.close()


class _Steps:
    """Passes on what has come, once in `step` seconds."""

    def __init__(self, send: Callable[[bytes], None], step: float):
        self._send, self._step = send, step
        self._came: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, data: bytes) -> None:
        self._came.put(data)

    def _run(self) -> None:
        while not self._over.wait(self._step):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        came = b""
        while not self._came.empty():
            came += self._came.get()
        try:
            self._send(came)
        except OSError:
            # The client has left.
            self._over.set()

    def close(self) -> None:
        self._over.set()
        self._thread.join()


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _silently(client: socket.socket):
    def send(data: bytes) -> None:
        try:
            client.sendall(data)
        except OSError:
            pass

    return send


def _watch(client: socket.socket, agent: socket.socket) -> None:
    """Closes the connection to the agent when the client has left."""
    try:
        while client.recv(4096):
            pass
    except OSError:
        pass
    _shut(agent)


def _until(one: socket.socket, end: bytes) -> bytes:
    seen = b""
    while end not in seen:
        got = one.recv(65536)
        if not got:
            return b""
        seen += got
    return seen


def _body(answer, chunked: bool, length: int) -> Iterator[bytes]:
    if chunked:
        while size := int(answer.readline() or b"0", 16):
            yield answer.read(size)
            answer.readline()
        return
    while length:
        got = answer.read1(length if length > 0 else 65536)
        if not got:
            return
        length -= len(got) if length > 0 else 0
        yield got
