"""Clients that talk over a WebSocket in given steps: `websockets` in Python, `ws` in Node, and Chromium.

A step is a list. `["text", "hello"]`, `["letters", 80000]` (which compress well), `["binary", 1000]` (which do not) and
`["fragments", ["a", "b"]]` send a message and expect it back. `["say", "hello"]` sends one, `["take", 2]` receives two.
`["close", 1000, "bye"]` closes, `["closed"]` waits until the other end does. Pages send no fragments of their own.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from support.process import REAL
from support.wait import PATIENCE

ALL = ("python", "ws", "chromium")
Step = Sequence[Any]


@dataclass
class Talk:
    """What a client saw."""

    opened: bool = False
    protocol: str = ""
    # Whether permessage-deflate was negotiated.
    deflate: bool = False
    # For each message that was to come back, whether it came back unchanged.
    echoed: list[bool] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    # Of the close frame that arrived; 1006 if none did.
    code: int | None = None
    reason: str = ""


def address(url: str, path: str) -> str:
    """Returns the address of a WebSocket at an `http` or `https` server."""
    return url.replace("http", "ws", 1) + path


def opened(url: str, path: str = "/echo", **options: Any) -> ClientConnection:
    """Opens a WebSocket with the `websockets` package, without a limit of its own and without pings."""
    usual = {"proxy": None, "max_size": None, "ping_interval": None, "open_timeout": PATIENCE}
    return connect(address(url, path), legacy=True, **{**usual, **options})


def talk(
    client: str,
    url: str,
    *steps: Step,
    path: str = "/echo",
    protocols: Sequence[str] = (),
    ca: str | None = None,
    **options: Any,
) -> Talk:
    """Lets `client` talk in these steps. `options` are for Python's client, `ca` is the file of an authority."""
    if client == "python":
        return _python(url, path, steps, protocols, **options)
    task = {"client": client, "url": address(url, path), "page": f"{url}/page"}
    task |= {"steps": steps, "protocols": protocols, "ca": ca}
    command = ["node", "websocket.mjs", json.dumps(task)]
    done = subprocess.run(command, cwd=REAL / "node", capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return Talk(**json.loads(done.stdout))


def _python(url: str, path: str, steps: Sequence[Step], protocols: Sequence[str], **options: Any) -> Talk:
    seen = Talk()
    try:
        socket = opened(url, path, subprotocols=list(protocols) or None, **options)
    except InvalidStatus:
        seen.code = 1006
        return seen
    seen.opened, seen.protocol = True, socket.subprotocol or ""
    seen.deflate = any(one.name == "permessage-deflate" for one in socket.protocol.extensions)
    try:
        for step in steps:
            _step(socket, seen, *step)
    except ConnectionClosed:
        pass
    socket.close()
    seen.code, seen.reason = socket.close_code, socket.close_reason or ""
    return seen


def _message(what: str, value: Any) -> Any:
    if what == "letters":
        return "abcdefgh" * (value // 8)
    return os.urandom(value) if what == "binary" else value


def _step(socket: ClientConnection, seen: Talk, what: str, value: Any = None, reason: str = "") -> None:
    match what:
        case "text" | "letters" | "binary" | "fragments":
            message = _message(what, value)
            socket.send(message)
            whole = "".join(message) if what == "fragments" else message
            seen.echoed.append(socket.recv(PATIENCE) == whole)
        case "say":
            socket.send(value)
        case "take":
            seen.messages += [socket.recv(PATIENCE) for _ in range(value)]
        case "close":
            socket.close(value, reason)
        case "closed":
            socket.recv(PATIENCE)
            raise AssertionError("a message where the end was expected")


def realtime_node(base: str, ca: Path | str) -> dict[str, Any]:
    """Speaks with a voice model through the openai package for Node, which takes only TLS."""
    command = ["node", "realtime.mjs", json.dumps({"base": base, "ca": str(ca)})]
    done = subprocess.run(command, cwd=REAL / "node", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
