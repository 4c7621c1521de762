"""Tests that every client is bounded in time, and that one that moves is not cut."""

import threading
import time

import pytest

from backends import wire
from support.h2 import H2
from support.plain import REFUSED, code, plain, serves
from support.raw import Raw

CHAT = "/v1/chat/completions"
TOKEN = list(wire.openai(2))[1]
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
