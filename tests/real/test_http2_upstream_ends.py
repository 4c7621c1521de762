"""Tests how streams over `http2: true` end: by their client, by the agent, or with their connection."""

import threading
import time

import pytest
from h2.errors import ErrorCodes

from backends import wire
from support.http2_upstream import agent, over_h2
from support.raw import Closed, Raw
from support.wait import until

CHAT = "/v1/chat/completions"
OPENAI = list(wire.openai(6))
TOKEN = OPENAI[1]


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("phase", ["before the head", "in silence", "while tokens flow", "in a plain answer"])
def test_a_client_that_leaves_ends_its_stream_and_no_other(weir, agent, phase, how):
    def script(stream):
        if phase != "before the head" or "other" in stream.headers[":path"]:
            stream.head("application/json" if "plain" in phase else "text/event-stream")
            stream.data(TOKEN)
        while phase == "while tokens flow" and not stream.over.wait(0.01):
            stream.data(TOKEN)
        stream.gone()

    server = agent(script)
    proxy = weir(config=over_h2(server.url))
    other = Raw(proxy.url).post(f"{CHAT}?other=1")
    other.until_bytes(TOKEN.encode())
    client = Raw(proxy.url)
    client.send("POST", CHAT, b'{"stream":true}')
    until("the request", lambda: len(server.all()) == 2)
    if phase != "before the head":
        client.read_head()
        client.until_bytes(TOKEN.encode())
    left = time.monotonic()
    client.reset() if how == "reset" else client.close()
    mine = server.all()[1]
    assert mine.gone() - left < 1
    assert mine.reset_code == ErrorCodes.CANCEL
    assert not server.all()[0].over.is_set() and server.open() == 1
    server.all()[0].data(OPENAI[2])
    other.until_bytes(OPENAI[2].encode())
    other.close()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("length", ["5", "0", None], ids=["length", "nothing", "unknown"])
def test_an_end_in_a_frame_of_its_own_is_waited_for(weir, agent, method, length):
    """Otherwise agents would see their client leave although it has everything."""

    def script(stream):
        known = [("content-length", length)] if length else []
        stream.fields((":status", "200"), ("content-type", "text/plain"), *known)
        if stream.headers[":method"] == "GET" and length != "0":
            stream.data("hello")
        # Less than the time that Weir waits.
        stream.over.wait(0.1)
        stream.end()

    server = agent(script)
    proxy = weir(config=over_h2(server.url))
    with Raw(proxy.url) as client:
        for _ in range(2):
            client.send(method, "/").read_head()
            if method == "GET":
                assert client.read_body() == (b"" if length == "0" else b"hello")
    until("both ends", lambda: server.connections[0].idle())
    assert [stream.reset_code for stream in server.all()] == [None, None]
    assert len(server.connections) == 1


@pytest.mark.parametrize("how", ["goaway", "refused"])
@pytest.mark.parametrize("body", [b"", b'{"a":1}', b"x" * 60_000], ids=["none", "small", "large"])
def test_a_request_that_the_agent_has_not_looked_at_goes_elsewhere_whole(weir, agent, how, body):
    def script(stream):
        first = stream.connection is server.connections[0]
        if stream.number == 1 and first:
            stream.head("text/plain")
            stream.data("ok", last=True)
        elif first:
            assert len(body) < 1000 or stream.complete.wait(10)
            if how == "goaway":
                stream.connection.goaway(1)
            else:
                stream.reset(ErrorCodes.REFUSED_STREAM)
        else:
            assert stream.complete.wait(10)
            stream.head("text/plain")
            stream.data(stream.body, last=True)

    server = agent(script)
    proxy = weir(config=over_h2(server.url))
    with Raw(proxy.url) as client:
        assert client.get("/").read_body() == b"ok"
        client.post("/", body)
        assert (client.status, client.read_body()) == (200, body)
    assert len(server.connections) == 2


def test_a_connection_that_says_goodbye_ends_its_streams_first(weir, agent):
    go = threading.Event()

    def script(stream):
        stream.head()
        for event in OPENAI[:3]:
            stream.data(event)
        assert go.wait(10)
        for event in OPENAI[3:]:
            stream.data(event)
        stream.end()

    server = agent(script)
    proxy = weir(config=over_h2(server.url))
    client = Raw(proxy.url).post(CHAT)
    client.until_events(3)
    server.connections[0].goaway(1)
    with Raw(proxy.url) as another:
        another.send("POST", CHAT, b"{}")
        until("a new connection", lambda: len(server.connections) == 2)
        go.set()
        assert another.read_head().read_body() == "".join(OPENAI).encode()
    assert client.read_body() == "".join(OPENAI).encode()
    proxy.outcomes(finished=2)


BREAKS = {
    "killed": (lambda stream: stream.connection.close(), "truncated"),
    "reset": (lambda stream: stream.reset(ErrorCodes.INTERNAL_ERROR), "upstream_reset"),
    "ended early": (lambda stream: stream.end(), "truncated"),
    "no reason": (lambda stream: stream.reset(ErrorCodes.NO_ERROR), "truncated"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_stream_that_breaks_ends_with_one_error_and_is_not_asked_again(weir, agent, how):
    break_it, outcome = BREAKS[how]

    def script(stream):
        stream.head()
        for event in OPENAI[:3]:
            stream.data(event)
        if "mine" in stream.headers[":path"]:
            assert broken.wait(10)
            break_it(stream)
        stream.gone()

    broken = threading.Event()
    server = agent(script)
    proxy = weir(config=over_h2(server.url))
    other = Raw(proxy.url).post(CHAT)
    other.until_events(3)
    client = Raw(proxy.url).post(f"{CHAT}?mine=1")
    client.until_events(3)
    broken.set()
    try:
        client.read_body()
    except Closed:
        pass
    errors = [event for event in client.events() if "error" in event.data]
    assert len(errors) == 1 and client.events()[-1] == errors[0]
    assert proxy.ended(outcome=outcome)
    assert len(server.all()) == 2
    if how == "killed":
        assert proxy.ended(outcome="truncated")
        proxy.outcomes(truncated=2)
    else:
        server.all()[0].data(OPENAI[3])
        other.until_bytes(OPENAI[3].encode())
    other.close()


def test_a_head_that_does_not_come_is_a_504_and_ends_the_stream(weir, agent):
    server = agent(lambda stream: stream.gone())
    proxy = weir(config=over_h2(server.url, defaults={"deadlines": {"head": "300ms"}}))
    with Raw(proxy.url) as client:
        assert client.post(CHAT).status == 504
    assert server.all()[0].gone()
    assert server.open() == 1, "the others are not its fault"
