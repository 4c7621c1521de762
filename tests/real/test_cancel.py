"""Tests that the backend sees a client leave within a second, in every phase."""

import threading
import time

import pytest

from backends import wire
from support.h2 import H2
from support.raw import Raw
from support.wait import settled, until

CHAT = "/v1/chat/completions"
OPENAI = list(wire.openai(6))
TOKEN = list(wire.openai(2))[1]


def silent_before_head(connection):
    connection.request()


def silent_before_first_event(connection):
    connection.request()
    connection.head()


def silent_after_events(connection):
    connection.request()
    connection.head()
    connection.chunk(TOKEN * 3)


def talking(connection):
    silent_after_events(connection)
    while not connection._closed.wait(0.01):
        connection.chunk(TOKEN)


def silent_in_plain_json(connection):
    connection.request()
    connection.head("application/json")
    connection.chunk('{"a":')


PHASES = {
    "before the head": (silent_before_head, False, b""),
    "before the first event": (silent_before_first_event, True, b""),
    "in silence": (silent_after_events, True, TOKEN.encode() * 3),
    "while tokens flow": (talking, True, TOKEN.encode() * 5),
    "in a plain answer": (silent_in_plain_json, True, b'{"a":'),
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("phase", PHASES)
def test_the_upstream_is_closed_within_a_second(weir, upstream, phase, how):
    script, has_head, wanted = PHASES[phase]
    server = upstream(script)
    proxy = weir(server.url)
    client = Raw(proxy.url)
    client.send("POST", "/v1/chat/completions", b'{"stream":true}')
    until("the request", server.requests)
    if has_head:
        client.read_head()
        client.until_bytes(wanted)
    left = time.monotonic()
    client.reset() if how == "reset" else client.close()
    assert server.connections[0].gone() - left < 1.0
    assert len(server.connections) == 1
    until("no stream is left", lambda: proxy.metrics().value("weir_streams_active") == 0)
    if has_head and phase != "in a plain answer":
        assert proxy.ended()["outcome"] == "client_gone"


def test_a_client_that_stopped_reading_and_leaves(weir, upstream):
    """Weir is blocked on a write to the client, and the upstream on a write to Weir. Both must end."""
    block = "".join(wire.openai(6)).removesuffix("data: [DONE]\n\n") * 50

    def script(connection):
        connection.request()
        connection.head()
        while True:
            connection.chunk(block)

    server = upstream(script)
    proxy = weir(server.url, defaults={"queue": {"overflow": "block"}})
    client = Raw(proxy.url, receive_buffer=4096)
    client.post("/v1/chat/completions")
    settled("the upstream is blocked", lambda: server.connections[0].sent)
    left = time.monotonic()
    client.close()
    assert server.connections[0].gone() - left < 1.0
    assert proxy.ended()["outcome"] == "client_gone"


def test_a_client_that_leaves_during_its_upload(weir, upstream):
    server = upstream(lambda connection: connection.request())
    client = Raw(weir(server.url).url)
    head = f"POST /upload HTTP/1.1\r\nhost: {client.host}\r\ncontent-length: 1000\r\n\r\n"
    client.socket.sendall(head.encode() + b"x" * 10)
    until("the request head", server.heads)
    left = time.monotonic()
    client.close()
    assert server.connections[0].gone() - left < 1.0
    assert server.requests() == [], "the backend never saw a complete request"


@pytest.mark.parametrize("where", ["tcp", "tls", "unix"])
def test_a_client_that_leaves_behind_an_early_request(weir, upstream, authority, tmp_path, where):
    """A client that has pipelined a request is not read until the first one is answered. Weir must still see it
    leave."""
    files = authority.issue(tmp_path)
    listen = {
        "tcp": "127.0.0.1:0",
        "tls": {"address": "127.0.0.1:0", "tls": {"cert": files.cert, "key": files.key}},
        "unix": f"unix:{tmp_path}/weir.sock",
    }[where]
    server = upstream(silent_after_events)
    proxy = weir(server.url, listen=listen)
    url = listen if where == "unix" else proxy.url
    client = Raw(url, tls=authority.client("http/1.1") if where == "tls" else None)
    client.say(b"GET /v1/chat/completions HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n")
    client.read_head()
    client.until_bytes(TOKEN.encode() * 3)
    # Longer than the interval of Weir's check: a client that is still there is not cancelled.
    with pytest.raises(AssertionError):
        server.connections[0].gone(1.2)
    left = time.monotonic()
    client.close()
    assert server.connections[0].gone() - left < 1.0
    assert proxy.ended()["outcome"] == "client_gone"


def test_a_finished_connection_is_used_again_a_cancelled_one_is_not(weir, upstream):
    hold = threading.Event()

    def script(connection):
        while True:
            request = connection.request()
            connection.head()
            connection.chunk(TOKEN)
            if "hold" in request.line:
                hold.wait(10)
            connection.chunk("data: [DONE]\n\n")
            connection.end()

    server = upstream(script)
    proxy = weir(server.url, workers=1)
    with Raw(proxy.url) as client:

        def one_is_used_again() -> bool:
            # The client has all of its stream with `[DONE]`. Its next request may come before the end of the body, and
            # then gets a connection of its own.
            client.post(CHAT).read_body()
            return any(connection.heads > 1 for connection in server.connections)

        until("a connection serves two streams", one_is_used_again)
        finished = len(server.requests())
        client.post(f"{CHAT}?hold").until_events(1)
    held = next(one for one in server.connections if any("hold" in request.line for request in one.requests))
    held.gone(1)
    hold.set()
    with Raw(proxy.url) as client:
        client.post(CHAT).read_body()
    assert "hold" in held.requests[-1].line, "nothing came after it"
    proxy.outcomes(finished=finished + 1, client_gone=1)


MOMENTS = ["head", "commit", "first event", "middle", "plain", "plain middle", "sniffing"]


@pytest.mark.parametrize("phase", MOMENTS)
@pytest.mark.parametrize("how", ["h1 fin", "h1 rst", "h2 reset"])
def test_leaving_in_every_phase(weir, upstream, phase, how):
    """Client gone -> upstream connection closed within 1 s in every phase, also for responses that are not streams."""
    ready = threading.Event()

    def script(connection):
        connection.request()
        kind = {"plain": "application/json", "plain middle": "application/json", "sniffing": "text/plain"}.get(
            phase, "text/event-stream"
        )
        if phase not in ("head", "commit"):
            connection.head(kind)
        if phase in ("middle", "plain middle"):
            connection.chunk(OPENAI[0] + OPENAI[1])
        ready.set()
        connection.gone(30)

    server = upstream(script)
    defaults = {"commit_after": "50ms"} if phase == "commit" else {}
    if phase == "sniffing":
        defaults["dialect"] = "openai_chat"
    proxy = weir(server.url, defaults=defaults)
    if how.startswith("h2"):
        connection = H2(proxy.url)
        stream = connection.request("POST", CHAT, b'{"stream":true}', content_type="application/json")
        assert ready.wait(5)
        if phase in ("commit", "first event", "middle", "plain middle", "plain"):
            stream.read_head()
        left = time.monotonic()
        stream.reset()
    else:
        client = Raw(proxy.url).send("POST", CHAT, b'{"stream":true}', content_type="application/json")
        assert ready.wait(5)
        if phase in ("commit", "first event", "middle", "plain middle", "plain"):
            client.read_head()
        left = time.monotonic()
        client.close() if how == "h1 fin" else client.reset()
    assert server.connections[0].gone(5) - left < 1.0
    until("nothing is active", lambda: proxy.metrics().value("weir_streams_active") == 0)
