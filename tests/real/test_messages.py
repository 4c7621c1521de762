"""Tests that heads, interim responses and the ends of bodies mean the same on both sides."""

import socket
import threading

import pytest

from backends import wire
from support.raw import Raw

OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STREAM = "".join(wire.openai(3))


def says(*answers: str | bytes, close: bool = False):
    """Returns an upstream's script: one of these responses per request, then optionally a close."""

    def script(connection):
        for answer in answers:
            connection.request()
            connection.send(answer)
        if close:
            connection.fin()

    return script


def fields(client: Raw, name: str) -> list[str]:
    """Returns all values of a header, in order."""
    lines = client.head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(": ") for line in lines)
    return [value for key, _, value in pairs if key.lower() == name]


def test_fields_that_come_twice_stay_two_in_both_directions(weir, upstream):
    answer = "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nx-own: 1\r\nset-cookie: b=2, 3\r\nx-own: 2\r\ncontent-length: 0\r\n\r\n"
    server = upstream(says(answer))
    asked = "GET / HTTP/1.1\r\nhost: h\r\nx-own: 1\r\ncookie: a\r\nX-Own: 2\r\n\r\n"
    with Raw(weir(server.url).url).say(asked).read_head() as client:
        assert fields(client, "set-cookie") == ["a=1", "b=2, 3"]
        assert fields(client, "x-own") == ["1", "2"]
    received = bytes(server.connections[0].received).lower()
    assert received.count(b"\r\nx-own: ") == 2
    assert received.index(b"x-own: 1") < received.index(b"x-own: 2")


def test_bytes_that_are_no_ascii_in_a_field_stay_as_they_are(weir, upstream):
    server = upstream(says("HTTP/1.1 200 OK\r\nx-own: \xe4\xff\r\ncontent-length: 0\r\n\r\n".encode("latin-1")))
    asked = "GET / HTTP/1.1\r\nhost: h\r\nx-own: \xfc\xfe\r\n\r\n".encode("latin-1")
    with Raw(weir(server.url).url).say(asked).read_head() as client:
        assert fields(client, "x-own") == ["\xe4\xff"]
    assert server.requests()[0].headers["x-own"] == "\xfc\xfe"


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\n",
    ],
)
def test_the_answer_to_head_has_no_body(weir, upstream, head):
    proxy = weir(upstream(says(head, OK)).url)
    with Raw(proxy.url) as client:
        client.send("HEAD", "/").read_head()
        assert f" {client.status} " in head.split("\r\n")[0]
        if "length" in head:
            assert client.headers["content-length"] == head.split("length: ")[1].split("\r\n")[0]
        assert client.get("/").read_body() == b"ok", "the next answer begins right after the head"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("claim", ["", "content-type: text/event-stream\r\n", "content-length: 0\r\n"])
def test_statuses_without_a_body(weir, upstream, status, claim):
    proxy = weir(upstream(says(f"HTTP/1.1 {status}\r\netag: x\r\n{claim}\r\n", OK)).url)
    with Raw(proxy.url).get("/") as client:
        assert client.status == int(status[:3])
        assert client.headers["etag"] == "x"
        assert "transfer-encoding" not in client.headers
        assert client.get("/").read_body() == b"ok"


@pytest.mark.parametrize("status", ["299 Odd", "418 I'm a teapot", "599 Own", "200 "])
def test_unusual_statuses_pass(weir, upstream, status):
    with Raw(weir(upstream(says(OK.replace("200 OK", status))).url).url).get("/") as client:
        assert client.status == int(status[:3])
        assert client.read_body() == b"ok"


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it",
        "HTTP/1.0 200 OK\r\n\r\nall of it",
        "HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\nall of it",
    ],
)
def test_a_body_that_ends_with_its_connection(weir, upstream, answer):
    with Raw(weir(upstream(says(answer, close=True)).url).url).get("/") as client:
        assert client.read_body() == b"all of it"


def test_a_stream_of_an_http10_server(weir, upstream):
    head = "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    proxy = weir(upstream(says(head + STREAM, close=True)).url)
    with Raw(proxy.url).post("/v1/chat/completions") as client:
        assert client.read_body().decode() == STREAM
    assert proxy.ended()["outcome"] == "finished"


@pytest.mark.parametrize("kind", ["stream", "plain"])
def test_a_client_that_speaks_http10(weir, upstream, kind):
    """HTTP/1.0 has no chunked transfer coding: the body has a length, or ends with the connection."""
    chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"
    chunk = f"{len(STREAM.encode()):x}\r\n{STREAM}\r\n0\r\n\r\n"
    content_type = "text/event-stream" if kind == "stream" else "text/plain"
    proxy = weir(upstream(says(f"{chunked}content-type: {content_type}\r\n\r\n{chunk}")).url)
    with Raw(proxy.url).say("GET /v1/chat/completions HTTP/1.0\r\n\r\n") as client:
        head, _, body = client.until_closed(5).partition(b"\r\n\r\n")
    assert head.split()[1] == b"200"
    assert b"chunked" not in head.lower()
    assert body.decode() == STREAM


def test_trailers_of_a_request_reach_the_upstream(weir, upstream):
    server = upstream(says(OK))
    named = "x-sum, content-length, authorization"
    head = f"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntrailer: {named}\r\n\r\n"
    late = "x-sum: 9\r\ncontent-length: 3\r\nauthorization: late\r\n"
    with Raw(weir(server.url).url) as client:
        client.say(f"{head}4\r\nbody\r\n0\r\n{late}\r\n").read_head()
        assert client.read_body() == b"ok"
    received = bytes(server.connections[0].received).lower()
    assert b"\r\nx-sum: 9\r\n" in received
    assert b"late" not in received and b"content-length: 3" not in received


def test_trailers_of_an_answer_frame_and_authorise_nothing(weir, upstream):
    head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, set-cookie\r\n\r\n"
    answer = f"{head}2\r\nok\r\n0\r\nx-sum: 9\r\nset-cookie: late=1\r\ncontent-length: 7\r\n\r\n"
    with Raw(weir(upstream(says(answer)).url).url).get("/", te="trailers") as client:
        assert client.read_body() == b"ok"
        assert client.trailers.lower() == b"x-sum: 9\r\n"


EARLY = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"


def test_early_hints_arrive_early(weir, upstream):
    """The interim response arrives before the final one, which is only sent once the hints were read."""
    seen = threading.Event()

    def script(connection):
        connection.request()
        connection.send(EARLY)
        connection.send("HTTP/1.1 102 Processing\r\n\r\n")
        assert seen.wait(10)
        connection.send(OK)

    with Raw(weir(upstream(script).url).url) as client:
        client.send("GET", "/")
        while client._unread.count(b"\r\n\r\n") < 2:
            client._receive()
        assert client._unread.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n")
        seen.set()
        assert client.read_head().read_body() == b"ok"
        assert client.interim == [103, 102]


@pytest.mark.parametrize("told", ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n" * 3])
def test_a_continue_of_the_upstream_stays_between_it_and_weir(weir, upstream, told):
    with Raw(weir(upstream(says(told + OK)).url).url).post("/", b"x") as client:
        assert client.read_body() == b"ok"
        assert client.interim == []


def test_early_hints_before_a_stream(weir, upstream):
    def script(connection):
        connection.request()
        connection.send(EARLY)
        connection.head()
        connection.chunk(STREAM)
        connection.end()

    with Raw(weir(upstream(script).url).url).post("/v1/chat/completions") as client:
        assert client.interim == [103]
        assert client.read_body().decode() == STREAM


def test_a_client_that_waits_for_100_and_is_refused_sends_nothing(weir, upstream):
    """The upstream refuses with its status, so the client never has to send its body."""
    server = upstream(says("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"))
    proxy = weir(server.url, defaults={"max_request_bytes": "1KiB"})
    head = "POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2048\r\n\r\n"
    with Raw(proxy.url).say(head).read_head() as client:
        assert client.status == 413
        assert client.interim == []
    assert server.connections == []


def test_an_answer_before_the_whole_upload(weir, upstream):
    """A server may refuse while the client is still sending. The client must get the refusal."""

    def script(connection):
        while b"\r\n\r\n" not in connection._buffer and connection.heads == 0:
            pass
        connection.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig")

    with Raw(weir(upstream(script).url).url) as client:
        client.say("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\nbegin")
        assert client.read_head().status == 413
        assert client.read_body() == b"big"


@pytest.mark.parametrize("asked", ["a body that is too large", "no HTTP", "a body nobody wants"])
def test_a_refusal_is_read_by_who_still_sends(weir, upstream, asked):
    """A socket that is closed with unread bytes sends a reset, which can overtake the refusal."""
    heads = {
        "a body that is too large": (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 500000\r\n\r\n", 413),
        "no HTTP": (b"POST / HTTP/1.1\r\nhost : h\r\n\r\n", 400),
        "a body nobody wants": (b"POST / HTTP/1.1\r\nhost: a, b\r\ncontent-length: 500000\r\n\r\n", 400),
    }
    head, status = heads[asked]
    proxy = weir(upstream(says(OK)).url, defaults={"max_request_bytes": "1KiB"})
    with Raw(proxy.url) as client:
        client.say(head)
        # The response has arrived, but the client continues to send before it reads.
        assert client.socket.recv(1, socket.MSG_PEEK)
        for _ in range(20):
            client.socket.sendall(b"x" * 10_000)
        assert client.read_head().status == status
        client.read_body()
        assert client.until_closed(5) == b""
