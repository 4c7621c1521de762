"""Tests against request smuggling: Weir and the server behind it must parse every request the same way.

Each case of the tables is sent byte by byte as written. Of a request that is refused or breaks off, the upstream gets
no part that looks like a complete request, and a request hidden behind it is never served.
"""

import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from backends.scripted import Request, Upstream
from edge import fields, lengths, targets
from edge.case import Case, Cut, Passes, Refused
from support.raw import Closed, Raw
from support.wait import settled, until
from support.weir import Weir

CASES = [case for table in (targets, lengths, fields) for case in table.cases()]


def ok(connection):
    while True:
        request = connection.request(within=600)
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + ("" if request.line.startswith("HEAD") else "ok"))


class Pair(NamedTuple):
    proxy: Weir
    server: Upstream


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """One process and one upstream for all cases, so that leftovers of one case would show in another."""
    server = Upstream(ok)
    proxy = Weir("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", server.url)
    yield Pair(proxy, server)
    seen = b"".join(connection.received for connection in server.connections)
    lines = [request.line for request in server.requests()]
    proxy.close()
    server.close()
    assert not any("smuggled" in line for line in lines), lines
    assert b"\r\n\r\n" in seen


def test_there_are_many_cases_and_each_has_a_name():
    assert len({case.name for case in CASES}) == len(CASES) >= 250


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request(pair, case):
    heads, requests = pair.server.heads(), len(pair.server.requests())
    with Raw(pair.proxy.url) as client:
        answered = say(client, case)
        match case.outcome:
            case Refused(statuses, may_go_on):
                assert answered and client.status in statuses
                if not may_go_on:
                    assert client.until_closed() == b""
                assert pair.server.heads() == heads
            case Cut():
                assert not answered or client.status in (400, 413, 431, 502)
                assert client.until_closed() == b""
                until("it is let go", lambda: all(c.heads == len(c.requests) or c.closed_at for c in pair.server.connections))
                # The beginning of the request may still be on its way.
                settled("what came of it", pair.server.heads, for_s=0.05)
                assert len(pair.server.requests()) == requests
            case Passes() as wanted:
                assert answered and client.status == 200
                assert len(pair.server.requests()) == requests + 1
                check(last(pair.server), wanted)
                if wanted.closes:
                    assert client.until_closed() == b""
                elif wanted.closes is False:
                    assert client.get("/case").status == 200


def say(client: Raw, case: Case) -> bool:
    """Sends the case. Returns whether there is a response."""
    try:
        client.say(case.words)
        if case.leaves:
            client.socket.shutdown(socket.SHUT_WR)
    except ConnectionError:
        # The request was refused before its end.
        pass
    try:
        client.read_head()
        if client.status == 200 and not case.words.startswith(b"HEAD"):
            assert client.read_body() == b"ok"
        elif not isinstance(case.outcome, Passes):
            client.read_body()
    except (Closed, ConnectionError):
        return bool(client.status)
    return True


def last(server: Upstream) -> Request:
    return max(server.requests(), key=lambda request: request.at)


def check(request: Request, wanted: Passes) -> None:
    if wanted.line:
        assert request.line == wanted.line
    body, trailers = unchunked(request)
    if wanted.body is not None:
        assert body == wanted.body
    for name, value in wanted.fields.items():
        kind, _, trailer = name.rpartition(":")
        assert (trailers if kind else request.headers).get(trailer) == value, request


def unchunked(request: Request) -> tuple[bytes, dict[str, str]]:
    """Returns the decoded body and its trailers."""
    if request.headers.get("transfer-encoding") != "chunked":
        return request.body, {}
    body, rest = b"", request.body
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            break
        data, rest = rest[: int(size, 16)], rest[int(size, 16) :]
        assert rest.startswith(b"\r\n")
        body, rest = body + data, rest[2:]
    lines = rest.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines if line)
    return body, {name.lower(): value for name, _, value in pairs}
