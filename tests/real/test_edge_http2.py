"""Tests that Weir and the HTTP/1.1 server behind it parse every HTTP/2 request the same way.

Each case is a connection that sends exactly these frames. A malformed request ends its stream or the connection, and
the upstream gets no part of it that looks like a complete request.
"""

from typing import NamedTuple

import pytest

from backends.scripted import Upstream
from edge import frames
from edge.case import Passes as case_of
from edge.frames import ACK, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, Broken, Ends, Passes, Refused, Talk
from hpack import Decoder
from support.raw import Raw
from support.wait import until
from support.weir import Weir
from test_edge_clients import check, last, ok

CASES = list(frames.cases())


class Pair(NamedTuple):
    proxy: Weir
    server: Upstream


@pytest.fixture(scope="module")
def pair():
    server = Upstream(ok)
    proxy = Weir("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", server.url)
    yield Pair(proxy, server)
    lines = [request.line for request in server.requests()]
    proxy.close()
    server.close()
    assert not any("smuggled" in line for line in lines), lines


class Heard(NamedTuple):
    """What ended the wait for a stream: its status, its reset, a GOAWAY with this code, or nothing."""

    status: int = 0
    reset: bool = False
    ended: bool = False
    # The code of the GOAWAY; -1 without one.
    code: int = -1


def listen(client: Raw, stream: int) -> Heard:
    """Reads frames until one concerns the stream or the connection. Acknowledges SETTINGS."""
    decoder, unread = Decoder(), b""
    while True:
        while len(unread) >= 9 and len(unread) >= 9 + int.from_bytes(unread[:3]):
            end = 9 + int.from_bytes(unread[:3])
            kind, flags, number, payload = unread[3], unread[4], int.from_bytes(unread[5:9]), unread[9:end]
            unread = unread[end:]
            if kind == GOAWAY:
                return Heard(ended=True, code=int.from_bytes(payload[4:8]))
            if kind == RST_STREAM and number == stream:
                return Heard(reset=True)
            if kind == HEADERS and number == stream:
                return Heard(status=int(dict(decoder.decode(payload))[":status"]))
            if kind == SETTINGS and not flags & ACK:
                try:
                    client.socket.sendall(frames.frame(SETTINGS, ACK, 0))
                except ConnectionError:
                    pass
        try:
            got = client.socket.recv(65536)
        except ConnectionError:
            got = b""
        if not got:
            return Heard(ended=True)
        unread += got


def test_there_are_many_cases_and_each_has_a_name():
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_connection(pair, case: Talk):
    before = len(pair.server.requests())
    heads = pair.server.heads()
    with Raw(pair.proxy.url) as client:
        try:
            client.socket.sendall(case.words if case.bare else PREFACE + frames.settings() + case.words)
        except ConnectionError:
            # The request was refused before its end.
            pass
        heard = listen(client, case.stream)
        while isinstance(case.outcome, Ends) and heard.status == 200:
            heard = listen(client, case.stream)
        match case.outcome:
            case Refused():
                assert heard.reset or heard.status in (400, 405, 417, 431, 501) or (heard.ended and heard.code != 0), heard
                assert pair.server.heads() == heads
            case Ends():
                assert heard.ended and heard.code != 0, heard
            case Broken():
                assert heard.reset or heard.status in (400, 502) or (heard.ended and heard.code != 0), heard
            case Passes(fields, body):
                assert heard.status == 200, heard
                check(last(pair.server), case_of(fields=fields, body=body))
    if isinstance(case.outcome, Broken):
        done = lambda: all(c.heads == len(c.requests) or c.closed_at for c in list(pair.server.connections))
        until("the broken request is let go", done)
        assert len(pair.server.requests()) == before
    if not isinstance(case.outcome, Passes):
        with Raw(pair.proxy.url).get("/next") as other:
            assert other.read_body() == b"ok", "others are served"

