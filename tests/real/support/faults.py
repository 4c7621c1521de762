"""Streams that run while something around them fails: they continue, or end with one error of the right kind; new
requests get the documented status; the metrics agree; and after the fault nothing is left of it.
"""

import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.h2 import Stream
from support.raw import Raw
from support.wait import settled, until
from support.weir import Weir

CHAT = "/v1/chat/completions"
DONE = "data: [DONE]\n\n"
# Each stream is identified by its path.
PATHS = [f"{CHAT}?{number}" for number in range(20)]
STREAMS = 5


def token(number: int) -> str:
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":"{number} "}}}}]}}\n\n'


class Agent:
    """An agent whose streams count until `over` is set. A plain request is answered with the agent's name."""

    def __init__(self, upstream, name: str = "agent", every: float = 0.02, **where):
        self.over = threading.Event()
        # The number of events sent, by the path of the stream.
        self.sent: dict[str, int] = defaultdict(int)
        self._name, self._every = name, every
        self.server = upstream(self._script, **where)

    def _script(self, connection) -> None:
        while True:
            path = connection.request(within=60).line.split()[1]
            if not path.startswith(CHAT):
                connection.send(f"HTTP/1.1 200 OK\r\ncontent-length: {len(self._name)}\r\n\r\n{self._name}")
                continue
            connection.head()
            while not self.over.wait(self._every):
                connection.chunk(token(self.sent[path]))
                self.sent[path] += 1
            connection.chunk(DONE)
            connection.end()


class Running:
    """Running streams, the first of `PATHS`, and the events that each must have received in the end."""

    def __init__(self, agent: Agent, clients: Iterable[Raw | Stream]):
        self.agent = agent
        self.streams = dict(zip(PATHS, clients))
        self.go_on()

    def go_on(self) -> None:
        """Checks that events sent from now on still arrive."""
        marks = {path: token(self.agent.sent[path] + 1) for path in self.streams}
        for path, client in self.streams.items():
            client.until_bytes(marks[path].encode())

    def finish(self) -> None:
        """Checks that each stream got every event, in order, and nothing else."""
        self.agent.over.set()
        for path, client in self.streams.items():
            assert client.read_body().decode() == "".join(map(token, range(self.agent.sent[path]))) + DONE
            if isinstance(client, Raw):
                client.close()


def chat(proxy: Weir, path: str = CHAT) -> Raw:
    return Raw(proxy.url).post(path)


def chats(proxy: Weir) -> list[Raw]:
    return [chat(proxy, path) for path in PATHS[:STREAMS]]


def plain(proxy: Weir) -> bytes:
    """Sends a new request, over a new connection to the agent, and returns the response."""
    with Raw(proxy.url).get("/plain") as client:
        return client.read_body()


def refused(proxy: Weir, status: int, code: str) -> str:
    """Checks that a new stream gets this status and error. Returns what the log says about it."""
    before = len(proxy.logs())
    with chat(proxy) as client:
        assert client.status == status
        assert json.loads(client.read_body())["error"]["code"] == code
    return str(until("it is logged", lambda: [line for line in proxy.logs()[before:] if line.get("code") == code]))


def errors(proxy: Weir) -> dict[str, float]:
    return proxy.metrics().by("weir_upstream_errors_total", "reason")


@contextmanager
def nothing_is_left(proxy: Weir, kept: int = 0) -> Iterator[None]:
    """Checks that no stream, client or descriptor is left over, except for `kept` pooled connections to agents."""

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{proxy.child.pid}/fd"))

    # The workers may still be starting.
    base = settled("descriptors", descriptors) + kept
    yield
    until("no stream", lambda: proxy.metrics().value("weir_streams_active") == 0)
    until("no client", lambda: proxy.metrics().value("weir_connections_active") == 0)
    until(f"no more than {base} descriptors", lambda: descriptors() <= base)


def only(url: str, **settings) -> dict:
    """Returns an upstream without pooled connections, so that each request opens its own."""
    return {"agent": {"endpoints": [url], "pool_idle": "0s", **settings}}


def started_by(line: str, folder: Path, monkeypatch) -> None:
    """Makes this shell line start Weir from here on. The process id stays the same."""
    script = folder / "weir.sh"
    script.write_text(f"#!/bin/sh\nexec {line}\n")
    script.chmod(0o755)
    monkeypatch.setattr("support.weir.BINARY", script)


def replace(file: Path, text: str) -> None:
    """Replaces a file atomically, so that no reader sees half of it."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(file)
