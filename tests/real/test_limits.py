"""Tests that every client is bounded in time and size, and that a malformed one affects nobody else."""

import json
import os
import random
import resource
import socket
import struct
import threading
import time
from contextlib import suppress

import h11
import pytest

from backends import wire
from support.h2 import H2
from support.raw import Closed, Raw
from support.wait import until

REFUSED = (Closed, ConnectionError)
CHAT = "/v1/chat/completions"
OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
TOKEN = list(wire.openai(2))[1]
MIB = 1024 * 1024


@pytest.fixture
def plain(upstream):
    """An upstream that answers every request with `ok`."""

    def script(connection):
        while True:
            connection.request()
            connection.send(OK)

    return upstream(script)


def code(client: Raw) -> str:
    return json.loads(client.read_body())["error"]["code"]


def serves(proxy) -> bool:
    """Checks that an ordinary client is answered without delay."""
    asked = time.monotonic()
    with Raw(proxy.url).get("/") as client:
        return client.read_body() == b"ok" and time.monotonic() - asked < 1


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


# Time

SLOW = {
    "silent": b"",
    "half a head": b"GET / HTTP/1.1\r\nhost: h\r\n",
    "half a request line": b"GE",
    "half an HTTP/2 preface": b"PRI * HT",
    "blank lines": b"\r\n\r\n",
}


@pytest.mark.parametrize("said", SLOW)
def test_a_request_head_that_does_not_come_ends_the_connection(weir, plain, said):
    proxy = weir(plain.url, limits={"request_head": "400ms", "keep_alive": "1m"})
    started = time.monotonic()
    with Raw(proxy.url).say(SLOW[said]) as client:
        answer = client.until_closed(3)
    assert 0.3 < time.monotonic() - started < 1.5
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
    assert plain.connections == []


def test_a_request_head_that_drips_ends_the_connection(weir, plain):
    """Each header arrives in time, but the head as a whole is late."""
    proxy = weir(plain.url, limits={"request_head": "400ms"})
    started = time.monotonic()
    with Raw(proxy.url).say("GET / HTTP/1.1\r\n") as client:
        client.socket.settimeout(0.05)
        for number in range(100):
            try:
                client.socket.sendall(b"x-%d: 1\r\n" % number)
                if not client.socket.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert 0.3 < time.monotonic() - started < 1.5


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_tls_handshake_that_does_not_finish_ends_the_connection(
    weir, plain, authority, tmp_path, said
):
    files = authority.issue(tmp_path)
    listen = {"address": "127.0.0.1:0", "tls": {"cert": files.cert, "key": files.key}}
    proxy = weir(plain.url, listen=listen, limits={"request_head": "400ms"})
    started = time.monotonic()
    with Raw(proxy.url).say(said) as client:
        client.until_closed(3)
    assert 0.3 < time.monotonic() - started < 1.5


def test_silence_after_a_tls_handshake_ends_the_connection(weir, plain, authority, tmp_path):
    files = authority.issue(tmp_path)
    listen = {"address": "127.0.0.1:0", "tls": {"cert": files.cert, "key": files.key}}
    proxy = weir(plain.url, listen=listen, limits={"request_head": "400ms"})
    started = time.monotonic()
    with Raw(proxy.url, tls=authority.client()) as client:
        client.until_closed(3)
    assert 0.3 < time.monotonic() - started < 1.5


def test_half_heads_by_the_hundred_do_not_keep_others_out(weir, plain):
    proxy = weir(plain.url, limits={"request_head": "30s"})
    clients = [Raw(proxy.url).say("GET / HTTP/1.1\r\nhost: h\r\n") for _ in range(300)]
    assert serves(proxy)
    for client in clients:
        client.close()


def test_an_idle_connection_is_kept_for_keep_alive(weir, plain):
    """The time is longer than `request_head`, which only bounds heads that have begun."""
    proxy = weir(plain.url, limits={"request_head": "300ms", "keep_alive": "1200ms"})
    with Raw(proxy.url) as client:
        client.get("/").read_body()
        idle = time.monotonic()
        assert client.until_closed(3) == b""
    assert 1.0 < time.monotonic() - idle < 2.5


def test_a_kept_connection_serves_after_a_pause_longer_than_request_head(weir, plain):
    proxy = weir(plain.url, limits={"request_head": "200ms", "keep_alive": "1m"})
    with Raw(proxy.url) as client:
        client.get("/").read_body()
        client.socket.settimeout(0.6)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(5)
        assert client.get("/").read_body() == b"ok"


def test_keep_alive_may_be_shorter_than_request_head(weir, plain):
    proxy = weir(plain.url, limits={"request_head": "10s", "keep_alive": "400ms"})
    with Raw(proxy.url) as client:
        client.get("/").read_body()
        idle = time.monotonic()
        assert client.until_closed(3) == b""
    assert 0.3 < time.monotonic() - idle < 1.5


def test_the_second_head_of_a_connection_is_bounded_too(weir, plain):
    proxy = weir(plain.url, limits={"request_head": "400ms", "keep_alive": "1m"})
    with Raw(proxy.url) as client:
        client.get("/").read_body()
        began = time.monotonic()
        client.socket.sendall(b"GET / HTTP/1.1\r\n")
        answer = client.until_closed(3)
    assert 0.3 < time.monotonic() - began < 1.5
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")


def test_an_idle_http2_connection_is_closed_after_keep_alive(weir, plain):
    proxy = weir(plain.url, limits={"keep_alive": "600ms"})
    with H2(proxy.url) as client:
        assert client.get("/").read_body() == b"ok"
        idle = time.monotonic()
        while client.goodbye is None:
            client.receive()
        assert 0.4 < time.monotonic() - idle < 2.0
        with pytest.raises(REFUSED):
            while True:
                client.receive()
    assert client.goodbye == 0


@pytest.mark.parametrize("protocol", [Raw, H2])
def test_a_silent_stream_is_not_idle(weir, upstream, protocol):
    """Neither `request_head` nor `keep_alive` may end a running request."""
    go_on = threading.Semaphore(0)

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(TOKEN)
        go_on.acquire()
        connection.chunk("data: [DONE]\n\n")
        connection.end()

    limits = {"request_head": "200ms", "keep_alive": "200ms", "request_body": "200ms"}
    proxy = weir(upstream(script).url, limits=limits)
    with protocol(proxy.url) as client:
        stream = client.post(CHAT)
        stream.until_bytes(TOKEN.encode())
        client.socket.settimeout(0.7)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(5)
        go_on.release()
        assert stream.read_body() == f"{TOKEN}data: [DONE]\n\n".encode()


STALLS = {
    "content-length": f"POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nhalf",
    "chunked": f"POST {CHAT} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "inside a chunk": f"POST {CHAT} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n40\r\nhalf",
}


@pytest.mark.parametrize("framing", STALLS)
def test_a_body_that_stalls_is_a_408(weir, plain, framing):
    proxy = weir(plain.url, limits={"request_body": "400ms"})
    started = time.monotonic()
    with Raw(proxy.url).say(STALLS[framing]) as client:
        assert client.read_head().status == 408
        assert 0.3 < time.monotonic() - started < 1.5
        assert code(client) == "request_timeout"
        assert client.until_closed(3) == b"", "what is left of the body must not be taken for a request"
    assert all(connection.gone(1) for connection in plain.connections)
    assert plain.requests() == [], "the upstream never saw a whole request"


def test_an_http2_body_that_stalls_is_a_408(weir, plain):
    proxy = weir(plain.url, limits={"request_body": "400ms"})
    with H2(proxy.url) as client:
        stream = client.request("POST", CHAT)
        stream.send(b"half")
        assert stream.read_head().status == 408
        assert client.get("/").read_body() == b"ok", "the connection lives"
    assert [request.line for request in plain.requests()] == ["GET / HTTP/1.1"]


def test_a_slow_body_that_moves_is_not_cut(weir, plain):
    proxy = weir(plain.url, limits={"request_body": "500ms", "request_head": "500ms"})
    with Raw(proxy.url).say("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n") as client:
        client.socket.settimeout(0.3)
        for letter in b"hello":
            with pytest.raises(TimeoutError):
                client.socket.recv(1)
            client.socket.sendall(bytes([letter]))
        client.socket.settimeout(5)
        assert client.read_head().read_body() == b"ok"
    assert plain.requests()[0].body == b"hello"


# Size


def with_fields(count: int, value: str = "1") -> str:
    fields = "".join(f"x-{number}: {value}\r\n" for number in range(count))
    return f"GET / HTTP/1.1\r\nhost: h\r\n{fields}\r\n"


def test_too_many_fields_are_refused(weir, plain):
    proxy = weir(plain.url, limits={"max_headers": 20})
    with Raw(proxy.url).say(with_fields(19)) as client:
        assert client.read_head().read_body() == b"ok"
    with Raw(proxy.url).say(with_fields(20)) as client:
        assert client.read_head().status in (400, 431)
        client.read_body()
        assert client.until_closed(3) == b""
    assert len(plain.requests()) == 1


LARGE = {
    "one field": f"GET / HTTP/1.1\r\nhost: h\r\nx-large: {'x' * 20_000}\r\n\r\n",
    "many fields": with_fields(40, "x" * 500),
    "the path": f"GET /{'x' * 20_000} HTTP/1.1\r\nhost: h\r\n\r\n",
}


@pytest.mark.parametrize("part", LARGE)
def test_a_head_that_is_too_large_is_refused(weir, plain, part):
    proxy = weir(plain.url, limits={"max_header_bytes": "16KiB"})
    with Raw(proxy.url).say(LARGE[part]) as client:
        assert client.read_head().status in (414, 431)
    with Raw(proxy.url).say(LARGE[part].replace("x" * 20_000, "x" * 10_000)) as client:
        assert client.read_head().status == (200 if part != "many fields" else 431)
    assert serves(proxy)


def test_an_endless_head_costs_no_memory(weir, plain):
    proxy = weir(plain.url)
    assert serves(proxy)
    before = proxy.rss()
    with Raw(proxy.url).say("GET / HTTP/1.1\r\nx: ") as client:
        try:
            for _ in range(64):
                client.socket.sendall(b"x" * MIB)
        except ConnectionError:
            pass
        else:
            pytest.fail("64 MiB of head were taken")
    assert proxy.rss() - before < 4 * MIB


def test_an_http2_head_that_is_too_large_is_refused(weir, plain):
    proxy = weir(plain.url, limits={"max_header_bytes": "16KiB"})
    with H2(proxy.url) as client:
        # The client ignores SETTINGS_MAX_HEADER_LIST_SIZE.
        stream = client.request("GET", "/", **{f"x{number}": "x" * 1000 for number in range(20)})
        try:
            assert stream.read_head().status == 431
        except Closed:
            pass
    assert plain.requests() == []
    assert serves(proxy)


TOO_LARGE = {
    "content-length": "content-length: 2000000\r\n\r\n" + "x" * 2000,
    "chunked": "transfer-encoding: chunked\r\n\r\n" + f"400\r\n{'x' * 1024}\r\n" * 20,
    "one chunk": f"transfer-encoding: chunked\r\n\r\n5000\r\n{'x' * 0x5000}\r\n",
}


@pytest.mark.parametrize("framing", TOO_LARGE)
def test_a_body_that_is_too_large_is_a_413(weir, plain, framing):
    proxy = weir(plain.url, defaults={"max_request_bytes": "10KiB"})
    with Raw(proxy.url).say(f"POST {CHAT} HTTP/1.1\r\nhost: h\r\n{TOO_LARGE[framing]}") as client:
        assert client.read_head().status == 413
        assert code(client) == "request_too_large"
        assert client.until_closed(3) == b""
    assert plain.requests() == [], "the upstream never saw a whole request"
    assert all(connection.gone(1) for connection in plain.connections)


def test_an_http2_body_that_is_too_large_is_a_413(weir, plain):
    proxy = weir(plain.url, defaults={"max_request_bytes": "10KiB"})
    with H2(proxy.url) as client:
        stream = client.request("POST", CHAT)
        stream.send(b"x" * 12_000)
        assert stream.read_head().status == 413
        assert client.get("/").read_body() == b"ok"
    assert [request.line for request in plain.requests()] == ["GET / HTTP/1.1"]


@pytest.mark.parametrize("framing", ["content-length: 10240", "transfer-encoding: chunked"])
def test_a_body_as_large_as_allowed_passes(weir, plain, framing):
    proxy = weir(plain.url, defaults={"max_request_bytes": "10KiB"})
    body = b"x" * 10240 if "length" in framing else b"2800\r\n" + b"x" * 10240 + b"\r\n0\r\n\r\n"
    head = f"POST / HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n"
    with Raw(proxy.url).say(head.encode() + body) as client:
        assert client.read_head().read_body() == b"ok"


def test_streams_beyond_the_limit_are_a_503(weir, upstream):
    def script(connection):
        connection.request()
        connection.head()
        connection.gone()

    server = upstream(script)
    proxy = weir(server.url, limits={"max_streams": 1})
    with Raw(proxy.url).post(CHAT), Raw(proxy.url).post(CHAT) as second:
        assert second.status == 503
        assert int(second.headers["retry-after"]) > 0
        assert code(second) == "overloaded"
    assert len(server.requests()) == 1, "the agent was not asked in vain"
    assert proxy.metrics().value("weir_requests_total", kind="stream", code="503") == 1
    until("a free place", lambda: proxy.metrics().value("weir_streams_active") == 0)
    with Raw(proxy.url).post(CHAT) as third:
        assert third.status == 200


def descriptors(proxy) -> int:
    return len(os.listdir(f"/proc/{proxy.child.pid}/fd"))


def test_descriptors_that_run_out_come_back(weir, upstream):
    """Descriptor exhaustion: running streams continue, and new clients are served once descriptors are free."""
    go_on = threading.Event()

    def script(connection):
        while CHAT not in connection.request().line:
            connection.send(OK)
        connection.head()
        connection.chunk("data: {}\n\n")
        go_on.wait(10)
        connection.chunk("data: [DONE]\n\n")
        connection.end()
        script(connection)

    proxy = weir(upstream(script).url, limits={"max_connections": 1000})
    with Raw(proxy.url).post(CHAT) as stream:
        bound = descriptors(proxy) + 20
        resource.prlimit(proxy.child.pid, resource.RLIMIT_NOFILE, (bound, 4096))
        crowd = [Raw(proxy.url) for _ in range(60)]
        until("no descriptor is left", lambda: descriptors(proxy) == bound)
        go_on.set()
        assert stream.read_body().endswith(b"[DONE]\n\n")
        for client in crowd:
            client.close()
        assert serves(proxy)
    assert len(proxy.child.lines) < 20, "one complaint is enough"


# Malformed requests

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


# HTTP/2 frames

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">IBBI", len(payload), kind, flags, stream)[1:] + payload


# Indexed headers of the static table: GET, http, /; the authority as a literal.
GET = b"\x82\x86\x84\x01\x01h"
DATA, HEADERS, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
ENDS, WHOLE = 1, 4
FLOODS = {
    "resets": [
        frame(HEADERS, ENDS | WHOLE, 2 * n + 1, GET) + frame(RESET, 0, 2 * n + 1, b"\0\0\0\x08")
        for n in range(10_000)
    ],
    "resets that the server must make": [
        frame(HEADERS, WHOLE, 2 * n + 1, GET) + frame(WINDOW, 0, 2 * n + 1, bytes(4))
        for n in range(10_000)
    ],
    "continuations": [frame(HEADERS, ENDS, 1, GET)] + [frame(CONTINUATION, 0, 1)] * 100_000,
    "empty data": [frame(HEADERS, WHOLE, 1, b"\x83\x86\x84\x01\x01h")] + [frame(DATA, 0, 1)] * 200_000,
    "settings": [frame(SETTINGS)] * 50_000,
    "pings": [frame(PING, 0, 0, bytes(8))] * 50_000,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_http2_frames_hurts_nobody_else(weir, plain, kind):
    """A flood is cut off or read to its end. Either way others are served and memory does not grow."""
    proxy = weir(plain.url)
    assert serves(proxy)
    before, asked, served = proxy.rss(), len(plain.requests()), 0
    end = b"the end!"
    with Raw(proxy.url).say(PREFACE + frame(SETTINGS)) as client:

        def pour():
            try:
                client.socket.sendall(b"".join(FLOODS[kind]) + frame(PING, 0, 0, end))
            except OSError:
                pass

        def answers():
            """Reads until the connection ends, or until the response to the last frame."""
            try:
                got = b"?"
                while got and end not in tail:
                    got = client.socket.recv(65536)
                    tail[:] = tail[-8:] + got
            except ConnectionError:
                pass

        tail = bytearray()
        threads = [threading.Thread(target=run, daemon=True) for run in (pour, answers)]
        for thread in threads:
            thread.start()
        limit = time.monotonic() + 10
        while threads[1].is_alive() or served < 3:
            assert serves(proxy) and time.monotonic() < limit
            served += 1
    assert proxy.rss() - before < 16 * MIB
    assert len(plain.requests()) - asked - served < 1000, "few of them reached the upstream"


def test_frames_by_hand_are_a_request(weir, plain):
    """Checks that the handmade frames of the floods form a valid request."""
    with Raw(weir(plain.url).url).say(PREFACE + frame(SETTINGS) + frame(HEADERS, ENDS | WHOLE, 1, GET)):
        until("the request", plain.requests)


@pytest.mark.parametrize("body", [b"short", b"x" * 60])
def test_an_http2_body_of_another_length_than_said_is_an_error(weir, plain, body):
    proxy = weir(plain.url)
    with H2(proxy.url) as client:
        client.h2.config.validate_outbound_headers = False
        stream = client.request("POST", CHAT, content_length="50")
        client.socket.sendall(frame(DATA, ENDS, stream.number, body))
        try:
            assert stream.read_head().status == 400
        except Closed:
            pass
    assert plain.requests() == []
    assert serves(proxy)


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
