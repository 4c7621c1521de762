"""Tests that a request that is malformed, or has two readings, is refused and affects nobody else."""

import random
import socket
from contextlib import suppress

import h11
import pytest

from support.plain import REFUSED, plain, serves
from support.raw import Raw
from support.wait import until

CHAT = "/v1/chat/completions"


def understood(connection) -> list[str]:
    """Returns the targets that a strict server parses from all bytes of a connection."""
    judge, targets = h11.Connection(h11.SERVER), []
    judge.receive_data(bytes(connection.received))
    while True:
        event = judge.next_event()
        if isinstance(event, h11.Request):
            targets.append(event.target.decode())
        elif isinstance(event, h11.EndOfMessage):
            judge.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            judge.send(h11.EndOfMessage())
            if judge.our_state is h11.MUST_CLOSE:
                return targets
            judge.start_next_cycle()
        elif event in (h11.NEED_DATA, h11.PAUSED):
            return targets


GARBAGE = {
    "noise": random.Random(1).randbytes(4096).replace(b"\n", b"x") + b"\r\n\r\n",
    "zeroes": bytes(1000),
    "no version": b"GET /\r\n\r\n",
    "version 3": b"GET / HTTP/3.0\r\nhost: h\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nhost: h\r\nbroken\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nhost: h\r\nx: a\0b\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nhost: h\r\nx : a\r\n\r\n",
    "a folded field": b"GET / HTTP/1.1\r\nhost: h\r\nx: a\r\n b\r\n\r\n",
    "a bare CR": b"GET / HTTP/1.1\r\nhost: h\r\nx: a\rb\r\n\r\n",
    "space in the path": b"GET /a b HTTP/1.1\r\nhost: h\r\n\r\n",
    "target without slash": b"GET @evil/ HTTP/1.1\r\nhost: h\r\n\r\n",
    "an SSH client": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a broken HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    "HTTP/2 without SETTINGS": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_refused_and_the_proxy_lives_on(weir, plain, kind):
    proxy = weir(plain.url, limits={"request_head": "1s"})
    with Raw(proxy.url).say(GARBAGE[kind]) as client:
        answer = client.until_closed(3)
    assert not answer.startswith(b"HTTP/1.1 2")
    assert plain.heads() == 0
    assert serves(proxy)


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity, chunked", "chunked, chunked", ",chunked"])
def test_a_transfer_coding_that_weir_does_not_know_is_refused(weir, plain, coding):
    proxy = weir(plain.url)
    head = f"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: {coding}\r\n\r\n"
    with Raw(proxy.url).say(head + "0\r\n\r\n") as client:
        assert client.read_head().status in (400, 501)


HOSTS = {
    "none": "",
    "two": "host: a\r\nhost: b\r\n",
    "a list": "host: a, b\r\n",
    "with a path": "host: a/b\r\n",
    "with a user": "host: u@h\r\n",
    "with a space": "host: h evil\r\n",
    "with a broken port": "host: h:80x\r\n",
}


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_with_two_readings_is_a_400(weir, plain, host):
    proxy = weir(plain.url)
    with Raw(proxy.url).say(f"GET / HTTP/1.1\r\n{HOSTS[host]}\r\n") as client:
        assert client.read_head().status == 400
    assert plain.requests() == []


def test_the_target_never_chooses_the_upstream(weir, plain):
    """The authority of an absolute-form target replaces Host (RFC 9112 3.2.2)."""
    proxy = weir(plain.url)
    with Raw(proxy.url).say("GET http://other.test/x?y HTTP/1.1\r\nhost: h.test\r\n\r\n") as client:
        assert client.read_head().read_body() == b"ok"
    (request,) = plain.requests()
    assert request.line == "GET /x?y HTTP/1.1"
    assert request.headers["host"] == "other.test"


def test_connect_is_a_405(weir, plain):
    proxy = weir(plain.url)
    with Raw(proxy.url).say("CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: 127.0.0.1:22\r\n\r\n") as client:
        assert client.read_head().status == 405
    assert plain.connections == []


UPGRADE = "GET /ws HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: {}\r\n{}\r\n"
KEY = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def test_a_websocket_is_a_501_where_it_is_switched_off(weir, plain):
    proxy = weir(plain.url, defaults={"websocket": "off"})
    with Raw(proxy.url).say(UPGRADE.format("websocket", KEY)) as client:
        assert client.read_head().status == 501
    assert plain.connections == []


@pytest.mark.parametrize("wanted", ["websocket, foo", "foo"])
def test_nothing_is_tunnelled_that_follows_an_upgrade(weir, plain, wanted):
    proxy = weir(plain.url)
    hidden = b"\x00\x01GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
    with Raw(proxy.url).say(UPGRADE.format(wanted, "").encode() + hidden) as client:
        assert client.read_head().status in (400, 501)
    assert not any(b"smuggled" in connection.received for connection in plain.connections)


def test_an_offer_of_h2c_is_not_taken(weir, plain):
    proxy = weir(plain.url)
    settings = "http2-settings: AAMAAABkAAQAAP__\r\n"
    with Raw(proxy.url).say(UPGRADE.format("h2c", settings)) as client:
        assert client.read_head().read_body() == b"ok"
    (request,) = plain.requests()
    assert not {"upgrade", "http2-settings"} & request.headers.keys()


def test_an_upgrade_that_nobody_asked_for_is_a_502(weir, upstream):
    def script(connection):
        connection.request()
        connection.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nraw")

    with Raw(weir(upstream(script).url).url).send("GET", "/") as client:
        assert client.read_head().status == 502


HIDDEN = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
INNER = "0\r\n\r\n" + HIDDEN
LENGTH = f"content-length: {len(INNER)}\r\n"
# Ambiguous headers, and a body that one interpretation takes for a second request (request smuggling).
CONFLICTS = {
    "length, then chunked": (LENGTH + "transfer-encoding: chunked\r\n", INNER),
    "chunked, then length": ("transfer-encoding: chunked\r\n" + LENGTH, INNER),
    "a short length and chunked": (
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        f"{len(HIDDEN):x}\r\n{HIDDEN}\r\n0\r\n\r\n",
    ),
    "xchunked": (LENGTH + "transfer-encoding: xchunked\r\n", INNER),
    "chunked, identity": (LENGTH + "transfer-encoding: chunked, identity\r\n", INNER),
    "identity, chunked": (LENGTH + "transfer-encoding: identity, chunked\r\n", INNER),
    "chunked twice": (LENGTH + "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", INNER),
    "chunked and another": (LENGTH + "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n", INNER),
    "a comma before": (LENGTH + "transfer-encoding: ,chunked\r\n", INNER),
    "quoted": (LENGTH + 'transfer-encoding: "chunked"\r\n', INNER),
    "a vertical tab": (LENGTH + "transfer-encoding: \x0bchunked\r\n", INNER),
    "a space before the colon": (LENGTH + "transfer-encoding : chunked\r\n", INNER),
    "folded": (LENGTH + "transfer-encoding:\r\n chunked\r\n", INNER),
    "gzip, chunked": (LENGTH + "transfer-encoding: gzip, chunked\r\n", INNER),
    "two lengths": (f"content-length: 0\r\n{LENGTH}", INNER),
    "two lengths in one": (f"content-length: 0, {len(INNER)}\r\n", INNER),
    "+": ("content-length: +0\r\n", HIDDEN),
    "hexadecimal": ("content-length: 0x0\r\n", HIDDEN),
    "two words": (f"content-length: 0 {len(HIDDEN)}\r\n", HIDDEN),
    "empty": ("content-length: \r\n", HIDDEN),
    "negative": ("content-length: -1\r\n", HIDDEN),
    "beyond 64 bits": (f"content-length: {2**64 + 5}\r\n", HIDDEN),
    "a length named by connection": (f"connection: content-length\r\n{LENGTH}", INNER),
}


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_a_body_with_two_readings_is_never_two_requests(weir, plain, conflict):
    fields, body = CONFLICTS[conflict]
    proxy = weir(plain.url)
    with Raw(proxy.url).say(f"POST /outer HTTP/1.1\r\nhost: h\r\n{fields}\r\n{body}") as client:
        status = client.read_head().status
        client.read_body()
        try:
            # Bytes left over would be answered before this request.
            client.get("/after").read_body()
        except REFUSED:
            pass
    seen = [target for connection in plain.connections for target in understood(connection)]
    assert "/smuggled" not in seen
    assert status in (200, 400, 501)
    assert (status == 200) == ("/outer" in seen)


# Chunked bodies, and why they are invalid.
CHUNKS = {
    "hexadecimal with 0x": "0x5\r\nhello\r\n0\r\n\r\n",
    "negative": "-5\r\nhello\r\n0\r\n\r\n",
    "a space before": " 5\r\nhello\r\n0\r\n\r\n",
    "two words": "5 x\r\nhello\r\n0\r\n\r\n",
    "underscore": "5_\r\nhello\r\n0\r\n\r\n",
    "beyond 64 bits": "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "more data than said": "4\r\nhello\r\n0\r\n\r\n",
    "bare LF after the size": "5\nhello\r\n0\r\n\r\n",
    "bare LF after the data": "5\r\nhello\n0\r\n\r\n",
    "bare LF in an extension": "5;\nx\r\nhello\r\n0\r\n\r\n",
    "a huge extension": f"5;{'x' * 2**20}\r\nhello\r\n0\r\n\r\n",
    "no size": "\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("kind", CHUNKS)
def test_a_broken_chunked_body_is_aborted(weir, plain, kind):
    """The request to the upstream must not look complete."""
    proxy = weir(plain.url)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    with Raw(proxy.url).say(head) as client:
        until("the request head", plain.heads)
        try:
            client.socket.sendall(CHUNKS[kind].encode() + HIDDEN.encode())
        except ConnectionError:
            pass
        answer = client.until_closed(3)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") <= 1
    assert plain.connections[0].gone(1)
    assert plain.requests() == []


HALVES = {
    "content-length": "content-length: 10\r\n\r\nhalf",
    "chunked": "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
}


@pytest.mark.parametrize("framing", HALVES)
@pytest.mark.parametrize("leaves", ["closes", "resets", "closes its half"])
def test_a_truncated_body_is_never_made_whole(weir, plain, framing, leaves):
    proxy = weir(plain.url)
    client = Raw(proxy.url).say(f"POST {CHAT} HTTP/1.1\r\nhost: h\r\n{HALVES[framing]}")
    until("the request head", plain.heads)
    if leaves == "closes its half":
        client.socket.shutdown(socket.SHUT_WR)
    else:
        client.reset() if leaves == "resets" else client.close()
    assert plain.connections[0].gone(2)
    assert plain.requests() == []
    assert b"\r\n0\r\n" not in plain.connections[0].received
    client.close()


def test_a_request_after_a_bad_one_is_not_served(weir, plain):
    proxy = weir(plain.url)
    with Raw(proxy.url).say(f"GET / HTTP/1.1\r\nhost: h\r\nbro ken: 1\r\n\r\n{HIDDEN}") as client:
        answer = client.until_closed(3)
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1") == 1
    assert plain.connections == []


def test_pipelined_requests_are_answered_in_order(weir, upstream):
    def script(connection):
        while True:
            path = connection.request().line.split()[1]
            connection.send(f"HTTP/1.1 200 OK\r\ncontent-length: {len(path)}\r\n\r\n{path}")

    proxy = weir(upstream(script).url)
    paths = [f"/{number}" for number in range(20)]
    with Raw(proxy.url).say("".join(f"GET {path} HTTP/1.1\r\nhost: h\r\n\r\n" for path in paths)) as client:
        for path in paths:
            assert client.read_head().read_body() == path.encode()


def test_who_goes_on_as_if_there_was_a_tunnel_still_gets_the_answer(weir, plain):
    """Unread bytes at the close of a connection cause a reset, which may overtake the response."""
    proxy = weir(plain.url)
    for _ in range(20):
        with Raw(proxy.url) as client:
            client.say(b"CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n" + b"x" * 30_000)
            client.read_head().read_body()
            assert client.status == 405
            with suppress(BrokenPipeError):
                for _ in range(10):
                    client.socket.sendall(b"y" * 30_000)
            client.socket.shutdown(socket.SHUT_WR)
            assert client.socket.recv(1) == b"", "an end, and no reset"
