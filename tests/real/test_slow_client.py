"""Tests that a client that does not read costs bounded memory, does not slow others, and loses no tool call."""

import re
import threading
import time
from contextlib import ExitStack
from urllib.parse import parse_qsl, urlsplit

import pytest
from h2.settings import SettingCodes

from backends import flood
from support.h2 import H2
from support.kernel import held
from support.raw import Closed, Raw
from support.wait import settled, until

MIB = 1024 * 1024
FLOOD = 200 * MIB
# The queue's bound is 1 MiB; the rest allows for the allocator and one read.
GROWTH = 8 * MIB


def text_and_tools(body: bytes) -> tuple[int, list[int]]:
    """Returns the number of characters of text, and the numbers of the tool calls in order."""
    text = sum(len(part) for part in re.findall(rb'"content": "([^"]*)"', body))
    return text, [int(n) for n in re.findall(rb'"id": "t(\d+)"', body)]


def dropped(body: bytes) -> int:
    return sum(int(n) for n in re.findall(rb"^: weir dropped=\d+ chars=(\d+)$", body, re.MULTILINE))


@pytest.fixture
def flooding(upstream):
    """An upstream that floods, except on /steady, where it sends one event per permit."""
    permits = threading.Semaphore(0)

    def script(connection):
        while True:
            path = connection.request().line.split()[1]
            if path.startswith("/steady"):
                connection.head()
                for _ in range(100_000):
                    permits.acquire()
                    connection.chunk(flood.tool_call(0))
            else:
                options = dict(parse_qsl(path.partition("?")[2]))
                flood.pour(connection, int(options["size"]), int(options["tools"]))

    server = upstream(script)
    server.permits = permits
    return server


def stalled(proxy, size: int, tools: int = 0) -> Raw:
    """Opens a client that reads the head and nothing more."""
    client = Raw(proxy.url, receive_buffer=4096)
    return client.post(f"/v1/chat/completions?tools={tools}&size={size}")


def warm_up(proxy) -> int:
    """Runs one ordinary stream and returns the memory after it."""
    with Raw(proxy.url) as client:
        client.post(f"/v1/chat/completions?tools=40&size={MIB}").read_body()
    return proxy.rss()


def connection(server, size: int):
    """Returns the upstream's connection of the stream with this size."""
    return next(c for c in server.connections if f"size={size} " in c.requests[-1].line)


@pytest.mark.parametrize("tools", [40, 400])
def test_a_client_that_never_reads(weir, flooding, tools):
    proxy = weir(flooding.url, defaults={"deadlines": {"client_stall": "2s"}})
    before = most = warm_up(proxy)
    with Raw(proxy.url).post("/steady") as steady, stalled(proxy, FLOOD, tools):
        started, slowest, events = time.monotonic(), 0.0, 0
        while len(proxy.streams()) > 1:
            sent = time.monotonic()
            flooding.permits.release()
            events += 1
            steady.until_bytes(b"\n\n")
            del steady.body[:]
            slowest = max(slowest, time.monotonic() - sent)
            most = max(most, proxy.rss())
            assert time.monotonic() - started < 20, "the stalled stream never ended"
        lasted = time.monotonic() - started
        server = connection(flooding, FLOOD)
        server.gone(1)
    print(f"grew by {(most - before) / MIB:.1f} MiB, the slowest of {events} took {slowest:.3f} s")
    assert proxy.ended(outcome="client_stalled")
    assert 1.9 < lasted < 6
    assert most - before < GROWTH
    assert events > 50 and slowest < 0.5
    assert server.sent < FLOOD / 5, "back-pressure reached the agent"


def test_a_client_that_comes_back_gets_every_tool_call(weir, flooding):
    size = 20 * MIB
    proxy = weir(flooding.url)
    with stalled(proxy, size, tools=40) as client:
        held = settled("the agent is held back", lambda: connection(flooding, size).sent)
        assert 0 < held < size / 2
        body = client.read_body()
    sent_text, sent_tools = text_and_tools(flood.whole(size, 40))
    text, tools = text_and_tools(body)
    assert tools == sent_tools
    assert body.endswith(b"data: [DONE]\n\n")
    assert text + dropped(body) == sent_text, "what is missing is told, to the character"
    ended = proxy.ended()
    assert ended["outcome"] == "finished" and ended["max_queue"] <= MIB
    metrics = proxy.metrics()
    assert metrics.value("weir_events_dropped_total", **{"class": "tool"}) == 0
    assert metrics.value("weir_events_merged_total") == ended["merged"] > 0


def test_tokens_alone_never_hold_the_agent_back(weir, flooding):
    """200 MB arrive while the client does not read: the agent finishes, memory is bounded, the loss is reported."""
    proxy = weir(flooding.url)
    before = warm_up(proxy)
    with stalled(proxy, FLOOD) as client:
        server = connection(flooding, FLOOD)
        sent = settled("the agent is done", lambda: server.sent, for_s=1.0)
        assert sent > FLOOD * 0.9
        assert proxy.rss() - before < GROWTH
        body = client.read_body()
    everything = FLOOD // len(flood.TOKEN * 100) * 100 * len(flood.WORD)
    assert dropped(body) > 0
    assert text_and_tools(body)[0] + dropped(body) == everything
    assert body.endswith(b"data: [DONE]\n\n")
    proxy.outcomes(finished=2)


def test_little_hides_in_the_kernel(weir, flooding):
    """docs/behaviour.md: bytes in kernel buffers can be neither joined nor dropped, and arrive late."""
    clients = 12
    proxy = weir(flooding.url)
    downstream, upstream = (urlsplit(url).port for url in (proxy.url, flooding.url))

    def hidden() -> float:
        """Returns the KiB in kernel buffers per stalled client, towards it and from its agent."""
        return (held(downstream).written + held(upstream).unread) / clients / 1024

    with ExitStack() as stack:
        readers = [stack.enter_context(Raw(proxy.url)) for _ in range(clients)]
        for reader in readers:
            reader.post(f"/v1/chat/completions?tools=0&size={FLOOD}")
        towards = settled("the clients' buffers are full", lambda: held(downstream).written // clients)
        assert 16 < towards / 1024 < 192
        until("the agents' events are left in the agents", lambda: hidden() < 256)
        sent = [connection.sent for connection in flooding.connections]
        until("all are read on", lambda: all(c.sent > s for c, s in zip(flooding.connections, sent)))
        assert hidden() < 256

        # One client resumes reading, and the data comes without a pause.
        slowest, last = 0.0, time.monotonic()
        while len(readers[0].body) < 6 * MIB:
            readers[0].read_chunk()
            now = time.monotonic()
            slowest, last = max(slowest, now - last), now
        print(f"the longest pause was {slowest:.3f} s")
        assert slowest < 0.5


@pytest.mark.parametrize("overflow", ["block", "disconnect"])
def test_other_overflow_rules(weir, flooding, overflow):
    size = 20 * MIB
    proxy = weir(flooding.url, defaults={"queue": {"overflow": overflow, "merge": False}})
    with stalled(proxy, size) as client:
        if overflow == "disconnect":
            assert proxy.ended()["outcome"] == "client_stalled"
            connection(flooding, size).gone(1)
            # Queued events may still be read, but the stream must not end as a success.
            try:
                assert b"[DONE]" not in client.read_body()
            except (Closed, ConnectionError):
                pass
        else:
            held = settled("the agent is held back", lambda: connection(flooding, size).sent)
            assert held < size / 2
            assert client.read_body() == flood.whole(size)
            assert proxy.ended()["dropped"] == 0


def test_joined_events_look_like_the_others(weir, flooding):
    """Every block of a joined stream is one JSON object of the same shape."""
    size = 4 * MIB
    proxy = weir(flooding.url)
    with stalled(proxy, size, tools=40) as client:
        settled("the agent is held back", lambda: connection(flooding, size).sent)
        client.read_body()
        *events, done = client.events()
    assert done.data == "[DONE]"
    kinds, longest = set(), 0
    for event in events:
        data = event.json()
        assert data.keys() == {"id", "object", "created", "model", "choices"}
        (choice,) = data["choices"]
        text = choice["delta"].get("content", "")
        assert text == flood.WORD * (len(text) // len(flood.WORD))
        longest = max(longest, len(text))
        kinds.add(tuple(choice["delta"]))
    assert kinds == {("content",), ("tool_calls",)}
    assert longest > len(flood.WORD), "some were joined"


@pytest.fixture
def plain(weir, upstream):
    """A plain response of 192 KiB, whose client may pause for two seconds."""

    def script(connection):
        while True:
            connection.request()
            connection.head("application/octet-stream")
            for _ in range(24):
                connection.chunk("x" * 8192)
            connection.end()

    server = upstream(script)
    return weir(server.url, defaults={"deadlines": {"client_stall": "1s"}}), server


def in_sips(connection):
    """Opens a stream with a window of 1000 bytes, which is only extended on demand."""
    connection.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    connection.flush()
    connection.receive()
    stream = connection.request("GET", "/file")
    stream.read = False
    return stream.read_head()


def sip(connection, stream):
    connection.h2.increment_flow_control_window(8192, stream.number)
    connection.h2.increment_flow_control_window(8192)
    connection.flush()


def test_a_plain_answer_over_http2_may_be_taken_slowly(plain):
    proxy, _ = plain
    with H2(proxy.url) as connection:
        stream = in_sips(connection)
        started = time.monotonic()
        while len(stream.body) < 24 * 8192:
            had = len(stream.body)
            sip(connection, stream)
            while len(stream.body) < min(had + 8192, 24 * 8192):
                stream._more()
            time.sleep(0.2)
        stream.read_body()
        assert stream.body == b"x" * 24 * 8192
        assert time.monotonic() - started > 4


def test_a_plain_answer_that_is_not_taken_ends_alone(plain):
    proxy, server = plain
    with H2(proxy.url) as connection:
        stream = in_sips(connection)
        server.connections[0].gone(4)
        sip(connection, stream)
        with pytest.raises(Closed):
            stream.read_body()
        other = connection.get("/other")
        assert not other.ended and other.status == 200
