"""Streams in lock step through a Weir process of their own, for `benches/instructions.py`, `benches/shared_lines.py`,
`benches/profile.py` and `benches/heap.py`: the agent writes, the client reads it, the agent writes again. Both are in this
process, on plain sockets."""

import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The longest that one step may take: valgrind is slow, and the machine may be, too.
PATIENCE = 60
# The URL of a Redis server, if there is one.
REDIS = os.environ.get("WEIR_BENCH_REDIS", "")
# A certificate that the tests have. The client trusts everyone.
CERTIFICATE = {"cert": str(ROOT / "tests/config/files/cert.pem"), "key": str(ROOT / "tests/config/files/key.pem")}

BODY = b'{"stream":true}'
# What an upload sends: its end is found as that of every other body.
LARGE = b" " * (2**20 - len(BODY)) + BODY
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
GZIP_HEAD = HEAD.replace(b"transfer-", b"content-encoding: gzip\r\ntransfer-")
# The key of every client, and the answer to it, from RFC 6455.
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
    + ACCEPT
    + b"\r\n\r\n"
)
# What a route does, by the word for it. Other words are those of `reply.as`.
DEFAULTS = {
    "same": {},
    "resume": {"resume": {}},
    "redis": {"resume": {}},
    "hide": {"hide": {"reasoning": "drop", "tools": "drop"}},
}


@dataclass(frozen=True)
class Case:
    """What is measured. An event is a request if `client` is `plain`, one with a body of 1 MiB if it is `upload`, a stream on
    a connection of its own if it is `short`, and a message if it is a WebSocket."""

    # The text of an event by its number.
    event: Callable[[int], str]
    path: str
    # The events in one write.
    batch: int = 1
    # One of `DEFAULTS`, or what streams are translated to, of how many agents: `events of 2`. Only one of several
    # agents says something.
    reply: str = "same"
    # What the client is, or `gzip`: an ordinary one of an agent that compresses. See `Stream.connect`.
    client: str = "http1"
    # Writes in the two runs whose difference counts.
    writes: tuple[int, int] = (300, 1300)


def is_stored(url: str) -> None:
    """Waits until Weir has put its key into Redis: before that, it stores no stream."""
    host, port = url.removeprefix("redis://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as redis:
        answer = b""
        while b":1" not in answer:
            time.sleep(0.2)
            redis.sendall(b"EXISTS weir:key\r\n")
            answer = redis.recv(64)
    # Weir may not have read the answer yet.
    time.sleep(2)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def message(data: bytes, mask: bool = False) -> bytes:
    """Returns a WebSocket message of text. With `mask`, it has one of zeros, as clients must have."""
    upper = 0x80 if mask else 0
    length = bytes([upper | len(data)]) if len(data) < 126 else struct.pack(">BH", upper | 126, len(data))
    return b"\x81" + length + bytes(4 if mask else 0) + data


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Returns a frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def received(connection: socket.socket, end: bytes) -> bytes:
    """Reads until what came ends with `end`."""
    got = b""
    while not got.endswith(end):
        more = connection.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {got[-300:]!r}")
        got += more
    return got


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def post_h2(connection: socket.socket, path: str, body: bytes) -> None:
    """Asks over HTTP/2, by prior knowledge. Nothing is indexed, and the windows are the largest."""
    window = 2**31 - 1
    settings = struct.pack(">HIHI", 2, 0, 4, window)
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, settings)
    connection.sendall(hello + frame(8, 0, 0, struct.pack(">I", window - 65535)))
    # The first frame of the server has its settings.
    assert connection.recv(65536)[3] == 4
    fields = b"\x83\x86"
    for name, value in ((b"\x04", path), (b"\x01", "x"), (b"\x0f\x10", "application/json"), (b"\x0f\x0d", str(len(body)))):
        fields += name + bytes([len(value)]) + value.encode()
    connection.sendall(frame(4, 1, 0, b"") + frame(1, 4, 1, fields) + frame(0, 1, 1, body))


class Ends:
    """The two ends of an open stream: its client, and its agents."""

    def __init__(self, client: socket.socket, models: list[socket.socket]):
        self.client = client
        self.models = models
        self.gzip = zlib.compressobj(wbits=31)
        self.events = 0

    def close(self) -> None:
        for end in (self.client, *self.models):
            end.close()


class Stream:
    """A Weir process, and a stream through it, or more of them."""

    # What the process logs once it listens.
    READY = "listening"

    def __init__(self, weir: str, tool: list[str], case: Case, workers: int = 1):
        self.case = case
        self.workers = workers
        self.model = socket.create_server(("127.0.0.1", 0))
        self.model.settimeout(PATIENCE)
        self.upstream = f"http://127.0.0.1:{self.model.getsockname()[1]}"
        free = socket.create_server(("127.0.0.1", 0))
        self.port = free.getsockname()[1]
        free.close()
        self.reply, _, agents = case.reply.partition(" of ")
        self.agents = int(agents or 1)
        # A bridge says native events.
        self.is_translated = self.reply not in DEFAULTS or case.client == "bridge"
        self.folder = tempfile.TemporaryDirectory()
        command = tool + self.command(weir)
        self.weir = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert self.weir.stderr
        # The process logs its listener, after valgrind's own messages.
        self.log = []
        for line in self.weir.stderr:
            self.log.append(line)
            if self.READY in line:
                break
        else:
            raise SystemExit("it did not start:\n" + "".join(self.log))
        if self.reply == "redis":
            is_stored(REDIS)

    def command(self, program: str) -> list[str]:
        """Writes the configuration, if there is any, and returns the command that starts the program."""
        if self.reply != "same" or self.case.client in ("tls", "h2-tls", "bridge"):
            file = Path(self.folder.name) / "weir.yaml"
            # JSON is valid YAML.
            file.write_text(json.dumps(self.config(self.reply)))
            return [program, "serve", "--config", str(file)]
        serve = [program, "serve", "--listen", f"127.0.0.1:{self.port}", "--upstream", self.upstream]
        return [*serve, "--admin", "off", "--workers", str(self.workers), "--log-level", "info"]

    def config(self, reply: str) -> dict:
        listen = {"address": f"127.0.0.1:{self.port}"}
        if self.case.client in ("tls", "h2-tls"):
            listen["tls"] = CERTIFICATE
        route: dict = {"name": "all", "upstream": "agent"}
        if self.agents > 1:
            agents = [{"name": f"agent{number}", "upstream": "agent"} for number in range(self.agents)]
            route = {"name": "all", "merge": {"agents": agents}}
        if self.case.client == "bridge":
            route["websocket"] = "bridge"
        config = {
            "listen": [listen],
            "admin": {"listen": "off"},
            "workers": self.workers,
            "log": {"level": "info"},
            "upstreams": {"agent": {"endpoints": [self.upstream]}},
            "defaults": DEFAULTS.get(reply, {"reply": {"as": reply}}),
            "routes": [route],
        }
        if reply == "redis":
            config["resume"] = {"store": "redis", "redis": {"url": REDIS}}
        return config

    def connect(self) -> socket.socket:
        """Connects a client, and asks."""
        case = self.case
        client = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if case.client in ("tls", "h2-tls"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if case.client == "h2-tls":
                context.set_alpn_protocols(["h2"])
            client = context.wrap_socket(client)
        if case.client in ("h2", "h2-tls"):
            post_h2(client, case.path, BODY)
        elif case.client in ("websocket", "bridge"):
            client.sendall(
                b"GET %s HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
                b"sec-websocket-version: 13\r\nsec-websocket-key: %s\r\n\r\n" % (case.path.encode(), KEY)
            )
            if case.client == "bridge":
                received(client, b"\r\n\r\n")
                client.sendall(message(b'{"type":"message","id":"q1","body":' + BODY + b"}", mask=True))
        else:
            client.sendall(post(case.path, BODY))
        return client

    def answered(self) -> socket.socket:
        """Answers a request with a head, and returns the agent's end of the connection."""
        model, _ = self.model.accept()
        model.settimeout(PATIENCE)
        model.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.case.client == "websocket":
            received(model, b"\r\n\r\n")
            model.sendall(ACCEPTED)
        else:
            received(model, BODY)
            model.sendall(GZIP_HEAD if self.case.client == "gzip" else HEAD)
        return model

    def run(self, writes: int) -> None:
        if self.case.client in ("plain", "upload", "short"):
            self.run_requests(writes)
            return
        ends = self.opened()
        for _ in range(writes):
            self.step(ends)
        ends.close()

    def opened(self) -> Ends:
        """Opens a stream."""
        client = self.connect()
        ends = Ends(client, [self.answered() for _ in range(self.agents)])
        if self.case.client == "websocket":
            received(client, b"\r\n\r\n")
        return ends

    def step(self, ends: Ends) -> None:
        """Lets the last agent write once, and the client read that."""
        case, batch = self.case, self.case.batch
        events = [case.event(ends.events + index).encode() for index in range(batch)]
        ends.events += batch
        model = ends.models[-1]
        if case.client == "websocket":
            model.sendall(b"".join(map(message, events)))
        elif case.client == "gzip":
            model.sendall(chunk(ends.gzip.compress(b"".join(events)) + ends.gzip.flush(zlib.Z_SYNC_FLUSH)))
        else:
            model.sendall(b"".join(map(chunk, events)))
        # An id may follow the last line.
        expected, got = events[-1][-24:-1], b""
        # A translation has the same texts, and another envelope.
        while got.count(b" rain") < batch if self.is_translated else expected not in got:
            more = ends.client.recv(65536)
            if not more:
                raise SystemExit(f"the stream ended early: {got[-300:]!r}")
            got += more

    def run_requests(self, writes: int) -> None:
        """Sends requests: on one connection those that are answered without a stream, on one each the others, whose streams
        have ten events."""
        is_short = self.case.client == "short"
        body = LARGE if self.case.client == "upload" else BODY
        if is_short:
            events = [self.case.event(number) for number in range(10)] + ["data: [DONE]\n\n"]
            text = b"0\r\n\r\n"
            answer = HEAD + b"".join(chunk(event.encode()) for event in events) + text
        else:
            text = self.case.event(0).encode()
            answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text)

        def serve(connection: socket.socket) -> None:
            with connection:
                try:
                    while received(connection, BODY):
                        connection.sendall(answer)
                except ConnectionError:
                    return

        def accept() -> None:
            try:
                while True:
                    connection, _ = self.model.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        for each in [1] * writes if is_short else [writes]:
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
                for _ in range(each):
                    client.sendall(post(self.case.path, body))
                    received(client, text)

    def stop(self) -> str:
        """Ends the process, and returns what it has logged. The first signal begins to drain, the next one ends that. Two at once
        would be one, and a drain takes seconds."""
        self.model.close()
        for _ in range(PATIENCE * 4):
            self.weir.send_signal(signal.SIGINT)
            try:
                _, rest = self.weir.communicate(timeout=0.25)
            except subprocess.TimeoutExpired:
                continue
            return "".join(self.log) + rest
        self.weir.kill()
        raise SystemExit("it did not stop")
