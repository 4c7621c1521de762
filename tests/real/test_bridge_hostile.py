"""Tests clients of a bridge that attack: floods of pings, messages in single bytes or without an end, runs that nobody
reads. Weir stays bounded, closes with the code for it, and the streams of a well-behaved neighbour stay fast."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from test_neighbours import bad, good, tell  # noqa: F401

from backends.neighbours import STREAMS
from support.wait import PATIENCE, until
from support.weir import config_for
from support.websocket import BINARY, CLOSE, CONTINUATION, MASK, PING, TEXT, closing, frame, tunnel

KIB, MIB = 1 << 10, 1 << 20
# How late an event of the neighbour may be while an attack runs, on a busy machine, in milliseconds.
FAST = 500
# Runs of one socket.
RUNS = 8


@pytest.fixture
def beside(weir, good):  # noqa: F811
    """`beside(agent, **route)` starts a Weir with a bridge to this agent on `/bad`, and ordinary streams elsewhere."""

    def start(agent: str, **route):
        upstreams = {"good": {"endpoints": [good.url]}, "bad": {"endpoints": [agent]}}
        bridge = {"name": "bad", "match": {"path_prefix": "/bad"}, "upstream": "bad", "websocket": "bridge", **route}
        return weir(config=config_for("", upstreams=upstreams, routes=[bridge, {"name": "good", "upstream": "good"}]))

    return start


@contextmanager
def neighbour(proxy, good):  # noqa: F811
    """Reads ordinary streams meanwhile, in a process of their own, and checks that their events arrive soon."""
    with ThreadPoolExecutor(1) as pool:
        events = pool.submit(tell, good, "measure", proxy=proxy.address, seconds=1)
        until("its streams", lambda: active(proxy, "good") == STREAMS)
        yield
        took = events.result(PATIENCE)
    assert took["events"] > STREAMS and took["slowest"] < FAST, took


@contextmanager
def bounded(proxy, limit):
    """Checks that Weir never has more memory than before and `limit`."""
    before = proxy.rss()
    proxy.forget_peak()
    yield
    assert proxy.peak() - before < limit


def total(proxy, family, **labels):
    """Returns the sum of the series with these labels, of which there may be none yet."""
    samples = proxy.metrics().samples
    return sum(value for name, known, value in samples if name == family and labels.items() <= known.items())


def active(proxy, route="bad"):
    return total(proxy, "weir_streams_active", route=route)


def ended(proxy, outcome):
    return total(proxy, "weir_streams_total", route="bad", outcome=outcome)


def say(client, **message):
    client.send(TEXT, json.dumps(message).encode())


def hear(client, wanted: Callable[[list[dict]], bool]) -> list[dict]:
    """Reads messages until they are what is wanted."""
    seen: list[dict] = []
    while not wanted(seen):
        got = client.frame()
        assert got.opcode in (TEXT, PING), got
        if got.opcode == TEXT:
            seen.append(json.loads(got.payload))
    return seen


def of(events, kind, **fields):
    return [event for event in events if {"type": kind, **fields}.items() <= event.items()]


def code(client):
    """Returns the code of the close frame that comes, behind whatever is before it."""
    while (got := client.frame()).opcode != CLOSE:
        pass
    return got.code


def talks(connection):
    """An agent that says one word, and waits until its client leaves."""
    connection.request()
    connection.head()
    connection.chunk(b'data: {"type":"token","content":"Rain"}\n\n')
    connection.gone()


@pytest.mark.alone
def test_a_flood_of_pings(beside, good, bad):  # noqa: F811
    """Whose pongs are not read: after those that the kernel takes, no ping is read either."""
    proxy = beside(bad.url, deadlines={"client_stall": "1s"})
    pings = frame(PING, b"x" * 125, MASK) * 500
    with neighbour(proxy, good), tunnel(proxy.url, path="/bad", receive_buffer=4096) as client:
        client.socket.settimeout(0.5)
        over = time.monotonic() + PATIENCE
        with bounded(proxy, 4 * MIB), pytest.raises((TimeoutError, ConnectionError)):
            while time.monotonic() < over:
                client.say(pings)
        until("it is given up", lambda: ended(proxy, "client_stalled") == 1)
        until("nothing is left", lambda: active(proxy) == 0)


# A message that is answered with a pong.
ASK = b'{"type":"ping"'


def in_single_bytes(size):
    """Returns a message of so many bytes, most of them spaces, each in a frame of its own."""
    opcodes = [TEXT] + [CONTINUATION] * (len(ASK) - 1)
    begin = [frame(opcode, bytes([byte]), MASK, final=False) for opcode, byte in zip(opcodes, ASK, strict=True)]
    space = frame(CONTINUATION, b" ", MASK, final=False)
    return b"".join(begin) + space * (size - len(ASK) - 1) + frame(CONTINUATION, b"}", MASK)


@pytest.mark.alone
def test_a_message_in_single_bytes(beside, good, bad):  # noqa: F811
    """It is read as any other, and as large as any other may be."""
    limit = 64 * KIB
    proxy = beside(bad.url, max_request_bytes="64KiB")
    with neighbour(proxy, good), tunnel(proxy.url, path="/bad") as client:
        with bounded(proxy, 4 * MIB):
            client.say(in_single_bytes(limit))
            assert client.frame().payload == b'{"type":"pong"}'
            client.say(in_single_bytes(limit + 1))
            assert code(client) == 1009


@pytest.mark.alone
def test_messages_without_an_end(beside, good, bad):  # noqa: F811
    """From 32 clients: half a frame each, or half of the frames, and then nothing, not even pongs."""
    number, text = 32, b" " * (64 * KIB)
    proxy = beside(bad.url, heartbeat="300ms")
    halves = (frame(TEXT, text, MASK)[:-1], frame(TEXT, text, MASK, final=False))
    with neighbour(proxy, good), ExitStack() as stack, bounded(proxy, number * 256 * KIB):
        clients = [stack.enter_context(tunnel(proxy.url, path="/bad")) for _ in range(number)]
        for at, client in enumerate(clients):
            client.say(halves[at % 2])
        assert {code(client) for client in clients} == {1011}
    until("all are over", lambda: ended(proxy, "client_gone") == number)
    assert proxy.metrics().by("weir_websocket_closes_total", "code") == {"1011": number}


@pytest.mark.alone
def test_clients_that_never_read_while_their_runs_stream(beside, good, bad):  # noqa: F811
    """Agents that write as fast as they can, for all runs of 8 sockets, until the clients are given up."""
    sockets = 8
    proxy = beside(bad.url, deadlines={"client_stall": "2s"}, queue={"max_bytes": "64KiB"})
    runs = b"".join(
        frame(TEXT, b'{"type":"message","id":%d,"body":{"stream":true}}' % number, MASK) for number in range(RUNS + 1)
    )
    with neighbour(proxy, good), ExitStack() as stack, bounded(proxy, sockets * RUNS * 512 * KIB):
        opening = [tunnel(proxy.url, path="/bad/flood", receive_buffer=4096) for _ in range(sockets)]
        clients = [stack.enter_context(client) for client in opening]
        for client in clients:
            client.say(runs)
        until("they are given up", lambda: ended(proxy, "client_stalled") >= sockets)
        until("nothing is left", lambda: active(proxy) == 0)
    # The sockets and their runs. The ninth run of a socket was none.
    assert sockets < total(proxy, "weir_streams_total", route="bad") <= sockets * (RUNS + 1)
    assert total(proxy, "weir_events_dropped_total", route="bad") > 0


def test_a_socket_has_eight_runs(beside, upstream):
    agent = upstream(talks)
    proxy = beside(agent.url)
    with tunnel(proxy.url, path="/bad") as client:
        for number in range(RUNS + 1):
            say(client, type="message", id=number, body={"stream": True})
        seen = hear(client, lambda seen: len(of(seen, "token")) == RUNS and of(seen, "error"))
        [refused] = of(seen, "error")
        assert (refused["code"], refused["request"]) == ("too_many_runs", RUNS)
        assert {event["request"] for event in of(seen, "start")} == set(range(RUNS))
        say(client, type="stop")
        hear(client, lambda seen: len(of(seen, "error", code="stopped")) == RUNS)
        # There is room again.
        say(client, type="message", id="again", body={"stream": True})
        hear(client, lambda seen: of(seen, "start", request="again"))
        client.close_with(1000)
        assert code(client) == 1000
    until("all agents are left", lambda: all(one.closed_at for one in agent.connections))
    assert len(agent.connections) == RUNS + 1


# What a client may not send, and the code that it gets.
WRONG = {
    "without a mask": (frame(TEXT, b'{"type":"ping"}'), 1002),
    "a ping of 126 bytes": (frame(PING, bytes(126), MASK), 1002),
    "a length in more bytes than it needs": (b"\x81\xfe\0\x02" + MASK + bytes(2), 1002),
    "a close frame with a code that is none": (frame(CLOSE, closing(1005), MASK), 1002),
    "binary": (frame(BINARY, b'{"type":"ping"}', MASK), 1003),
    "no UTF-8": (frame(TEXT, b"\xff", MASK), 1007),
    "no JSON": (frame(TEXT, b"hello", MASK), 1007),
    "too large": (frame(TEXT, b" " * (KIB + 1), MASK), 1009),
}


def test_who_breaks_the_rules_is_told_and_the_agent_is_left(beside, upstream):
    agent = upstream(talks)
    proxy = beside(agent.url, max_request_bytes="1KiB")
    for case, (words, expected) in WRONG.items():
        with tunnel(proxy.url, path="/bad") as client:
            say(client, type="message", id="q", body={"stream": True})
            hear(client, lambda seen: of(seen, "token"))
            client.say(words)
            assert code(client) == expected, case
        agent.connections[-1].gone(5)
    until("all are over", lambda: active(proxy) == 0)
