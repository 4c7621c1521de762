"""Tests that Weir parses every HTTP/2 response as its clients do.

Each case is an upstream that sends exactly these frames while another stream runs on the same connection. A malformed
response becomes a 502, or a stream that reports its failure, and never affects another stream.
"""

import json
from typing import NamedTuple

import pytest

from backends.scripted_h2 import Stream, UpstreamH2
from edge import answers_h2
from edge.answers import Bad, Broken, Good, Torn
from edge.answers_h2 import EVENTS, Frames
from support.raw import Closed, Raw
from support.wait import until
from support.weir import Weir, config_for

CASES = list(answers_h2.cases())


class Pair(NamedTuple):
    proxy: Weir
    server: UpstreamH2


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    def script(stream: Stream) -> None:
        path = stream.headers[":path"]
        if path == "/next":
            stream.head("text/plain")
            stream.data("next", last=True)
        elif path == "/other":
            stream.head()
            stream.data(EVENTS)
            stream.gone(60)
        else:
            stream.connection.raw(CASES[int(path[1:])].words(stream.number))

    server = UpstreamH2(script)
    config = config_for(server.url, workers=1)
    config["upstreams"]["agent"] |= {"http2": True}
    file = tmp_path_factory.mktemp("h2") / "weir.yaml"
    file.write_text(json.dumps(config))
    proxy = Weir("--config", str(file))
    yield Pair(proxy, server)
    proxy.close()
    server.close()


def test_there_are_many_cases_and_each_has_a_name():
    assert len({case.name for case in CASES}) == len(CASES) >= 100


@pytest.mark.parametrize("number, case", list(enumerate(CASES)), ids=[case.name for case in CASES])
def test_an_answer(pair, number, case: Frames):
    other = Raw(pair.proxy.url).get("/other")
    other.until_events(1)
    with Raw(pair.proxy.url) as client:
        client.send(case.method, f"/{number}")
        whole = received(client, case)
        match case.outcome:
            case Bad():
                assert whole and client.status == 502
                assert json.loads(client.body)["code"] in ("upstream_error", "upstream_reset")
                assert b"evil" not in client.body and b"evil" not in client.head
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
                assert json.loads(events[-1].data)["error"]["code"] in outcomes
                assert all("hello" in event.data for event in events[:-1])
    asked = next(stream for stream in pair.server.all() if stream.headers[":path"] == f"/{number}")
    if case.lives:
        beside = (stream for stream in asked.connection.streams if stream.headers[":path"] == "/other")
        next(stream for stream in beside if not stream.over.is_set()).data(EVENTS)
        other.until_events(2)
    else:
        other.read_body()
        assert len(other.events()) == 2, "the event, and how it ended"
        until("the connection is closed", asked.connection.closed.is_set)
    other.close()
    with Raw(pair.proxy.url).get("/next") as client:
        assert client.read_body() == b"next"


def received(client: Raw, case: Frames) -> bool:
    """Returns whether a complete response came."""
    try:
        client.read_head()
        if case.method != "HEAD" and client.status not in (204, 304):
            client.read_body()
    except (Closed, ConnectionError):
        return False
    return True
