#!/usr/bin/env python3
"""What a stream costs Weir in memory, descriptors and processor time, as a table for docs/sizing.md.

    .cache/real/bin/python benches/sizing.py [WEIR]

Starts the release build once per row, on 127.0.0.1, with an agent and clients in this process. Memory is the growth of
the process (PSS) from before the first stream until all of them run. The kernel's socket buffers are listed separately,
if `ss` is installed. Events are rare, so the machine is mostly busy opening streams: less than 90 s in all.
`tests/run real` installs what this script needs.
"""

import asyncio
import contextlib
import io
import json
import os
import random
import re
import resource
import selectors
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ["WEIR_BIN"] = str(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/weir").resolve())
sys.path.insert(0, str(ROOT / "tests/real"))

from backends import wire  # noqa: E402
from backends.scripted_h2 import UpstreamH2  # noqa: E402
from support.h2 import H2  # noqa: E402
from support.raw import Raw  # noqa: E402
from support.tls import Authority  # noqa: E402
from support.wait import until  # noqa: E402
from support.weir import Weir, config_for  # noqa: E402

STREAMS = 1000
STALLED = 200
# Streams per HTTP/2 client.
EACH = 100
# Seconds between two events of a quiet stream and of a paced stream, and how long the paced streams are measured.
QUIET, PACED, FOR = 2.0, 0.05, 5.0
# The limits of the chart's sidecar.
SIDECAR = {"memory": "128MiB", "max_streams": STALLED}
# The longest time for the queues of stalled clients to fill: Weir reads floods slowly.
FILL = 25.0
CHAT = "/v1/chat/completions"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ROLE, TOKEN = (event.encode() for event in list(wire.openai(1))[:2])
# Text that fills a queue to its byte limit before it reaches its event limit and events are joined.
LUMP = TOKEN.replace(b"Rain ", b"drizzle " * 640)
# A little below `max_event_bytes`.
LARGE_MIB = 15
LARGES = 8
LARGE = TOKEN.replace(b"Rain ", b"x" * LARGE_MIB * 2**20)


class Agent:
    """An HTTP/1.1 agent. `?every=S` sends a token every S seconds, `large` one large event before them, `?flood` as
    much as is taken. Other paths get a plain response."""

    def __init__(self, tls: ssl.SSLContext | None = None):
        self._loop = asyncio.new_event_loop()
        self._tls = tls
        # Paced events.
        self.sent = 0
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        ready.wait()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def _run(self, ready: threading.Event) -> None:
        # At the end of a row the connections break off: that is no error.
        self._loop.set_exception_handler(lambda *_: None)
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096, ssl=self._tls)
        self.port = self._loop.run_until_complete(start).sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def chunk(data: bytes) -> bytes:
            return b"%x\r\n%s\r\n" % (len(data), data)

        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if length := re.search(rb"content-length: (\d+)", head):
                    await reader.readexactly(int(length[1]))
                every = re.search(rb"\?every=([\d.]+)", head)
                if not every and b"?flood" not in head:
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    continue
                pause = float(every[1]) if every else 0
                writer.write(HEAD + chunk(ROLE))
                if b"&large" in head:
                    writer.write(chunk(LARGE))
                await asyncio.sleep(pause * random.random())
                while not writer.is_closing():
                    writer.write(chunk(TOKEN if every else LUMP))
                    self.sent += 1
                    await writer.drain()
                    await asyncio.sleep(pause)
        writer.close()


def shared(stream) -> None:
    """Serves one stream of an HTTP/2 agent."""
    stream.head()
    stream.data(ROLE)
    while not stream.over.wait(QUIET):
        stream.data(TOKEN)


class Readers:
    """Clients that read everything at once, on one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._over = threading.Event()
        self._ended = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def add(self, client: Raw | H2) -> None:
        client.socket.setblocking(False)
        self._selector.register(client.socket, selectors.EVENT_READ, client)

    def _run(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(0.1):
                with contextlib.suppress(ssl.SSLWantReadError, BlockingIOError):
                    if isinstance(key.data, H2):
                        key.data.receive()
                    elif not key.data.socket.recv(65536):
                        self._selector.unregister(key.data.socket)
                        self._ended += 1

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        assert not self._ended, f"{self._ended} streams that were to stay have ended"


class Case:
    """A Weir process, its clients, and what they cost it."""

    def __init__(self, agent: str, agent_tls: dict | None = None, http2: bool = False, files=None, workers: int = 2, **sections):
        upstream = {"endpoints": [agent], "http2": http2, **({"tls": agent_tls} if agent_tls else {})}
        tls = {"cert": files.cert, "key": files.key} if files else None
        listen = {"address": "127.0.0.1:0", "tls": tls}
        config = config_for(agent, upstreams={"agent": upstream}, listen=[listen], workers=workers, **sections)
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name, "weir.json")
        file.write_text(json.dumps(config))
        self.weir = Weir("--config", str(file))
        self.agent_port = agent.rpartition(":")[2]
        self.clients: list[Raw | H2] = []
        self.readers = Readers()

    def __enter__(self) -> "Case":
        return self

    def __exit__(self, *_) -> None:
        self.readers.close()
        for client in self.clients:
            client.close()
        # Closing prints the log.
        with contextlib.redirect_stdout(io.StringIO()):
            self.weir.close()
        self.folder.cleanup()

    def pss(self, which: str = "Pss") -> int:
        text = Path(f"/proc/{self.weir.child.pid}/smaps_rollup").read_text()
        return int(re.search(rf"^{which}:\s+(\d+) kB", text, re.M)[1]) * 1024

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.weir.child.pid}/fd"))

    def seconds(self) -> float:
        """Returns the processor time, user and kernel."""
        fields = Path(f"/proc/{self.weir.child.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def buffered(self) -> int | None:
        """Returns the bytes that the kernel holds for Weir's sockets: unread, unsent, and reserved room."""
        if not shutil.which("ss"):
            return None
        ends = f"( sport = :{self.weir.address.rpartition(':')[2]} or dport = :{self.agent_port} )"
        text = subprocess.run(["ss", "-tmnH", ends], capture_output=True, text=True, check=True).stdout
        held = re.findall(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+)", text)
        # Reserved room that is lent out counts as negative, which `ss` prints as an unsigned number.
        return sum(int(number) for one in held for number in one if int(number) < 2**31)

    def open(self, number: int, path: str, http2: bool = False, read: bool = True, tls=None) -> None:
        """Opens streams, or sends plain requests whose connections stay open."""
        for _ in range(number // EACH if http2 else number):
            client = H2(self.weir.url, tls) if http2 else Raw(self.weir.url, None if read else 4096, tls)
            for stream in [client.request("POST", path, b"{}") for _ in range(EACH)] if http2 else []:
                stream.read_head()
            if not http2:
                client.post(path)
            self.clients.append(client)
            if read:
                self.readers.add(client)

    def grows(self, number: int, path: str, settle, **how) -> dict:
        """Returns what each stream costs, once `settle` returns."""
        before, descriptors, seconds = self.pss(), self.descriptors(), self.seconds()
        self.open(number, path, **how)
        seconds = self.seconds() - seconds
        settle()
        return {
            "seconds": seconds / number if how.get("read", True) else None,
            "memory": (self.pss() - before) / number,
            "kernel": self.buffered(),
            "number": number,
            "descriptors": (self.descriptors() - descriptors) / number,
        }

    def queued(self) -> float:
        return self.weir.metrics().value("weir_queue_bytes", route="all")

    def stalled(self) -> int:
        """Returns how many streams were ended because their client reads nothing."""
        return int(self.weir.metrics().by("weir_streams_total", "outcome").get("client_stalled", 0))

    def fill(self) -> None:
        """Waits until the queues stop growing, or `FILL` seconds."""
        limit, last, since = time.monotonic() + FILL, 0.0, time.monotonic()
        while time.monotonic() < limit and time.monotonic() - since < 2:
            time.sleep(0.25)
            if (now := self.queued()) > last * 1.01:
                last, since = now, time.monotonic()


def row(name: str, got: dict, note: str = "") -> None:
    kernel = "-" if got["kernel"] is None else f"{got['kernel'] / got['number'] / 1024:.1f}"
    opening = "-" if got["seconds"] is None else f"{got['seconds'] * 1e6:.0f}"
    print(f"| {name} | {got['memory'] / 1024:.1f} | {kernel} | {got['descriptors']:.2f} | {opening} | {note} |", flush=True)


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    began = time.monotonic()
    authority, folder = Authority(), tempfile.TemporaryDirectory()
    files, trust = authority.issue(Path(folder.name)), authority.file(Path(folder.name))
    agent, secret = Agent(), Agent(authority.server(files))
    h2_agent = UpstreamH2(shared)
    tls = authority.client()

    print("| started, one request answered | resident MiB | of it its own | descriptors |\n|---|--:|--:|--:|")
    for workers in (2, 64):
        with Case(agent.url, workers=workers) as case:
            case.open(1, "/plain")
            own, whole = case.pss("Pss_Anon") / 2**20, case.pss() / 2**20
            print(f"| workers: {workers} | {whole:.1f} | {own:.1f} | {case.descriptors()} |", flush=True)
    print("\n| each | KiB | in the kernel's buffers KiB | descriptors | CPU us to open | |\n|---|--:|--:|--:|--:|---|")
    idle, wait = lambda: time.sleep(0.2), lambda: time.sleep(QUIET + 1)
    quiet = f"{CHAT}?every={QUIET}"

    def patient() -> None:
        """Adds the rows in which no client stalls."""
        with Case(agent.url) as case:
            row("idle connection", case.grows(STREAMS, "/plain", idle))
        with Case(agent.url, files=files) as case:
            row("idle connection, TLS", case.grows(STREAMS, "/plain", idle, tls=tls))
        with Case(agent.url) as case:
            row("quiet stream", case.grows(STREAMS, quiet, wait))
        with Case(agent.url, files=files) as case:
            row("quiet stream, client over TLS", case.grows(STREAMS, quiet, wait, tls=tls))
        with Case(secret.url, {"roots": "none", "ca_file": trust}) as case:
            row("quiet stream, agent over TLS", case.grows(STREAMS, quiet, wait))
        with Case(agent.url) as case:
            row("quiet stream, HTTP/2 clients", case.grows(STREAMS, quiet, wait, http2=True), f"{EACH} on a connection")
        with Case(h2_agent.url, http2=True) as case:
            row("quiet stream, HTTP/2 agent", case.grows(STREAMS, quiet, wait), f"{EACH} on a connection")

    # In the meantime, some clients read nothing from a model of ordinary speed.
    with Case(agent.url, defaults={"deadlines": {"client_stall": "5m"}}) as case:
        # One-time costs of the first stalled clients are left out.
        case.open(4, f"{CHAT}?every=0.02", read=False)
        opened = time.monotonic()
        got = case.grows(40, f"{CHAT}?every=0.02", patient, read=False)
        note = f"after {time.monotonic() - opened:.0f} s, {case.queued() / 44 / 1024:.0f} KiB wait in each queue"
        row("stalled client, 50 tokens a second", got, note)
    for size in ("64KiB", "1MiB"):
        stalled = {"queue": {"max_bytes": size}, "deadlines": {"client_stall": "5m"}}
        with Case(agent.url, defaults=stalled) as case:
            got = case.grows(STALLED, f"{CHAT}?flood", case.fill, read=False)
            row(f"stalled client, a flood, queue of {size}", got, f"{case.queued() / STALLED / 1024:.0f} KiB wait in each queue")
    with Case(agent.url, limits=SIDECAR) as case:
        case.open(STALLED, f"{CHAT}?flood", read=False)
        ended = until("memory is short", case.stalled, within=FILL + 15)
        time.sleep(2)
        print(f"\n| limits.memory: {SIDECAR['memory']} | MiB at the peak | |\n|---|--:|---|")
        note = f"{ended} were let go at once, {case.stalled() - ended} more within 2 s"
        print(f"| {STALLED} stalled clients, floods | {case.weir.peak() / 2**20:.0f} | {note} |", flush=True)
    with Case(agent.url, limits=SIDECAR, defaults={"queue": {"max_bytes": "256KiB"}}) as case:
        case.open(STALLED, f"{CHAT}?flood", read=False)
        case.fill()
        note = f"{case.stalled()} were let go"
        if (kernel := case.buffered()) is not None:
            note += f"; {kernel / STALLED / 1024:.0f} KiB each in the kernel's buffers"
        print(f"| the same, queue of 256KiB | {case.weir.peak() / 2**20:.0f} | {note} |", flush=True)
    with Case(agent.url, limits=SIDECAR) as case:
        case.open(LARGES, f"{quiet}&large")
        wait()
        print(f"| {LARGES} clients that read, an event of {LARGE_MIB} MiB each | {case.weir.peak() / 2**20:.0f} | |", flush=True)

    print("\n| 1,000 events a second | of a core |\n|---|--:|")
    ways = {"HTTP/1.1": {}, "TLS": {"tls": tls}, "HTTP/2": {"http2": True}}
    for name, how in ways.items():
        with Case(agent.url, files=files if "tls" in how else None) as case:
            number = EACH
            case.open(number, f"{CHAT}?every={PACED}", **how)
            until("they run", lambda: case.weir.metrics().value("weir_streams_active") == number)
            taken, sent = case.seconds(), agent.sent
            time.sleep(FOR)
            each = (case.seconds() - taken) / (agent.sent - sent)
            print(f"| {name} | {each * 1000 * 100:.1f} % |", flush=True)
    print(f"\n{STREAMS} streams, {STALLED} stalled; {time.monotonic() - began:.0f} s.")
    folder.cleanup()


main()
