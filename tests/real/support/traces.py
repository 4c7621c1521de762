"""A collector, Weir, and an agent: where the tests of spans begin."""

import subprocess

import pytest

from backends import wire
from support.collector import Collector
from support.raw import Closed, Raw
from support.weir import BINARY

VERSION = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
NEEDS_EXPORT = pytest.mark.skipif(
    "otel" not in VERSION, reason="this build has no trace export (feature otel)"
)
CHAT = "/v1/chat/completions"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OPENAI = list(wire.openai(6))


@pytest.fixture
def collector():
    """`collector()` starts a collector. Arguments make it misbehave."""
    running = []

    def start(**how):
        running.append(Collector(**how))
        return running[-1]

    yield start
    for one in running:
        one.close()


def answers(*pieces, end=True, content_type="text/event-stream", status="200 OK"):
    def script(connection):
        while True:
            connection.request()
            connection.head(content_type, status)
            for piece in pieces:
                connection.chunk(piece)
            if not end:
                return connection.fin()
            connection.end()

    return script


def whole(url, path=CHAT, method="POST", **headers):
    """Sends one request and reads its whole response, however it ends."""
    with Raw(url) as client:
        client.send(method, path, b'{"stream":true}', content_type="application/json", **headers)
        client.read_head()
        try:
            client.read_body()
        except (Closed, ConnectionError):
            pass
        return client


@pytest.fixture
def setting(weir, upstream, collector):
    """Starts an agent that runs `script`, a collector, and Weir between them."""

    def start(script=None, traces=None, how=None, **sections):
        server, receiver = upstream(script or answers(*OPENAI)), collector(**(how or {}))
        proxy = weir(server.url, traces={"endpoint": receiver.url, **(traces or {})}, **sections)
        return server, receiver, proxy

    return start
