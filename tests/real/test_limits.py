"""Tests that every client is bounded in size and number, and that one beyond a bound affects nobody else."""

import os
import resource
import threading

import pytest

from support.h2 import H2
from support.plain import OK, code, plain, serves
from support.raw import Closed, Raw
from support.wait import until

CHAT = "/v1/chat/completions"
MIB = 1024 * 1024


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
