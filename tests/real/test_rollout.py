"""Tests that no stream is cut without an error event while instances are replaced.

Behind a plain TCP balancer, which does not understand HTTP, one instance replaces another again and again, with 50 live
streams each time. `tests/run rollouts` does it a hundred times; `WEIR_ROLLOUTS` sets the number, 3 by default.
"""

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

from support.raw import Raw
from support.wait import until

ROLLOUTS = int(os.environ.get("WEIR_ROLLOUTS", "3"))
STREAMS = 50


class Balancer:
    """A TCP balancer. It forwards bytes both ways to the target that was current when the connection came."""

    def __init__(self) -> None:
        self.target = ("127.0.0.1", 0)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # A failure on one side is passed to the other.
            for one in (source, sink):
                one.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def test_no_stream_is_cut_without_a_word(weir, fastapi, name):
    """Half of the streams end by themselves within the limit. The others get an error event."""
    balancer = Balancer()

    def start():
        proxy = weir(fastapi.url, drain={"delay": "0s", "limit": "1s"})
        host, _, port = proxy.address.rpartition(":")
        balancer.target = (host, int(port))
        return proxy

    proxy = start()
    try:
        for _ in range(ROLLOUTS):
            runs = [name() for _ in range(STREAMS)]
            clients = [Raw(balancer.url) for _ in runs]
            for client, run in zip(clients, runs):
                client.post(f"/v1/chat/completions?run={run}&hold=3").until_events(3)
            old, proxy = proxy, start()
            old.terminate()
            with Raw(balancer.url).post(f"/v1/chat/completions?run={name()}") as fresh:
                assert fresh.read_body().endswith(b"data: [DONE]\n\n"), "the new one serves"
            for run in runs[::2]:
                fastapi.open(run)
            with ThreadPoolExecutor(STREAMS) as pool:
                bodies = list(pool.map(Raw.read_body, clients))
            for client, body in zip(clients[::2], bodies[::2]):
                assert body.endswith(b"data: [DONE]\n\n") and b'"error"' not in body
            for client, body in zip(clients[1::2], bodies[1::2]):
                assert client.events()[-1].json()["error"]["code"] == "drained"
            assert old.stopped(within=8) == 0
            for client in clients:
                client.close()
    finally:
        balancer.close()
    until("nothing runs", lambda: proxy.metrics().value("weir_streams_active") == 0)
