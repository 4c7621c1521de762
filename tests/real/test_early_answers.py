"""Tests of upstreams that answer while the request is still being sent, and close the connection.

Whatever a client that speaks to the upstream directly can read reaches the client of Weir: status and whole body, each
time, over every kind of connection.
"""

import select
import socket
import threading
import time

import pytest
from h2.errors import ErrorCodes

from backends.hasty import Hasty, Server
from support.h2 import H2
from support.raw import Closed, Raw
from support.wait import PATIENCE

KIB, MIB = 1024, 1024 * 1024
# Such faults are races.
TURNS = 40

SMALL = b'{"error":{"message":"not allowed"}}'
LARGE = b"too much\n" * 7_000
ANSWERS = {
    401: b"HTTP/1.1 401 Unauthorized\r\ncontent-length: %d\r\n\r\n%s" % (len(SMALL), SMALL),
    413: b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(LARGE), LARGE),
    429: b"HTTP/1.1 429 Too Many Requests\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    % (len(SMALL), SMALL),
    307: b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n",
}
BODIES = {401: SMALL, 413: LARGE, 429: SMALL, 307: b""}


@pytest.fixture
def hasty():
    """`hasty(answer, ...)` starts an upstream that gives this early answer."""
    running = []

    def start(answer: Hasty, **where) -> Server:
        running.append(Server(answer, **where))
        return running[-1]

    yield start
    for one in running:
        one.close()


def only(url: str, **settings) -> dict:
    """Returns an upstream without pooled connections, so that no request meets the end of an earlier one's."""
    return {"agent": {"endpoints": [url], "pool_idle": "0s", **settings}}


def pieces(size: int, coding: str) -> tuple[str, bytes]:
    """Returns the header that announces a request body of this size, and the body."""
    if coding == "length":
        return f"content-length: {size}", b"x" * size
    piece = b"4000\r\n" + b"x" * 16384 + b"\r\n"
    return "transfer-encoding: chunked", piece * (size // 16384) + b"0\r\n\r\n"


def upload(client: Raw, size: int, coding: str = "length", *fields: str) -> tuple[int, bytes]:
    """Sends a request and reads the response meanwhile, as curl does. Returns status and body of the response."""
    field, body = pieces(size, coding)
    head = "\r\n".join(["POST /v1/chat/completions HTTP/1.1", "host: h", field, *fields, "", ""])
    left = memoryview(head.encode() + body)
    client.socket.setblocking(False)
    limit = time.monotonic() + PATIENCE
    while not select.select([client.socket], [], [], 0)[0] and left:
        assert time.monotonic() < limit
        if select.select([client.socket], [client.socket], [], 1)[1]:
            try:
                left = left[client.socket.send(left[:65536]) :]
            except ConnectionError:
                # What was answered before can still be read.
                break
    client.socket.setblocking(True)
    client.socket.settimeout(PATIENCE)
    client.read_head()
    return client.status, client.read_body()


def each_time(proxy, status: int, size: int, coding: str = "length", *fields: str) -> None:
    for turn in range(TURNS):
        with Raw(proxy.url) as client:
            got = upload(client, size, coding, *fields)
        assert got == (status, BODIES[status]), (turn, got[0], len(got[1]))


@pytest.mark.parametrize("status", ANSWERS)
@pytest.mark.parametrize("how, after, size", [
    ("close", 0, MIB),
    ("close", 64 * KIB, MIB),
    ("close", 64 * KIB, 10 * MIB),
    ("linger", 64 * KIB, MIB),
])
@pytest.mark.parametrize("over", ["tcp", "unix"])
@pytest.mark.parametrize("coding", ["length", "chunks"])
def test_the_answer_arrives_each_time(weir, hasty, tmp_path, over, coding, status, how, after, size):
    path = tmp_path / "agent.sock" if over == "unix" else None
    server = hasty(Hasty(ANSWERS[status], after, how), path=path)
    each_time(weir(server.url), status, size, coding)


@pytest.mark.parametrize("status", ANSWERS)
def test_the_answer_arrives_over_tls(weir, hasty, authority, tmp_path, status):
    server = hasty(Hasty(ANSWERS[status], 64 * KIB), tls=authority.server(authority.issue(tmp_path)))
    each_time(weir(upstreams=only(server.url, tls={"ca_file": authority.file(tmp_path)})), status, MIB)


@pytest.mark.parametrize("how", ["close", "goaway", ErrorCodes.NO_ERROR, ErrorCodes.INTERNAL_ERROR])
@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("after", [0, 32 * KIB])
def test_the_answer_arrives_over_http2_upstreams(weir, hasty, how, sized, after):
    """RFC 9113, 8.1: a server may reset a stream after a complete response, and the client must not discard it."""
    server = hasty(Hasty(LARGE, after, how, sized), http2=True)
    each_time(weir(upstreams=only(server.url, http2=True), workers=1), 413, MIB)


@pytest.mark.parametrize("how", ["close", "linger"])
def test_the_answer_arrives_at_a_client_that_expects_100(weir, hasty, how):
    server = hasty(Hasty(ANSWERS[401], 0, how))
    each_time(weir(server.url), 401, MIB, "length", "expect: 100-continue")


@pytest.mark.parametrize("how", ["close", "linger"])
def test_the_answer_arrives_at_http2_clients_whose_connection_stays(weir, hasty, how):
    server = hasty(Hasty(ANSWERS[413], 16 * KIB, how))
    proxy = weir(server.url)
    with H2(proxy.url) as connection:
        for _ in range(TURNS):
            stream = connection.request("POST", "/v1/chat/completions", content_type="application/json")
            for _ in range(3):
                stream.send(b"x" * 16384)
            assert stream.read_head().status == 413
            assert stream.read_body() == LARGE
        assert connection.goodbye is None


def test_a_body_without_a_length_arrives_and_is_seen_as_cut(weir, hasty):
    """The end of the connection is the end of the body; a reset shows that it may be incomplete."""
    answer = b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n" + SMALL
    proxy = weir(hasty(Hasty(answer, 64 * KIB)).url)
    for _ in range(TURNS):
        with Raw(proxy.url) as client, pytest.raises((Closed, ConnectionError)):
            upload(client, MIB)
        assert client.status == 403 and bytes(client.body) == SMALL


@pytest.mark.parametrize("size", [MIB, 10 * MIB])
def test_a_client_that_sends_everything_first_is_not_reset(weir, hasty, size):
    """Many clients read nothing before they have sent the whole request. A reset would end their upload, and with some
    systems discard the answer that has arrived."""
    proxy = weir(hasty(Hasty(ANSWERS[401], 64 * KIB)).url)
    for _ in range(10):
        with Raw(proxy.url) as client:
            client.post("/v1/chat/completions", b"x" * size)
            assert (client.status, client.read_body()) == (401, SMALL)


def test_an_upstream_that_reads_nothing_more_may_still_answer(weir, hasty, tmp_path):
    """The first write fails long before the answer comes. `deadlines.head` bounds the wait."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        proxy = weir(f"unix:{path}", defaults={"deadlines": {"head": "2s"}})
        go = threading.Event()

        def serve() -> None:
            for turn in range(2):
                accepted, _ = listener.accept()
                accepted.recv(65536)
                accepted.shutdown(socket.SHUT_RD)
                kept.append(accepted)
                if turn == 0:
                    go.wait(5)
                    accepted.sendall(ANSWERS[401])

        kept: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        with Raw(proxy.url) as client:
            threading.Timer(0.5, go.set).start()
            assert upload(client, 10 * MIB) == (401, SMALL)
        began = time.monotonic()
        with Raw(proxy.url) as client:
            status, body = upload(client, 10 * MIB)
        assert status == 504 and b"head_timeout" in body
        assert time.monotonic() - began < 4
        for accepted in kept:
            accepted.close()


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_an_answer_that_waits_for_no_request_arrives(weir, tmp_path, over):
    """As a server that is overloaded may answer. On a Unix socket, the first write fails already."""
    path = tmp_path / "agent.sock"
    address = ("127.0.0.1", 0) if over == "tcp" else str(path)
    with socket.socket(socket.AF_INET if over == "tcp" else socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        url = f"unix:{path}" if over == "unix" else f"http://127.0.0.1:{listener.getsockname()[1]}"

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                with accepted:
                    accepted.sendall(ANSWERS[429])

        threading.Thread(target=serve, daemon=True).start()
        each_time(weir(upstreams=only(url)), 429, MIB)
        listener.shutdown(socket.SHUT_RDWR)


def test_an_upstream_that_closes_without_an_answer_is_still_a_502(weir, hasty):
    proxy = weir(hasty(Hasty(b"", 64 * KIB)).url)
    with Raw(proxy.url) as client:
        status, body = upload(client, MIB)
    assert status == 502 and b"upstream_reset" in body
