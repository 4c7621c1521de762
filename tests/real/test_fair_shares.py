"""Tests that clients which take all they can leave requests, descriptors and memory for others."""

import json
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hpack
import pytest

from support.raw import Raw, connect
from support.wait import until
from support.weir import BINARY

MIB = 1024 * 1024
OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
HEADERS, RESET, SETTINGS, WINDOW, CONTINUATION = 1, 3, 4, 8, 9
ENDS, WHOLE = 1, 4


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">IBBI", len(payload), kind, flags, stream)[1:] + payload


class Greedy:
    """An HTTP/2 client that sends requests whatever the server allows, and counts how they are refused."""

    def __init__(self, url: str):
        self.socket, self.host = connect(url)
        self.refused: list[dict[str, str]] = []
        self.reset = 0
        self._next = 1
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS))
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, count: int, **more: str) -> None:
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", self.host), (":path", "/slow"), *more.items()]
        # Without an index, each head is sent as a whole.
        head = b"".join(self._literal(*field) for field in fields)
        pieces = [head[at : at + 16_384] for at in range(0, len(head), 16_384)]
        sent = bytearray()
        for _ in range(count):
            last = len(pieces) - 1
            for at, piece in enumerate(pieces):
                kind = CONTINUATION if at else HEADERS
                flags = (0 if at else ENDS) | (WHOLE if at == last else 0)
                sent += frame(kind, flags, self._next, piece)
            self._next += 2
        self.socket.sendall(sent)

    @staticmethod
    def _literal(name: str, value: str) -> bytes:
        def text(what: str) -> bytes:
            size = len(what)
            if size < 127:
                return bytes([size]) + what.encode()
            size -= 127
            prefix = bytearray([127])
            while size >= 128:
                prefix.append(size % 128 + 128)
                size //= 128
            return bytes(prefix + bytes([size])) + what.encode()

        return b"\x00" + text(name) + text(value)

    def _read(self) -> None:
        decoder, unread = hpack.Decoder(), b""
        try:
            while got := self.socket.recv(65536):
                unread += got
                while len(unread) >= 9 and len(unread) >= (end := 9 + int.from_bytes(unread[:3])):
                    kind, payload, unread = unread[3], unread[9:end], unread[end:]
                    if kind == HEADERS:
                        self.refused.append(dict(decoder.decode(payload)))
                    self.reset += kind == RESET
        except OSError:
            pass

    def close(self) -> None:
        # Without this, the socket stays open as long as the other thread waits for data.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def __enter__(self) -> "Greedy":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


@pytest.fixture
def silent(upstream):
    """An agent that answers `/quick` at once, and other requests never."""

    def script(connection):
        if connection.request().line.split()[1] == "/quick":
            connection.send(OK)
        else:
            connection.gone(within=120)

    return upstream(script)


@pytest.fixture
def limited(weir) -> Callable[..., Any]:
    """Starts Weir with a limit of open files."""

    def start(files: int, url: str, **sections: Any) -> Any:
        return weir(url, under=["sh", "-c", f'ulimit -n {files} && exec "$0" "$@"'], **sections)

    return start


def quick(proxy) -> int:
    """Returns the status that another client gets, which must be within a second."""
    asked = time.monotonic()
    with Raw(proxy.url).get("/quick") as client:
        client.read_body()
        assert time.monotonic() - asked < 1
        return client.status


def is_alive(proxy) -> None:
    asked = time.monotonic()
    assert proxy.ask("/healthz") == (200, "ok\n")
    assert time.monotonic() - asked < 1


def printed(file: Path, files: int) -> int:
    """Returns the bound of the memory that `weir check` prints, in bytes."""
    command = ["sh", "-c", f'ulimit -n {files} && exec "$0" check "$1"', str(BINARY), str(file)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    number, unit = re.search(r"worst case.*: ([\d.]+) (\w+)", text).groups()
    return int(float(number) * 1024 ** ["B", "KiB", "MiB", "GiB"].index(unit))


def settled(proxy, clients: list[Greedy], asked: int) -> None:
    """Waits until each request is in progress or refused."""

    def is_settled() -> bool:
        refused = sum(len(client.refused) + client.reset for client in clients)
        return proxy.metrics().value("weir_requests_active") + refused == asked

    until("each request is in progress or refused", is_settled, within=60)


def test_three_greedy_clients_leave_room_for_a_fourth(limited, silent):
    files = 512
    small = {"max_event_bytes": "1KiB", "queue": {"max_bytes": "1KiB"}}
    proxy = limited(files, silent.url, defaults=small)
    before = proxy.rss()
    with ExitStack() as stack:
        clients = [stack.enter_context(Greedy(proxy.url)) for _ in range(3)]
        for number, client in enumerate(clients, 1):
            client.ask(1_000)
            settled(proxy, clients, number * 1_000)
        metrics = proxy.metrics()
        limit, active = metrics.value("weir_requests_limit"), metrics.value("weir_requests_active")
        assert 100 < active < limit < files / 2
        for refusal in [refusal for client in clients for refusal in client.refused]:
            assert (refusal[":status"], refusal["retry-after"]) == ("503", "1")
        for _ in range(5):
            assert quick(proxy) == 200
            is_alive(proxy)
        assert proxy.rss() - before < printed(proxy.file, files)
        assert metrics.value("process_open_fds") < files - 16
    until("nothing runs", lambda: proxy.metrics().value("weir_requests_active") == 0)
    assert quick(proxy) == 200


def test_as_many_connections_as_fit_leave_the_probe_alone(limited, silent):
    proxy = limited(512, silent.url)
    with ExitStack() as stack:
        clients = [stack.enter_context(Greedy(proxy.url)) for _ in range(3)]
        for number, client in enumerate(clients, 1):
            client.ask(300)
            settled(proxy, clients, number * 300)
        for _ in range(600):
            stack.enter_context(Raw(proxy.url))
        until("connections are refused", lambda: proxy.metrics().value("weir_connections_refused_total") > 0)
        for _ in range(5):
            is_alive(proxy)
            assert proxy.ask("/readyz")[0] == 200
    until("they have left", lambda: proxy.metrics().value("weir_connections_active") == 0)
    assert quick(proxy) == 200
    assert all(line["level"] != "ERROR" for line in proxy.logs())


def test_large_heads_are_not_kept_while_the_agent_works(weir, silent):
    """A thousand plain requests with heads of 60 KB take less than half of that together."""
    small = {"max_event_bytes": "1KiB", "queue": {"max_bytes": "1KiB"}}
    limits = {"max_requests": 1_200, "max_connections": 20, "max_streams": 1}
    proxy = weir(silent.url, limits=limits, defaults=small)
    before = proxy.rss()
    proxy.forget_peak()
    with ExitStack() as stack:
        clients = [stack.enter_context(Greedy(proxy.url)) for _ in range(5)]
        for client in clients:
            client.ask(200, x_large="x" * 60_000)
        settled(proxy, clients, 1_000)
        active = proxy.metrics().value("weir_requests_active")
        assert active > 800
        until("the agent has them", lambda: sum(c.heads for c in silent.connections) >= active, within=60)
        after = proxy.rss() - before
    assert proxy.peak() - before < printed(proxy.file, 20_000)
    assert after < active * 30_000, f"{after / active:.0f} bytes a request"


def test_check_prints_how_the_files_are_divided(tmp_path, silent):
    file = tmp_path / "weir.yaml"
    file.write_text(json.dumps({"workers": 2, "upstreams": {"a": {"endpoints": [silent.url]}}}))
    command = ["sh", "-c", 'ulimit -n 512 && exec "$0" check "$1"', str(BINARY), str(file)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "# open files: 512; 229 for clients, 229 for connections to agents, the others are kept back\n" in text
    assert "# at most 229 connections, 201 requests and 201 streams at one time; 20 calls may outlive their client\n" in text
