"""Tests of plain responses to clients that do not read, of preambles, and of a drain before a head has arrived."""

import json
import threading
import time

import pytest
from h2.settings import SettingCodes

from backends import wire
from support.h2 import H2
from support.raw import Closed, Raw
from support.wait import until

CHAT = "/v1/chat/completions"
OPENAI = list(wire.openai(6))
WHOLE = "".join(OPENAI)


def download(upstream):
    def script(connection):
        connection.request()
        connection.head("application/octet-stream")
        while True:
            connection.chunk(b"x" * 65536)

    return upstream(script)


@pytest.mark.parametrize("deadline", ["client_stall", "total"])
def test_a_plain_answer_that_an_http2_client_does_not_take_is_bounded(weir, upstream, deadline):
    """Everything is bounded in time. Plain responses are bounded by `total`.
    docs/behaviour.md: a client that takes nothing of a response is closed after `client_stall` + 1 s."""
    server = download(upstream)
    proxy = weir(server.url, defaults={"deadlines": {deadline: "1s"}})
    with H2(proxy.url) as connection:
        connection.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        connection.flush()
        connection.receive()
        stream = connection.request("GET", "/file")
        stream.read = False
        stream.read_head()
        left = server.connections[0].gone(5)
        assert left
    server.connections[0].socket.close()


def test_a_plain_answer_that_an_http1_client_does_not_take_is_bounded(weir, upstream):
    server = download(upstream)
    proxy = weir(server.url, defaults={"deadlines": {"client_stall": "1s"}})
    with Raw(proxy.url, receive_buffer=4096).get("/file"):
        server.connections[0].gone(5)


@pytest.mark.parametrize("size", [2, 1024, 65536])
@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_a_preamble_is_one_comment_of_its_size(weir, upstream, size, protocol):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(WHOLE)
        connection.end()

    proxy = weir(upstream(script).url, defaults={"preamble_bytes": f"{size}B"})
    if protocol == "h1":
        with Raw(proxy.url).post(CHAT) as client:
            body = client.read_body()
    else:
        with H2(proxy.url) as connection:
            body = connection.post(CHAT).read_body()
    comment, rest = body[:size], body[size:]
    assert comment.startswith(b":") and comment.endswith(b"\n") and comment.count(b"\n") == 1
    assert rest.decode() == WHOLE


def test_a_preamble_comes_before_the_first_event_exists(weir, upstream):
    def script(connection):
        connection.request()
        connection.head()
        go.wait(5)
        connection.chunk(WHOLE)
        connection.end()

    go = threading.Event()
    proxy = weir(upstream(script).url, defaults={"preamble_bytes": "1KiB"})
    with Raw(proxy.url).post(CHAT) as client:
        assert len(client.read_chunk()) == 1024
        go.set()
        client.read_body()


def test_a_head_that_is_awaited_when_the_drain_ends(weir, upstream):
    """Before the head, failures have real statuses (503). Afterwards the client is told `drained`."""

    def script(connection):
        connection.request()
        ready.set()
        connection.gone()

    ready = threading.Event()
    proxy = weir(upstream(script).url, drain={"delay": "0s", "limit": "500ms"})
    client = Raw(proxy.url).send("POST", CHAT, b"{}", content_type="application/json")
    ready.wait(5)
    proxy.terminate()
    client.read_head()
    assert client.status == 503
    assert proxy.stopped() == 0


def test_finished_but_not_taken_is_logged_when_the_drain_ends(weir, upstream):
    """A stream ends exactly once, and its log line says how."""
    events = [f'data: {{"n":{n},"x":"{"x" * 50_000}"}}\n\n' for n in range(100)]
    done = threading.Event()

    def script(connection):
        connection.request()
        connection.head()
        for event in events[:20]:
            connection.chunk(event)
        connection.end()
        done.set()

    proxy = weir(upstream(script).url, drain={"delay": "0s", "limit": "500ms"})
    with Raw(proxy.url, receive_buffer=4096).get("/agent"):
        assert done.wait(5)
        until("something waits", lambda: proxy.streams() and proxy.streams()[0]["queue_events"] > 0, within=3)
        proxy.terminate()
        assert proxy.stopped() == 0
    assert [one for one in proxy.logs() if one["message"] == "stream ended"]


@pytest.mark.parametrize("path, first", [
    ("/api/chat", '{"model":"m","message":{"role":"assistant","content":"a"},"done":false}\n'),
    ("/agent", '{"a":1}\n'),
])
def test_lines_are_never_told_in_comments(weir, upstream, path, first):
    """NDJSON has no comments, so drop notices, preambles and heartbeats are not sent."""
    tokens = "".join(
        f'{{"model":"m","message":{{"role":"assistant","content":"t{n}"}},"done":false,"n":[{n}]}}\n' for n in range(500)
    )

    def script(connection):
        connection.request()
        connection.head("application/x-ndjson")
        connection.chunk(first + tokens)
        connection.chunk('{"model":"m","message":{"role":"assistant","content":""},"done":true}\n')
        connection.end()

    proxy = weir(upstream(script).url, defaults={"preamble_bytes": "1KiB", "queue": {"max_events": 8}})
    with Raw(proxy.url).post(path) as client:
        for line in client.read_body().decode().splitlines():
            json.loads(line)


def test_first_event_rules_plain_text_streams_too(weir, upstream):
    """`text/plain` on a route with `dialect` may be a stream. `first_event` bounds the time to its first content."""

    def script(connection):
        connection.request()
        connection.head("text/plain")
        connection.gone()

    server = upstream(script)
    proxy = weir(
        server.url, defaults={"dialect": "openai_chat", "deadlines": {"first_event": "500ms"}}
    )
    with Raw(proxy.url).post(CHAT) as client:
        assert server.connections[0].gone(4)
        assert client.status


def test_cancel_over_http2_while_an_upload_is_stuck(weir):
    """As in test_a_client_that_leaves_while_its_upload_is_stuck, but with RST_STREAM."""
    import socket

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    proxy = weir(f"http://127.0.0.1:{listener.getsockname()[1]}")
    with H2(proxy.url) as connection:
        stream = connection.request("POST", CHAT, content_type="application/json")
        accepted, _ = listener.accept()
        accepted.settimeout(3)
        try:
            for _ in range(100):
                if connection.h2.local_flow_control_window(stream.number) < 16384:
                    connection.socket.settimeout(1)
                    connection.receive()
                    continue
                stream.send(b"x" * 16384)
        except TimeoutError:
            pass
        stream.reset()
        until("the worker is idle", lambda: proxy.metrics().value("weir_worker_load") <= 1, within=2)
    accepted.close()
    listener.close()
