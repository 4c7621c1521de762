"""A raw-socket WebSocket agent driven by a script, for agents that misbehave on purpose.

A script is a function that gets each connection with its request already read. Unlike `scripted`, nothing is read unless
the script asks for it, so that an agent can stop reading.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.raw import Closed
from support.wait import PATIENCE, until
from support.websocket import BINARY, CLOSE, PING, PONG, TEXT, Wire, accept_for, parsed


class Peer(Wire):
    """The agent's end of one connection."""

    def __init__(self, accepted: Any):
        super().__init__(accepted)
        accepted.settimeout(PATIENCE)
        self.line, self.headers = parsed(self.head())

    def accepts(self, *fields: str) -> str:
        """Returns the answer that accepts the request."""
        usual = ["connection: Upgrade", "upgrade: websocket"]
        usual += [f"sec-websocket-accept: {accept_for(self.headers['sec-websocket-key'])}"]
        return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *usual, *fields, "", ""])

    def accept(self, *fields: str) -> "Peer":
        self.say(self.accepts(*fields))
        return self

    def answer(self, status: str = "200 OK", body: str = "ok") -> None:
        """Answers as an agent that knows no WebSocket."""
        self.say(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}")


Script = Callable[[Peer], None]


class Agent:
    """A listener that runs `script` for each connection: TCP, TLS over it, or a Unix socket at `path`."""

    def __init__(
        self,
        script: Script,
        path: Path | None = None,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
    ):
        self.peers: list[Peer] = []
        self.accepted = 0
        self.errors: list[BaseException] = []
        self._script, self._tls = script, tls
        if path:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self.url = f"unix:{path}"
        else:
            self._listener = socket.socket()
            if receive_buffer:
                # Accepted connections inherit it.
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._listener.bind(("127.0.0.1", 0))
            self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._listener.listen(1024)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if accepted.family == socket.AF_INET:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._run, args=(accepted,), daemon=True).start()

    def _run(self, accepted: socket.socket) -> None:
        try:
            connection = self._tls.wrap_socket(accepted, server_side=True) if self._tls else accepted
            with Peer(connection) as peer:
                self.peers.append(peer)
                self._script(peer)
        except (Closed, OSError):
            # Weir has left, or was never there for long, or the test is over.
            pass
        except BaseException as error:
            self.errors.append(error)

    def peer(self, number: int = 0) -> Peer:
        """Returns this connection once its request has arrived."""
        return until(f"connection {number} of the agent", lambda: self.peers[number : number + 1])[0]

    def close(self) -> None:
        try:
            # The accepting thread would keep the listener open.
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        for peer in self.peers:
            peer.close()
        assert not self.errors, self.errors


def echo(peer: Peer) -> None:
    """Accepts, and answers every message, ping and close frame with the same."""
    if "sec-websocket-key" not in peer.headers:
        return peer.answer()
    peer.accept()
    while True:
        got = peer.frame()
        if got.opcode in (TEXT, BINARY):
            peer.send(got.opcode, got.payload)
        elif got.opcode == PING:
            peer.send(PONG, got.payload)
        elif got.opcode == CLOSE:
            peer.send(CLOSE, got.payload)
            return
