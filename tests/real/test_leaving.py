"""Tests that Weir sees a client leave whatever it sent, and that a slow client does not slow others down."""

import json
import re
import socket
import threading
import time

import pytest

from backends import wire
from support.h2 import H2
from support.raw import Closed, Raw
from support.wait import settled, until

CHAT = "/v1/chat/completions"
OPENAI = list(wire.openai(6))
BODY = b'{"stream":true}'
REQUEST = (
    f"POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
).encode() + BODY


@pytest.mark.parametrize("extra", ["CRLF", "a pipelined request", "half a request"])
@pytest.mark.parametrize("phase", ["head", "first event", "middle", "plain"])
@pytest.mark.parametrize("leaves", ["fin", "rst"])
def test_leaving_with_more_bytes_sent_than_the_request(weir, upstream, phase, extra, leaves):
    """Weir keeps read interest on the client socket, so the request is cancelled within 1 s.
    RFC 9112, 2.2: a CRLF after a body is to be ignored; pipelined requests are legal."""
    ready = threading.Event()

    def script(connection):
        connection.request()
        if phase != "head":
            connection.head("application/json" if phase == "plain" else "text/event-stream")
        if phase == "middle":
            connection.chunk(OPENAI[0] + OPENAI[1])
        ready.set()
        connection.gone(30)

    server = upstream(script)
    proxy = weir(server.url)
    more = {"CRLF": b"\r\n", "a pipelined request": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", "half a request": b"GET / HT"}[extra]
    client = Raw(proxy.url)
    client.say(REQUEST + more)
    assert ready.wait(5)
    if phase != "head":
        client.read_head()
    if phase == "middle":
        client.until_events(2)
    left = time.monotonic()
    client.close() if leaves == "fin" else client.reset()
    try:
        at = server.connections[0].gone(3)
    finally:
        server.connections[0].socket.close()
    assert at - left < 1.0


@pytest.mark.parametrize("protocol", ["h1", "h2"])
@pytest.mark.parametrize("end", ["idle", "drop", "reset"])
def test_a_stream_without_an_error_form_breaks_off(weir, upstream, protocol, end):
    """Where the format has no error event, the body is aborted."""

    def script(connection):
        connection.request()
        connection.head("application/x-ndjson")
        connection.chunk('{"a":1}\n')
        go.wait(5)
        if end == "drop":
            connection.fin()
        if end == "reset":
            connection.reset()
        else:
            connection.gone()

    go = threading.Event()
    proxy = weir(upstream(script).url, defaults={"deadlines": {"idle": "400ms"}})
    with pytest.raises((Closed, ConnectionError)):
        if protocol == "h1":
            with Raw(proxy.url).get("/agent") as client:
                client.read_chunk()
                go.set()
                client.read_body()
        else:
            with H2(proxy.url) as connection:
                stream = connection.get("/agent")
                stream.until_bytes(b"\n")
                go.set()
                stream.read_body()
    outcome = proxy.ended()["outcome"]
    assert outcome in {"idle": ["idle_timeout"], "drop": ["truncated"], "reset": ["upstream_reset"]}[end]


@pytest.mark.parametrize("how", ["length", "chunks"])
def test_a_plain_answer_cut_short_is_seen_as_cut(weir, upstream, how):
    def script(connection):
        connection.request()
        if how == "length":
            connection.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nhalf")
        else:
            connection.head("text/plain")
            connection.chunk("half")
        connection.fin()

    proxy = weir(upstream(script).url)
    with pytest.raises((Closed, ConnectionError)):
        with Raw(proxy.url).get("/x") as client:
            client.read_body()


def test_before_content_idle_does_not_run(weir, upstream):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(OPENAI[0])
        connection.gone()

    proxy = weir(upstream(script).url, defaults={"deadlines": {"idle": "200ms", "progress": "200ms", "first_event": "900ms"}})
    with Raw(proxy.url).post(CHAT) as client:
        client.read_body()
    ended = proxy.ended()
    assert ended["outcome"] == "first_event_timeout" and 880 < ended["duration_ms"] < 1500


def test_connect_is_bounded(weir):
    """A connection that is not established within `connect` gives a 504."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fill = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
        fill.append(one)
    proxy = weir(f"http://127.0.0.1:{listener.getsockname()[1]}", defaults={"deadlines": {"connect": "500ms"}})
    started = time.monotonic()
    with Raw(proxy.url).post(CHAT) as client:
        took = time.monotonic() - started
        body = client.read_body()
    assert client.status == 504 and json.loads(body)["error"]["code"] == "upstream_connect"
    assert 0.45 < took < 1.5
    listener.close()
    for one in fill:
        one.close()


def test_total_before_the_head(weir, upstream):
    def script(connection):
        connection.request()
        connection.gone()

    proxy = weir(upstream(script).url, defaults={"deadlines": {"total": "400ms"}})
    with Raw(proxy.url).post(CHAT) as client:
        assert client.status == 504
        assert json.loads(client.read_body())["error"]["code"] == "total_timeout"


def test_leaving_while_connecting_leaves_nothing_behind(weir):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fill = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
        fill.append(one)
    proxy = weir(f"http://127.0.0.1:{listener.getsockname()[1]}")
    client = Raw(proxy.url).send("POST", CHAT, BODY, content_type="application/json")
    until("accepted", lambda: proxy.metrics().value("weir_connections_active") == 1)
    client.close()
    until("gone", lambda: proxy.metrics().value("weir_connections_active") == 0, within=1.5)
    listener.close()
    for one in fill:
        one.close()


def test_a_slow_client_that_reads_gets_its_error_event_after_what_waits(weir, upstream):
    """The upstream breaks while critical events wait. The client gets them first, then the error, then the end."""
    events = [f'data: {{"n":{n},"x":"{"x" * 50_000}"}}\n\n' for n in range(60)]

    def script(connection):
        connection.request()
        connection.head()
        for event in events:
            connection.chunk(event)
        connection.fin()

    server = upstream(script)
    proxy = weir(server.url)
    with Raw(proxy.url, receive_buffer=4096).get("/agent") as client:
        settled("held", lambda: server.connections[0].sent)
        client.read_body()
        got = client.events()
    assert [json.loads(one.data).get("n") for one in got[:-1]] == list(range(60))
    assert got[-1].name == "error" and proxy.ended()["outcome"] == "truncated"


@pytest.mark.parametrize("when", ["blocked", "not blocked"])
def test_a_stop_while_critical_events_wait_outside_the_queue(weir, upstream, when):
    """Critical events are never lost while the client still reads: a drain ends the stream only after them."""
    events = [f'data: {{"n":{n},"x":"{"x" * 50_000}"}}\n\n' for n in range(200 if when == "blocked" else 20)]

    def script(connection):
        connection.request()
        connection.head()
        for event in events:
            connection.chunk(event)
        connection.gone()

    server = upstream(script)
    proxy = weir(server.url, drain={"delay": "0s", "limit": "1s"})
    with Raw(proxy.url, receive_buffer=4096).get("/agent") as client:
        settled("held", lambda: server.connections[0].sent)
        proxy.terminate()
        until("drain limit", lambda: server.connections[0].closed_at is not None, within=5)
        try:
            client.read_body()
        except (Closed, ConnectionError):
            pass
        got = client.events()
    numbers = [json.loads(one.data).get("n") for one in got if one.name != "error"]
    assert numbers == list(range(len(numbers)))
    assert got[-1].name == "error" and "drained" in got[-1].data


def test_many_http2_streams_with_one_that_floods(weir, upstream):
    """Thirty streams share a connection and one is never read. The others arrive without delay and end normally."""

    def script(connection):
        while True:
            line = connection.request().line
            connection.head()
            while "flood" in line:
                connection.chunk(OPENAI[1] * 200)
            connection.chunk("".join(OPENAI))
            connection.end()

    proxy = weir(upstream(script).url, defaults={"deadlines": {"client_stall": "1s"}})
    with H2(proxy.url) as connection:
        connection.h2.increment_flow_control_window(1 << 20)
        flood = connection.request("POST", CHAT + "?flood", BODY, content_type="application/json")
        flood.read = False
        flood.read_head()
        for _ in range(30):
            assert connection.post(CHAT).read_body() == "".join(OPENAI).encode()
        assert proxy.ended(outcome="client_stalled")
        for _ in range(5):
            assert connection.post(CHAT).read_body() == "".join(OPENAI).encode()
    proxy.outcomes(finished=35, client_stalled=1)


def test_invalid_names_are_replaced(weir, upstream):
    seen = {}

    def script(connection):
        request = connection.request()
        seen.update(request.headers)
        connection.head()
        connection.chunk("".join(OPENAI))
        connection.end()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post(CHAT, x_request_id="x" * 500, traceparent="00-0-0-00") as client:
        client.read_body()
    ended = proxy.ended()
    assert client.headers["x-request-id"] == seen["x-request-id"] == ended["request_id"] != "x" * 500
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", seen["traceparent"])
    assert ended["trace_id"] == seen["traceparent"].split("-")[1]


def test_admin_answers_while_a_stream_floods(weir, upstream):
    def script(connection):
        connection.request()
        connection.head()
        while True:
            connection.chunk(OPENAI[1] * 2000)

    proxy = weir(upstream(script).url, workers=1)
    with Raw(proxy.url, receive_buffer=4096).post(CHAT):
        slowest = 0.0
        for _ in range(10):
            began = time.monotonic()
            assert proxy.ask("/healthz")[0] == 200
            assert proxy.metrics().value("weir_streams_active") == 1
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 0.5


def test_a_stream_beside_a_flood_on_one_worker(weir, upstream):
    """A flood to a client that reads nothing does not delay another stream on the same worker."""
    go = threading.Semaphore(0)

    def script(connection):
        line = connection.request().line
        connection.head()
        while "flood" in line:
            connection.chunk(OPENAI[1] * 2000)
        while not connection._closed.is_set():
            go.acquire()
            connection.chunk(OPENAI[1])

    proxy = weir(upstream(script).url, workers=1)
    with Raw(proxy.url, receive_buffer=4096).post(CHAT + "?flood"), Raw(proxy.url).post(CHAT) as steady:
        slowest = 0.0
        for _ in range(100):
            began = time.monotonic()
            go.release()
            steady.until_bytes(b"\n\n")
            del steady.body[:]
            slowest = max(slowest, time.monotonic() - began)
        print("slowest", slowest)
    go.release()
    assert slowest < 0.25


@pytest.mark.parametrize("max_events", [256, 4096, 65536])
def test_a_full_queue_costs_the_same_whatever_its_size(weir, upstream, max_events):
    """A flood of tokens that do not join (two choices in turn) goes to a client that reads nothing. Other streams of
    the worker must continue. `queue.max_events` up to 65536 is allowed (docs/configuration.md)."""
    go = threading.Semaphore(0)
    pair = "".join(f'data: {{"choices":[{{"index":{i},"delta":{{"content":"word "}}}}]}}\n\n' for i in (0, 1))

    def script(connection):
        line = connection.request().line
        connection.head()
        while "flood" in line:
            connection.chunk(pair * 5000)
        while not connection._closed.is_set():
            go.acquire()
            connection.chunk(OPENAI[1])

    queue = {"max_events": max_events, "max_bytes": "16MiB"}
    proxy = weir(upstream(script).url, workers=1, defaults={"queue": queue})
    with Raw(proxy.url).post(CHAT) as steady, Raw(proxy.url, receive_buffer=4096).post(CHAT + "?flood"):
        until("events are dropped", lambda: any(one["dropped"] for one in proxy.streams()), within=10)
        steady.socket.settimeout(5)
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            go.release()
            steady.until_bytes(b"\n\n")
            del steady.body[:]
            slowest = max(slowest, time.monotonic() - began)
        print("slowest", slowest)
    go.release()
    assert slowest < 0.25
