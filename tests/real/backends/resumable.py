"""An agent for clients that come back: one answer in the dialect of each path, runs that are counted, a page."""

import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from backends import wire
from backends.scripted import Connection, Gone, Request

PAGE = "<!doctype html><meta charset=utf-8><title>agent</title>"


def browser(count: int | None) -> Iterator[str]:
    """Yields events of an agent's own. Clients that read `retry` come back soon, so that tests are fast."""
    first, *others = wire.convention(count)
    yield f"retry: 20\n{first}"
    yield from others


def langgraph(count: int | None) -> Iterator[str]:
    yield from wire.langgraph(count)
    yield "event: end\r\ndata: null\r\n\r\n"


DIALECTS: dict[str, Callable[[int | None], Iterator[str]]] = {
    "/agent": browser,
    "/api/chat": wire.vercel_ui,
    "/runs/stream": langgraph,
    "/v1/chat/completions": wire.openai,
    "/v1/messages": wire.anthropic,
    "/v1/responses": wire.responses,
}


class Run(NamedTuple):
    """One run, and the connection that asked for it."""

    request: Request
    connection: Connection


class Agent:
    """A script for `upstream`. Each run sends `count` words, one event every `pace` seconds, and waits before event
    `hold` until `go` is set, which a POST to `/_open` does, too."""

    def __init__(self, count: int = 6, pace: float = 0.0, hold: int | None = None):
        self.count, self.pace, self.hold = count, pace, hold
        self.go = threading.Event()
        self.finished = threading.Event()
        self.runs: list[Run] = []

    def events(self, path: str) -> list[str]:
        """Returns the events of a whole answer."""
        return list(DIALECTS[path](self.count))

    def __call__(self, connection: Connection) -> None:
        while True:
            request = connection.request(within=60)
            path = request.line.split()[1].partition("?")[0]
            if path in DIALECTS:
                self._run(connection, request, path)
            elif path == "/_open":
                self.go.set()
                self._page(connection, "ok")
            elif path == "/page":
                self._page(connection, PAGE)
            else:
                connection.send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    def _run(self, connection: Connection, request: Request, path: str) -> None:
        self.runs.append(Run(request, connection))
        fields = ["x-vercel-ai-ui-message-stream: v1"] if path == "/api/chat" else []
        connection.head("text/event-stream", "200 OK", *fields)
        for number, event in enumerate(self.events(path)):
            if number == self.hold:
                self._wait(connection)
            if connection._closed.wait(self.pace):
                raise Gone
            connection.chunk(event)
        connection.end()
        self.finished.set()

    def _wait(self, connection: Connection) -> None:
        while not self.go.wait(0.005):
            if connection._closed.is_set():
                raise Gone

    def _page(self, connection: Connection, text: str) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(text)}\r\n\r\n"
        connection.send(head + text)
