"""Runs Redis and Valkey from Debian's packages, which are unpacked but not installed, and asks them."""

import glob
import random
import shutil
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.process import ROOT, Child
from support.tls import Authority
from support.wait import PATIENCE, until

PROGRAMS = ROOT / ".cache/redis"
HOST = "127.0.0.1"
# The name by which the sentinels know the primary.
MASTER = "streams"
SLOTS = 16384


def free_port() -> int:
    """Returns a port that nobody uses. The kernel gives it to no client, so a server that comes back finds it free."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(15_000, max(lowest, 20_000))
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port


class Refused(Exception):
    """The server answered with an error."""


class Resp:
    """A connection to a server, and as much of its protocol (RESP2) as tests need."""

    def __init__(self, place: int | str, tls: ssl.SSLContext | None = None):
        """Connects to a port, or to a Unix socket."""
        self._socket = socket.socket(socket.AF_UNIX if isinstance(place, str) else socket.AF_INET)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(place if isinstance(place, str) else (HOST, place))
        if tls:
            self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")
        self._file = self._socket.makefile("rb")

    def ask(self, *words: str | bytes | int) -> Any:
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        bulk = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n" % len(parts) + bulk)
        return self._answer()

    def _answer(self) -> Any:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Refused(rest.decode())
        if kind == b"+":
            return rest.decode()
        number = int(rest)
        if kind == b":":
            return number
        if number < 0:
            return None
        if kind == b"*":
            return [self._answer() for _ in range(number)]
        assert kind == b"$", line
        return self._file.read(number + 2)[:-2]

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> "Resp":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def flat(value: Any) -> bytes:
    """Returns all bytes of an answer, one part after the other."""
    if isinstance(value, list):
        return b"\n".join(map(flat, value))
    return value if isinstance(value, bytes) else str(value).encode()


class Redis:
    """A server, or a sentinel if `settings` has `sentinel`. It keeps its data in memory alone."""

    def __init__(
        self,
        folder: Path,
        kind: str = "redis",
        unix: bool = False,
        authority: Authority | None = None,
        **settings: str | int | list[str],
    ):
        """Starts `kind`: `redis` or `valkey`. With `unix`, it listens on a socket; with `authority`, for TLS alone.
        `settings` are those of its configuration file, a list for several lines."""
        folder.mkdir()
        self.kind, self._folder, self._own, self._authority = kind, folder, settings, authority
        # A path below that of a test would be too long for a socket.
        self._sockets = tempfile.mkdtemp() if unix else ""
        # It is the certificate of the test as well.
        self._files = authority.issue(folder) if authority else None
        if authority and self._files:
            self._own = {
                "tls_cert_file": self._files.cert,
                "tls_key_file": self._files.key,
                "tls_ca_cert_file": authority.file(folder),
                "tls_auth_clients": "no",
                **settings,
            }
        for _ in range(5):
            # Another process may take the port before the server does. Then another one is tried.
            self.port = free_port()
            if self._begin():
                return
        raise AssertionError(f"no free port for {kind}")

    @property
    def url(self) -> str:
        if self._sockets:
            return f"redis+unix://{self._sockets}/socket?db=0"
        return f"redis{'s' if self._authority else ''}://{HOST}:{self.port}"

    def reached(self, **more: Any) -> dict[str, Any]:
        """Returns the section `resume.redis` of Weir's configuration: how to reach this server, and `more`."""
        return {"url": self.url, **more}

    def _lines(self) -> list[str]:
        fields: dict[str, Any] = {"bind": HOST, "dir": self._folder}
        fields |= {"port": 0, "tls_port": self.port} if self._authority else {"port": self.port}
        if self._sockets:
            fields |= {"port": 0, "unixsocket": f"{self._sockets}/socket"}
        if "sentinel" not in self._own:
            fields |= {"save": '""', "repl_diskless_sync_delay": 0}
        lines = []
        for name, value in {**fields, **self._own}.items():
            word = name if name == "user" else name.replace("_", "-")
            lines += [f"{word} {one}" for one in (value if isinstance(value, list) else [value])]
        return [*lines, ""]

    def _begin(self) -> bool:
        program = PROGRAMS / f"usr/bin/{self.kind}-server"
        assert program.exists(), f"no {program}: `tests/run real` installs it"
        file = self._folder / "server.conf"
        file.write_text("\n".join(self._lines()))
        libraries = ":".join(glob.glob(str(PROGRAMS / "usr/lib/*-linux-gnu")))
        flags = ["--sentinel"] if "sentinel" in self._own else []
        self.child = Child([str(program), str(file), *flags], env={"LD_LIBRARY_PATH": libraries})
        if until(f"{self.kind} answers", self._answers) == "yes":
            return True
        said = "\n".join(self.child.lines[-20:])
        assert "in use" in said.lower(), f"{self.kind} does not start:\n{said}"
        return False

    def _answers(self) -> str:
        if self.child.exited() is not None:
            return "no"
        try:
            return "yes" if self.ask("PING") == "PONG" else ""
        except (OSError, Refused):
            return ""

    def start(self) -> None:
        """Starts the server again: at the same place, and empty."""
        assert self._begin(), "another process took the port"

    def connect(self) -> Resp:
        tls = self._authority.client(own=self._files) if self._authority else None
        return Resp(f"{self._sockets}/socket" if self._sockets else self.port, tls)

    def ask(self, *words: str | bytes | int) -> Any:
        """Sends a command as a user who may do everything, and returns the answer."""
        with self.connect() as connection:
            return connection.ask(*words)

    def everything(self) -> dict[str, bytes]:
        """Returns all keys, and all bytes of their values."""
        found = {}
        with self.connect() as connection:
            for key in connection.ask("KEYS", "*"):
                is_stream = connection.ask("TYPE", key) == "stream"
                value = connection.ask("XRANGE", key, "-", "+") if is_stream else connection.ask("GET", key)
                found[key.decode()] = flat(value)
        return found

    def stop(self) -> None:
        """Ends the server."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the server without a word."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        self.child.signal(number)
        self.child.wait(5)

    def pause(self) -> None:
        """Stops the process. The kernel still accepts connections for it."""
        self.child.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.child.signal(signal.SIGCONT)

    def close(self) -> None:
        if self.child.exited() is None:
            self.go_on()
            self.child.signal(signal.SIGKILL)
            self.child.stop()
        print(*self.child.lines, sep="\n")
        if self._sockets:
            shutil.rmtree(self._sockets, ignore_errors=True)


def replica(start: Callable[..., Redis], primary: Redis) -> Redis:
    """Starts a replica, and waits until it has what the primary has."""
    one = start(replicaof=f"{HOST} {primary.port}")
    until("the replica is in step", lambda: b"master_link_status:up" in one.ask("INFO", "replication"))
    return one


def sentinel(start: Callable[..., Redis], primary: Redis, **settings: str | list[str]) -> Redis:
    """Starts a sentinel that promotes a replica of `primary` a second after that has gone. Waits until it knows one."""
    rules = [
        f"monitor {MASTER} {HOST} {primary.port} 1",
        f"down-after-milliseconds {MASTER} 1000",
        f"failover-timeout {MASTER} 10000",
    ]
    one = start(sentinel=rules, **settings)
    known = b"master-link-status\nok"
    until("the sentinel knows the replica", lambda: known in flat(one.ask("SENTINEL", "REPLICAS", MASTER)))
    return one


def cluster(start: Callable[..., Redis], number: int = 3) -> list[Redis]:
    """Starts the nodes of a cluster, and waits until all of them know that it is complete."""
    nodes = []
    for at in range(number):
        bus = free_port()
        node = start(cluster_enabled="yes", cluster_node_timeout=2000, cluster_port=bus)
        node.ask("CLUSTER", "ADDSLOTSRANGE", SLOTS * at // number, SLOTS * (at + 1) // number - 1)
        # They must differ, and would otherwise have to be agreed upon.
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        if nodes:
            nodes[0].ask("CLUSTER", "MEET", HOST, node.port, bus)
        nodes.append(node)

    def is_complete(node: Redis) -> bool:
        said = node.ask("CLUSTER", "INFO")
        return b"cluster_state:ok" in said and b"cluster_known_nodes:%d\r" % number in said

    until("the cluster is complete", lambda: all(map(is_complete, nodes)))
    return nodes


class Switch:
    """An address that leads to a server which can be exchanged, as that of a managed service does; or to none. Each
    answer takes `delay` seconds."""

    def __init__(self, port: int | None, delay: float = 0.0):
        self.delay = delay
        self._target = port
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self.url = f"redis://{HOST}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def lead(self, port: int | None) -> None:
        """Ends all connections. Later ones lead to this port."""
        with self._lock:
            self._target = port
            ended, self._open = self._open, []
        for one in ended:
            _shut(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._target is None:
                    client.close()
                    continue
                try:
                    server = socket.create_connection((HOST, self._target))
                except OSError:
                    client.close()
                    continue
                self._open += [client, server]
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for way in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass, args=way, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_answer and self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        for one in (source, sink):
            _shut(one)

    def close(self) -> None:
        _shut(self._listener)
        self._listener.close()
        self.lead(None)

    def __enter__(self) -> "Switch":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _shut(one: socket.socket) -> None:
    """Ends a connection that another thread may be reading."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
