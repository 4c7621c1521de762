"""Fixtures: WebSocket agents, real ones and scripted ones. A test module imports those that it needs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backends.scripted_websocket import Agent, Script
from support.backend import Backend
from support.process import python

PORT = r'"port": ?(\d+)'
SERVERS = ("uvicorn", "websockets", "ws")


def starts(name: str) -> Backend:
    """Starts a WebSocket server: Starlette on `uvicorn`, Python's `websockets`, or Node's `ws`."""
    match name:
        case "uvicorn":
            return Backend.uvicorn("websocket_app")
        case "websockets":
            return Backend(python("-m", "backends.websocket_server"), PORT)
        case _:
            return Backend(["node", "node/websocket_server.mjs"], PORT)


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], Backend]]:
    """`servers(name)` returns a server that all tests of a module share."""
    running: dict[str, Backend] = {}

    def one(name: str) -> Backend:
        if name not in running:
            running[name] = starts(name)
        return running[name]

    yield one
    for server in running.values():
        server.close()


@pytest.fixture
def agent() -> Iterator[Callable[..., Agent]]:
    """`agent(script)` starts a scripted WebSocket agent. `path=`, `tls=` and `receive_buffer=` change how it listens."""
    running: list[Agent] = []

    def start(script: Script, **where: Any) -> Agent:
        running.append(Agent(script, **where))
        return running[-1]

    yield start
    for one in running:
        one.close()
