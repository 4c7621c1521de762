"""Tests that deadlines hold under pressure, and that nobody waits for an end that has already come."""

import json
import threading
import time

import pytest

from backends import wire
from support.h2 import H2
from support.raw import Closed, Raw
from support.wait import settled, until

CHAT = "/v1/chat/completions"
OPENAI = list(wire.openai(6))
MIB = 1024 * 1024


def endless(connection, block: bytes) -> None:
    """Sends `block` repeatedly, as fast as it is taken, until the peer closes the connection."""
    data = b"%x\r\n%s\r\n" % (len(block), block)
    while True:
        connection.send(data)


def discard(client: Raw) -> threading.Thread:
    """Reads and discards everything until the end, on a thread."""

    def run():
        try:
            while client.socket.recv(1 << 20):
                pass
        except OSError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


FLOODS = {
    "tokens": OPENAI[1].encode() * 5000,
    "comments": b": ping\n\n" * 100_000,
    "structure": OPENAI[0].encode() * 5000,
}


@pytest.mark.parametrize("reads", [True, False], ids=["client reads", "client does not read"])
@pytest.mark.parametrize("kind", FLOODS)
def test_total_ends_a_flood(weir, upstream, kind, reads):
    """`total` bounds the whole stream. Nothing resets it."""

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(OPENAI[0] + OPENAI[1])
        endless(connection, FLOODS[kind])

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"total": "1s"}})
    with Raw(proxy.url).post(CHAT) as client:
        if reads:
            discard(client)
        until("the stream ended", lambda: any(one["message"] == "stream ended" for one in proxy.logs()), within=8)
        ended = proxy.ended()
    assert ended["outcome"] == "total_timeout"
    assert 950 < ended["duration_ms"] < 4000


def test_client_stall_in_a_flood_of_tokens(weir, upstream):
    """`client_stall` runs while something waits for the client. With drop_oldest the agent is never held back."""

    def script(connection):
        connection.request()
        connection.head()
        endless(connection, FLOODS["tokens"])

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"client_stall": "1s"}})
    with Raw(proxy.url, receive_buffer=4096).post(CHAT):
        until("the stream ended", lambda: any(one["message"] == "stream ended" for one in proxy.logs()), within=8)
        ended = proxy.ended()
    assert ended["outcome"] == "client_stalled"
    assert ended["duration_ms"] < 5000


def test_progress_in_a_flood_of_comments(weir, upstream):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(OPENAI[0] + OPENAI[1])
        endless(connection, FLOODS["comments"])

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"progress": "1s"}})
    with Raw(proxy.url).post(CHAT) as client:
        discard(client)
        until("the stream ended", lambda: any(one["message"] == "stream ended" for one in proxy.logs()), within=8)
    ended = proxy.ended()
    assert ended["outcome"] == "progress_timeout" and ended["duration_ms"] < 4000


def test_heartbeats_in_a_flood_of_comments(weir, upstream):
    """A heartbeat is sent after `heartbeat` without a byte to the client."""

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(OPENAI[0] + OPENAI[1])
        endless(connection, FLOODS["comments"])

    server = upstream(script)
    proxy = weir(server.url, defaults={"heartbeat": "100ms"})
    with Raw(proxy.url).post(CHAT) as client:
        client.until_events(2)
        client.socket.settimeout(4)
        client.read_chunk()
        assert client.body.endswith(b"\n\n:\n")


def test_total_bounds_a_plain_answer_that_never_pauses(weir, upstream):
    """Plain responses are forwarded as they arrive, cancelled with their client, and bounded by `total`."""

    def script(connection):
        connection.request()
        connection.head("application/octet-stream")
        endless(connection, b"x" * MIB)

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"total": "1s"}})
    with Raw(proxy.url).get("/file") as client:
        started = time.monotonic()
        thread = discard(client)
        thread.join(6)
        lasted = time.monotonic() - started
    assert lasted < 5
    assert server.connections[0].gone(2)


def test_total_bounds_a_plain_answer_to_a_slow_reader(weir, upstream):
    def script(connection):
        connection.request()
        connection.head("application/octet-stream")
        endless(connection, b"x" * MIB)

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"total": "1s"}})
    with Raw(proxy.url, receive_buffer=65536).get("/file") as client:
        started = time.monotonic()
        try:
            while time.monotonic() - started < 6 and client.socket.recv(65536):
                time.sleep(0.01)
        except OSError:
            pass
        lasted = time.monotonic() - started
    assert lasted < 5


def test_one_large_event_that_is_not_read_is_a_stalled_client(weir, upstream):
    """`client_stall` runs while something waits for the client. Every report gives the same reason."""
    big = 'data: {"choices":[{"index":0,"delta":{"content":"' + "x" * (8 * MIB) + '"}}]}\n\n'

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(OPENAI[0] + big)
        connection.gone()

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"client_stall": "1s"}})
    with Raw(proxy.url, receive_buffer=4096).post(CHAT):
        ended = proxy.ended()
    assert ended["outcome"] == "client_stalled"


def test_an_http2_client_that_grants_no_window_is_stalled(weir, upstream):
    """A few events, less than the connection buffers, to a client that takes none of them."""

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk("".join(OPENAI[:3]))
        connection.gone()

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"client_stall": "1s"}})
    from h2.settings import SettingCodes

    with H2(proxy.url) as connection:
        connection.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        connection.flush()
        connection.receive()
        stream = connection.request("POST", CHAT, b'{"stream":true}', content_type="application/json")
        stream.read_head()
        until("it ended", lambda: any(one["message"] == "stream ended" for one in proxy.logs()), within=4)
        ended = proxy.ended()
    server.connections[0].socket.close()
    assert ended["outcome"] == "client_stalled" and ended["duration_ms"] < 4000


def test_an_http2_client_whose_window_ran_out_is_stalled(weir, upstream):
    """The waiting bytes fit into the connection's own buffer, so the queue is empty."""
    some = "".join(OPENAI[1:2] * 200)  # about 30 KB

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(some)
        connection.gone()

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"client_stall": "1s"}})
    from h2.settings import SettingCodes

    with H2(proxy.url) as connection:
        connection.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})
        connection.flush()
        connection.receive()
        stream = connection.request("POST", CHAT, b'{"stream":true}', content_type="application/json")
        stream.read_head()
        stream.read = False
        until("it ended", lambda: any(one["message"] == "stream ended" for one in proxy.logs()), within=6)
        ended = proxy.ended()
    assert ended["outcome"] == "client_stalled" and ended["duration_ms"] < 4000


def test_finished_means_that_the_client_has_it_over_http2(weir, upstream):
    """docs: finished = the upstream ended as its dialect requires, and the client has all of it."""
    some = "".join(OPENAI[1:2] * 200) + "data: [DONE]\n\n"

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(some)
        connection.end()

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"client_stall": "1s"}})
    from h2.settings import SettingCodes

    with H2(proxy.url) as connection:
        connection.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})
        connection.flush()
        connection.receive()
        stream = connection.request("POST", CHAT, b'{"stream":true}', content_type="application/json")
        stream.read_head()
        stream.read = False
        ended = proxy.ended()
    assert ended["outcome"] != "finished"


TERMINALS = {
    "openai_chat": (CHAT, "".join(OPENAI), "text/event-stream"),
    "anthropic": ("/v1/messages", "".join(wire.anthropic(3)), "text/event-stream"),
    "ollama": ("/api/chat", "".join(wire.ollama(3)), "application/x-ndjson"),
    "langserve": ("/chain/stream", 'event: metadata\ndata: {"run_id": "r"}\n\nevent: data\ndata: "a"\n\nevent: end\n\n', "text/event-stream"),
    "langgraph": ("/threads/t/runs/stream", 'event: metadata\ndata: {"run_id":"r","attempt":1}\n\nevent: values\ndata: {"a":1}\n\nevent: end\ndata: null\n\n', "text/event-stream"),
    "convention [DONE]": ("/agent", 'data: {"type":"token","content":"a"}\n\ndata: [DONE]\n\n', "text/event-stream"),
}


@pytest.mark.parametrize("dialect", TERMINALS)
@pytest.mark.parametrize("more", [False, True], ids=["silence", "more"])
def test_after_its_terminal_nothing_comes_and_the_client_does_not_wait(weir, upstream, dialect, more):
    """Nothing follows a terminal event. The upstream keeps its connection open, and may continue to send."""
    path, body, content_type = TERMINALS[dialect]

    def script(connection):
        connection.request()
        connection.head(content_type)
        connection.chunk(body)
        if more:
            connection.chunk(body)
        connection.gone()

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"idle": "1s"}, "heartbeat": "300ms"})
    with Raw(proxy.url).post(path) as client:
        started = time.monotonic()
        got = client.read_body()
        took = time.monotonic() - started
    assert (got.decode(), proxy.ended()["outcome"]) == (body, "finished")
    assert took < 0.5


@pytest.mark.parametrize("dialect", ["convention", "langserve-astream"])
def test_a_deadline_after_the_terminal_adds_no_error(weir, upstream, dialect):
    body = {
        "convention": "".join(wire.convention(3)),
        "langserve-astream": "".join(
            f"data: {json.dumps(one)}\n\n"
            for one in (
                {"event": "on_chain_start", "run_id": "r", "name": "g", "parent_ids": [], "data": {}},
                {"event": "on_chat_model_stream", "run_id": "m", "parent_ids": ["r"], "data": {"chunk": {"content": "a"}}},
                {"event": "on_chain_end", "run_id": "r", "name": "g", "parent_ids": [], "data": {}},
            )
        ),
    }[dialect]

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(body)
        connection.gone()

    proxy = weir(upstream(script).url, defaults={"deadlines": {"idle": "500ms"}})
    with Raw(proxy.url).post("/agent") as client:
        got = client.read_body().decode()
    assert got == body
    assert proxy.ended()["outcome"] == "finished"


def test_a_drain_that_ends_a_stalled_client_is_logged(weir, upstream):
    """The client, the log line and the metric all give the same reason."""

    def script(connection):
        connection.request()
        connection.head()
        while True:
            connection.chunk(OPENAI[-5] * 100)  # tool fragments

    server = upstream(script)
    proxy = weir(server.url, drain={"delay": "0s", "limit": "1s"})
    with Raw(proxy.url, receive_buffer=4096).post(CHAT):
        settled("held back", lambda: server.connections[0].sent)
        proxy.terminate()
        assert proxy.stopped() == 0
    ended = [one for one in proxy.logs() if one["message"] == "stream ended"]
    assert [one["outcome"] for one in ended] == ["drained"]


def test_a_farewell_is_within_total(weir, upstream):
    """`total` bounds the whole stream. A client that reads a little at a time does not extend it."""
    critical = f'data: {{"x":"{"x" * 30_000}"}}\n\n'

    def script(connection):
        connection.request()
        connection.head()
        while True:
            connection.chunk(critical)

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"total": "1s", "client_stall": "1s"}})
    with Raw(proxy.url, receive_buffer=8192).get("/agent") as client:
        started = time.monotonic()
        ended = None
        while time.monotonic() - started < 7 and not ended:
            try:
                if not client.socket.recv(8192):
                    break
            except OSError:
                break
            time.sleep(0.1)
            ended = next((one for one in proxy.logs() if one["message"] == "stream ended"), None)
    assert ended, "7 s with a total of 1 s"
    assert ended["outcome"] == "total_timeout"
    assert ended["duration_ms"] < 4000
