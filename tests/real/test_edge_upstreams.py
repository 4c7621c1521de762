"""Tests against response smuggling: Weir and its clients must parse every response the same way.

Each case is an upstream that sends exactly these bytes. An ambiguous response becomes a 502, a broken stream reports
its failure, and bytes after a response never reach the next client.
"""

import json
import threading
from typing import NamedTuple

import pytest

from backends.scripted import Upstream
from edge import answers
from edge.answers import Answer, Bad, Broken, Good, Torn
from support.raw import Closed, Raw
from support.wait import until
from support.weir import Weir

CASES = list(answers.cases())
NEXT = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext"


class Pair(NamedTuple):
    proxy: Weir
    server: Upstream
    words: dict[str, Answer]


@pytest.fixture(scope="module")
def pair():
    """One process and one upstream for all cases, so that leftovers of one response would reach another client."""
    words: dict[str, Answer] = {}

    def script(connection):
        while True:
            path = connection.request(within=600).line.split()[1]
            if path == "/next":
                connection.send(NEXT)
                continue
            case = words[path]
            connection.send(case.words)
            if case.ends == "fin":
                connection.fin()
            elif case.ends == "rst":
                read[path].wait(15)
                connection.reset()

    read = Read()
    server = Upstream(script)
    proxy = Weir("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", server.url)
    server.read = read
    yield Pair(proxy, server, words)
    proxy.close()
    server.close()


class Read(dict):
    """An event per case, set once everything before the reset was read."""

    def __missing__(self, path: str) -> threading.Event:
        return self.setdefault(path, threading.Event())


def test_there_are_many_cases_and_each_has_a_name():
    assert len({case.name for case in CASES}) == len(CASES) >= 150


@pytest.mark.parametrize("number, case", enumerate(CASES), ids=[case.name for case in CASES])
def test_an_answer(pair, number, case):
    path = f"/{number}"
    pair.words[path] = case
    with Raw(pair.proxy.url) as client:
        client.send(case.method, path)
        if isinstance(case.outcome, Bad):
            pair.server.read[path].set()
        whole = received(client, case, pair.server.read[path])
        match case.outcome:
            case Bad():
                assert whole and client.status == 502
                assert json.loads(client.body)["code"] in ("upstream_error", "upstream_reset")
                assert b"evil" not in client.body and b"hello" not in client.body
            case Good() as wanted:
                assert whole and client.status == wanted.status
                assert client.body == wanted.body
                for name, value in wanted.fields.items():
                    assert client.headers.get(name) == value
            case Torn():
                assert not whole or client.status == 502
            case Broken(outcomes):
                assert whole, "an error event, and an end"
                events = client.events()
                assert "hello" in events[0].data
                error = json.loads(events[-1].data)["error"]
                assert error["code"] in outcomes
                assert all("hello" in event.data for event in events[:-1])
    own = next(c for c in pair.server.connections if any(path in r.line.split() for r in c.requests))

    def is_used_again() -> bool:
        with Raw(pair.proxy.url).get("/next") as client:
            assert client.read_body() == b"next"
        return own.requests[-1].line.split()[1] == "/next"

    if isinstance(case.outcome, Good) and case.outcome.kept:
        until("the connection is used again", is_used_again)
    elif not isinstance(case.outcome, Good) or case.outcome.kept is False:
        assert not is_used_again()


def received(client: Raw, case: Answer, read: threading.Event) -> bool:
    """Returns whether a complete response came. Sets `read` as soon as the upstream may break the response off."""
    try:
        client.read_head()
        if isinstance(case.outcome, Broken):
            client.until_events(1)
        read.set()
        if case.method != "HEAD" and client.status not in (204, 304):
            client.read_body()
    except (Closed, ConnectionError):
        return False
    return True
