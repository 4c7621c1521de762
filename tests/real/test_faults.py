"""Tests what clients and metrics see when a process dies or the log cannot be written, and what the next client
gets."""

import fcntl
import os
import signal
import socket as sockets
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backends.scripted import Upstream
from support.backend import Backend
from support.raw import Raw
from support.wait import settled, until
from support.weir import BINARY

STREAMS = 50


def descriptors(proxy) -> int:
    return len(os.listdir(f"/proc/{proxy.child.pid}/fd"))


def streams(proxy, backend, names, number: int) -> list[Raw]:
    """Opens `number` streams and reads their first events."""
    clients = []
    for _ in range(number):
        client = Raw(proxy.url)
        client.post(f"/v1/chat/completions?run={names()}&hold=3").until_events(3)
        clients.append(client)
    return clients


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_an_agent_that_dies_ends_each_of_its_streams_once(weir, name, sign):
    backend = Backend.uvicorn("fastapi_app")
    try:
        proxy = weir(backend.url)
        with Raw(proxy.url).post(f"/v1/chat/completions?run={name()}") as client:
            client.read_body()
        base = descriptors(proxy)
        clients = streams(proxy, backend, name, STREAMS)
        backend.child.signal(sign)
        if sign == signal.SIGTERM:
            # Like uvicorn, it waits for its streams until the second signal.
            backend.child.signal(signal.SIGTERM)
        with ThreadPoolExecutor(STREAMS) as pool:
            bodies = list(pool.map(Raw.read_body, clients))
        errors = [client.events()[-1].json()["error"]["code"] for client in clients]
        assert set(errors) <= {"upstream_reset", "truncated"}, errors
        assert all(body.count(b'"error"') == 1 and b"[DONE]" not in body for body in bodies)
        until("no stream", lambda: proxy.metrics().value("weir_streams_active") == 0)
        ended = proxy.metrics().by("weir_streams_total", "outcome")
        assert sum(ended.get(code, 0) for code in set(errors)) == STREAMS
        with Raw(proxy.url).post("/v1/chat/completions") as late:
            assert late.status == 502
        for client in clients:
            client.close()
        until("nothing is left open", lambda: descriptors(proxy) <= base)
    finally:
        backend.close()


def test_an_agent_that_restarts_under_200_streams_serves_the_next(weir, upstream):
    """The agent's connections break, and a moment later a new process listens on its address."""

    def endless(connection):
        connection.request()
        connection.head()
        connection.chunk('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')
        connection.gone(within=60)

    def whole(connection):
        while True:
            connection.request(within=60)
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    first = upstream(endless)
    proxy = weir(first.url)
    # Workers may still be opening descriptors.
    base = settled("descriptors", lambda: descriptors(proxy))
    clients = [Raw(proxy.url).post("/v1/chat/completions") for _ in range(200)]
    for client in clients:
        client.until_events(1)
    for connection in first.connections:
        connection.reset()
    first.close()
    second = Upstream(whole, port=first.port)
    try:
        for client in clients:
            client.read_body()
            assert client.events()[-1].json()["error"]["code"] == "upstream_reset"
            client.close()
        with Raw(proxy.url).get("/") as client:
            assert client.read_body() == b"ok"
        proxy.outcomes(upstream_reset=200)
        # One connection to the agent is kept in the pool.
        until("nothing is left open", lambda: descriptors(proxy) <= base + 1)
    finally:
        second.close()


def accepts(path) -> bool:
    """Whether something listens on a Unix socket: its file is there a moment earlier."""
    with sockets.socket(sockets.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.mark.parametrize("log", ["2>&-", "2>/dev/full", "2>&1 | head -1"], ids=["closed", "full", "gone"])
def test_a_log_that_cannot_be_written_hurts_no_stream(fastapi, tmp_path, name, log):
    socket = tmp_path / "weir.sock"
    weir = f"'{BINARY}' serve --listen unix:{socket} --admin off --log-format json --upstream {fastapi.url}"
    shell = subprocess.Popen(["sh", "-c", f"echo $$ >{tmp_path}/pid; exec {weir} {log}" if "|" not in log else f"{weir} {log}"])
    try:
        until("it listens", lambda: accepts(socket))
        for _ in range(3):
            with Raw(f"unix:{socket}").post(f"/v1/chat/completions?run={name()}") as client:
                assert client.read_body().endswith(b"data: [DONE]\n\n")
        with Raw(f"unix:{socket}").say("nonsense\r\n\r\n") as client:
            client.until_closed()
        with Raw(f"unix:{socket}").post(f"/v1/chat/completions?run={name()}") as client:
            assert client.read_body().endswith(b"data: [DONE]\n\n")
    finally:
        for pid in pids_of(socket):
            os.kill(pid, signal.SIGTERM)
        code = shell.wait(15)
    if "|" not in log:
        assert code == 0


def test_a_log_that_nobody_reads_holds_up_nobody(fastapi, tmp_path, name):
    """Its reader lives, but takes nothing: the pipe holds a few lines, and the rest waits or is dropped."""
    socket, admin = tmp_path / "weir.sock", tmp_path / "admin.sock"
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    command = [BINARY, "serve", "--listen", f"unix:{socket}", "--admin", f"unix:{admin}", "--upstream", fastapi.url]
    weir = subprocess.Popen([*command, "--log-format", "json"], stderr=writer)
    os.close(writer)
    try:
        until("it listens", lambda: accepts(socket))
        for _ in range(40):
            with Raw(f"unix:{socket}").post(f"/v1/chat/completions?run={name()}") as client:
                assert client.read_body().endswith(b"data: [DONE]\n\n")
        with Raw(f"unix:{admin}").get("/metrics") as client:
            assert b"weir_log_lines_dropped_total 0\n" in client.read_body()
        began = time.monotonic()
        weir.send_signal(signal.SIGTERM)
        assert weir.wait(15) == 0
        assert time.monotonic() - began < 12, "what cannot be written is given up"
    finally:
        weir.kill()
        os.close(reader)


def pids_of(socket: Path) -> list[int]:
    """Returns the processes that were started to listen on this socket."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"unix:{socket}".encode() in words and words[0] == str(BINARY).encode():
                found.append(int(entry.name))
    return found
