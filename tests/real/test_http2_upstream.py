"""Tests of `http2: true`: streams that share a connection do not affect each other."""

import json
import threading
import time
from contextlib import suppress
from urllib.request import Request, urlopen

import pytest

from backends import wire
from backends.scripted import Upstream
from backends.scripted_h2 import Stream
from support import sse
from support.backend import Backend
from support.h2 import H2
from support.http2_upstream import agent, over_h2
from support.process import python
from support.raw import Raw
from support.wait import settled, until

CHAT = "/v1/chat/completions"
OPENAI = list(wire.openai(6))
TOKEN = OPENAI[1]


@pytest.fixture(scope="module")
def hypercorn():
    command = python("-m", "hypercorn", "backends.fastapi_app:app", "--bind", "127.0.0.1:0")
    one = Backend(command, r"Running on http://127\.0\.0\.1:(\d+)")
    yield one
    one.close()


def streaming(stream: Stream) -> None:
    """Sends one token, then nothing."""
    stream.head()
    stream.data(TOKEN)
    stream.gone()


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/api/chat", "/v1/responses", "/runs/stream"])
def test_a_real_agent_streams_the_same_over_it(weir, hypercorn, path):
    proxy = weir(config=over_h2(hypercorn.url))
    request = Request(f"{hypercorn.url}{path}", b'{"stream":true}', {"content-type": "application/json"})
    with urlopen(request, timeout=10) as direct:
        expected = direct.read()
    with Raw(proxy.url) as client:
        for _ in range(3):
            client.post(path)
            assert client.status == 200
            client.read_body()
            assert client.events() == sse.events(expected.decode()) or client.body == expected
    proxy.outcomes(finished=3)


def test_a_real_agent_hears_that_its_client_left(weir, hypercorn, name):
    proxy = weir(config=over_h2(hypercorn.url))
    run = name()
    client = Raw(proxy.url).post(f"{CHAT}?run={run}&hold=2")
    client.until_events(2)
    left = time.monotonic()
    client.close()
    assert hypercorn.becomes(run, "cancelled")["at"] - left < 1


def test_agents_over_tls_choose_it_by_alpn(weir, agent, authority, tmp_path):
    """Uses a real server, because the scripted one does not speak TLS."""
    files = authority.issue(tmp_path)
    command = python(
        "-m", "hypercorn", "backends.fastapi_app:app", "--bind", "127.0.0.1:0",
        "--certfile", files.cert, "--keyfile", files.key,
    )  # fmt: skip
    server = Backend(command, r"Running on https://127\.0\.0\.1:(\d+)")
    try:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        trust = {"tls": {"roots": "none", "ca_file": authority.file(tmp_path)}}
        proxy = weir(config=over_h2(url, trust))
        with Raw(proxy.url) as client:
            client.post(CHAT)
            assert client.status == 200
            assert client.read_body().endswith(b"[DONE]\n\n")
    finally:
        server.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_agent_without_it_is_an_error_that_names_the_key(weir, upstream, authority, tmp_path, tls):
    def plain(connection):
        connection.request()
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    where = {"tls": authority.server(authority.issue(tmp_path))} if tls else {}
    server: Upstream = upstream(plain, **where)
    url = server.url.replace("127.0.0.1", "localhost")
    trust = {"tls": {"roots": "none", "ca_file": authority.file(tmp_path)}} if tls else {}
    proxy = weir(config=over_h2(url, trust))
    with Raw(proxy.url) as client:
        assert client.get("/").status == 502
    says = lambda: any("`http2` must be false" in json.dumps(line) for line in proxy.logs())
    assert until("the log names the key", says)


def test_a_request_arrives_whole_and_in_the_words_of_http2(weir, agent):
    def echo(stream):
        assert stream.complete.wait(10)
        stream.head("application/json", "201", ("x-more", "1"), ("x-more", "2"))
        stream.data(stream.body, last=True)

    server = agent(echo)
    proxy = weir(config=over_h2(server.url))
    body = bytes(range(256)) * 4096
    with Raw(proxy.url) as client:
        client.post("/a%20b?c=d", body, x_own="1", connection="close, x-gone", x_gone="1", te="trailers")
        assert (client.status, client.read_body()) == (201, body)
    (stream,) = server.all()
    headers = stream.headers
    assert headers[":method"] == "POST" and headers[":path"] == "/a%20b?c=d" and headers[":scheme"] == "http"
    assert headers[":authority"] == proxy.address
    assert headers["te"] == "trailers" and headers["x-own"] == "1" and headers["content-length"] == str(len(body))
    for gone in ("host", "connection", "x-gone", "transfer-encoding"):
        assert gone not in headers


def test_chunks_and_trailers_go_up_and_come_down(weir, agent):
    def answer(stream):
        assert stream.complete.wait(10)
        stream.fields((":status", "103"), ("link", "</a>; rel=preload"))
        stream.head("text/plain", "200", ("trailer", "x-sum"))
        stream.data(stream.body)
        stream.fields(("x-sum", "7"), ("content-length", "9"), last=True)

    server = agent(answer)
    proxy = weir(config=over_h2(server.url))
    with Raw(proxy.url) as client:
        fields = "transfer-encoding: chunked\r\nte: trailers\r\ntrailer: x-own"
        client.say(f"POST / HTTP/1.1\r\nhost: h\r\n{fields}\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-own: 1\r\n\r\n")
        client.read_head()
        assert client.read_body() == b"abcde"
        assert client.interim == [103]
        assert client.trailers == b"x-sum: 7\r\n"
    assert server.all()[0].trailers == [("x-own", "1")]


@pytest.mark.parametrize("method", ["HEAD", "GET", "DELETE"])
def test_answers_without_a_body_are_over_at_once(weir, agent, method):
    def empty(stream):
        status = "200" if method == "HEAD" else "204" if method == "GET" else "304"
        stream.fields((":status", status), ("etag", '"x"'), last=True)

    proxy = weir(config=over_h2(agent(empty).url))
    with Raw(proxy.url) as client:
        for _ in range(2):
            client.send(method, "/").read_head()
            assert client.headers["etag"] == '"x"'


def test_a_hundred_streams_share_a_connection_and_one_more_gets_another(weir, agent):
    server = agent(streaming)
    proxy = weir(config=over_h2(server.url))
    clients = [Raw(proxy.url).post(CHAT) for _ in range(101)]
    for client in clients:
        client.until_events(1)
    assert [len(one.streams) for one in server.connections] == [100, 1]
    for client in clients:
        client.close()


def test_an_agent_that_allows_fewer_gets_fewer(weir, agent):
    server = agent(streaming, streams=3)
    proxy = weir(config=over_h2(server.url))
    clients = [Raw(proxy.url).post(CHAT) for _ in range(7)]
    for client in clients:
        client.until_events(1)
    assert sorted(len(one.streams) for one in server.connections) == [1, 3, 3]
    for client in clients:
        client.close()


def test_an_idle_connection_serves_again_and_is_closed_in_time(weir, agent):
    def answer(stream):
        stream.head("text/plain")
        stream.data("ok", last=True)

    server = agent(answer)
    proxy = weir(config=over_h2(server.url, {"pool_idle": "500ms"}))
    with Raw(proxy.url) as client:
        for _ in range(3):
            assert client.get("/").read_body() == b"ok"
        assert len(server.connections) == 1
        until("the idle connection is closed", lambda: server.open() == 0)
        assert server.connections[0].goodbye == 0, "with a word"
        assert client.get("/").read_body() == b"ok"
    assert len(server.connections) == 2


@pytest.mark.parametrize("kind", ["text/event-stream", "application/octet-stream"])
def test_one_client_that_takes_nothing_holds_up_none_of_the_other_99(weir, agent, kind):
    """Frames of 40 bytes: unread frames count against the connection, 216 bytes per frame (RUSTSEC-2026-0258)."""
    event = b"data: " + b"x" * 32 + b"\n\n"
    assert len(event) == 40
    begun = threading.Barrier(101)

    def script(stream):
        stream.head(kind)
        begun.wait(20)
        if "stalled" in stream.headers[":path"]:
            while not stream.over.is_set():
                stream.data(event * 1000, frame=40)
        for number in range(50):
            stream.data(b"data: %.9f %07d\n\n" % (time.monotonic(), number), frame=40)
            stream.over.wait(0.02)
        stream.end()

    server = agent(script)
    proxy = weir(config=over_h2(server.url))
    stalled = Raw(proxy.url, receive_buffer=4096).send("POST", f"{CHAT}?stalled=1", b"{}")
    others = [Raw(proxy.url).send("POST", CHAT, b"{}") for _ in range(99)]
    until("all streams", lambda: len(server.all()) == 100)
    delays: list[float] = []
    wholes = []

    def read(client: Raw) -> None:
        client.read_head()
        seen = 0
        while not client.ended:
            client.read_chunk()
            now = time.monotonic()
            lines = bytes(client.body).split(b"\n\n")[:-1]
            delays.extend(now - float(line.split()[1]) for line in lines[seen:])
            seen = len(lines)
        wholes.append(seen)

    readers = [threading.Thread(target=read, args=(client,), daemon=True) for client in others]
    for reader in readers:
        reader.start()
    begun.wait(20)
    for reader in readers:
        reader.join(30)
    assert wholes == [50] * 99, "every event of every other stream"
    delays.sort()
    p99 = delays[len(delays) * 99 // 100]
    # The limit allows for a hundred Python threads. A stream blocked by the stalled one would wait forever.
    assert p99 < 0.5, p99
    assert len(server.connections) == 1 and server.connections[0].goodbye is None
    stalled.close()


def test_windows_full_of_small_frames_on_many_streams_are_read(weir, agent):
    """All at once: the h2 library's own limit is half of the connection's window, which 10 of these streams reach."""
    whole = b"".join(b"data: %030d\n\n" % number for number in range(1_600))
    begun = threading.Barrier(31)

    def script(stream):
        stream.head()
        begun.wait(20)
        stream.data(whole, frame=38, last=True)

    server = agent(script)
    proxy = weir(config=over_h2(server.url, defaults={"dialect": "opaque"}))
    clients = [Raw(proxy.url).send("POST", CHAT, b"{}") for _ in range(30)]
    begun.wait(20)
    for client in clients:
        assert client.read_head().read_body() == whole
    assert len(server.connections) == 1
    proxy.outcomes(finished=30)


def test_a_client_that_returns_gets_everything_that_was_held_back_for_it(weir, agent):
    """The response is no event stream, so nothing of it may be dropped, however small its frames."""
    whole = b"".join(b"%039d\n" % number for number in range(50_000))

    def script(stream):
        stream.head("application/octet-stream")
        stream.data(whole, frame=40, last=True)

    server = agent(script)
    proxy = weir(config=over_h2(server.url))
    with Raw(proxy.url, receive_buffer=4096) as client:
        client.get("/")
        settled("the upstream waits", lambda: server.connections[0]._h2.local_flow_control_window(1))
        assert client.read_body() == whole
    assert len(server.connections) == 1


def test_uploads_behind_stalled_clients_do_not_hold_up_those_of_others(weir, agent):
    """The agent responds before it has read every upload, and some clients do not read. The window given to stalled
    uploads must not be missing for the others."""

    def script(stream):
        if "stalled" in stream.headers[":path"]:
            stream.head("application/octet-stream")
            while not stream.over.is_set():
                stream.data(b"x" * 16_000)
        assert stream.complete.wait(10)
        stream.head("text/plain")
        stream.data(stream.body, last=True)

    server = agent(script)
    proxy = weir(config=over_h2(server.url))
    body = b"x" * 4_000_000
    stalled = [Raw(proxy.url, receive_buffer=4096) for _ in range(4)]
    for client in stalled:
        threading.Thread(target=post_quietly, args=(client, body), daemon=True).start()
    until("all of them", lambda: len(server.all()) == 4)
    settled("they wait", lambda: sum(len(stream.body) for stream in server.all()))
    start = time.monotonic()
    with Raw(proxy.url) as client:
        client.post("/", b"hello" * 20_000)
        assert (client.status, client.read_body()) == (200, b"hello" * 20_000)
    assert time.monotonic() - start < 2
    for client in stalled:
        client.close()


def post_quietly(client: Raw, body: bytes) -> None:
    with suppress(OSError):
        client.send("POST", "/stalled", body)


def test_health_is_asked_over_it(weir, agent):
    def script(stream):
        stream.fields((":status", "200"), last=True)

    server = agent(script)
    weir(config=over_h2(server.url, {"health": {"path": "/well", "interval": "1s"}}))
    until("a question", server.all)
    assert server.all()[0].headers[":path"] == "/well"


def test_both_sides_may_speak_it(weir, agent):
    server = agent(lambda stream: [stream.head(), stream.data("".join(OPENAI), last=True)])
    proxy = weir(config=over_h2(server.url))
    client = H2(proxy.url)
    streams = [client.request("POST", CHAT, b"{}") for _ in range(20)]
    for stream in streams:
        assert stream.read_body() == "".join(OPENAI).encode()
    client.close()
    assert server.open() == 1
    proxy.outcomes(finished=20)
