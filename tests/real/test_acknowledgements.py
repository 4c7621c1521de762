"""Tests that Weir's kernel acknowledges events when the upstream needs it.

An upstream with Nagle's algorithm sends no small event until the previous one was acknowledged, and on a reused
connection Linux delays acknowledgements by up to 40 ms. An upstream without it gains nothing from a packet per event.
"""

import socket
import threading
import time
from itertools import islice


import pytest

from backends import wire
from support.kernel import segments_received
from support.raw import Raw
from support.wait import PATIENCE
from support.websocket import TEXT, tunnel
from support.websocket_agents import agent  # noqa: F401

# Later than the delays of the machine itself, sooner than a delayed acknowledgement.
LATE = 0.03


@pytest.fixture
def lockstep(upstream):
    """An upstream that sends one event per permit, as many as the path says, with or without Nagle's algorithm."""
    permits = threading.Semaphore(0)

    def script(connection):
        while True:
            _, nodelay, number = connection.request().line.split()[1].split("/")
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(nodelay))
            connection.head()
            for event in islice(wire.openai(None), int(number)):
                permits.acquire()
                connection.chunk(event)
            connection.end()

    server = upstream(script)
    server.permits = permits
    return server


def delays(client: Raw, server, path: str, number: int) -> list[float]:
    """Returns the seconds from each event's permit to its arrival."""
    client.get(f"/{path}/{number}")
    taken = []
    for count in range(1, number + 1):
        started = time.monotonic()
        server.permits.release()
        client.until_events(count)
        taken.append(time.monotonic() - started)
    client.read_body()
    return taken


def test_the_first_event_is_not_held_back_on_a_connection_used_before(weir, lockstep):
    with Raw(weir(lockstep.url).url) as client:
        first = [delays(client, lockstep, "0", 1)[0] for _ in range(12)]
    assert len(lockstep.connections) == 1
    assert sum(delay > LATE for delay in first) <= 3, first


def test_an_upstream_that_waits_for_acknowledgements_is_hardly_ever_late(weir, lockstep):
    with Raw(weir(lockstep.url).url) as client:
        taken = delays(client, lockstep, "0", 400)
    assert sum(delay > LATE for delay in taken) <= 8, [(n, t) for n, t in enumerate(taken) if t > LATE]


def test_an_upstream_that_does_not_wait_gets_one_acknowledgement_for_two_events(weir, lockstep):
    number = 400
    with Raw(weir(lockstep.url).url) as client:
        delays(client, lockstep, "1", number)
        assert segments_received(lockstep.connections[0].socket) < number * 0.75


def in_a_tunnel(weir, agent, nodelay: int, number: int) -> tuple[list[float], int]:  # noqa: F811
    """Returns the seconds that each message of an agent takes, and how many segments the agent got meanwhile."""
    permits, over = threading.Semaphore(0), threading.Event()
    segments: list[int] = []

    def script(peer):
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay)
        peer.accept()
        for _ in range(number):
            permits.acquire()
            peer.send(TEXT, b"x" * 200)
        assert over.wait(PATIENCE)
        segments.append(segments_received(peer.socket))
        peer.close()

    taken: list[float] = []
    with tunnel(weir(agent(script).url).url) as client:
        for _ in range(number):
            started = time.monotonic()
            permits.release()
            assert len(client.frame().payload) == 200
            taken.append(time.monotonic() - started)
        over.set()
        client.gone()
    return taken, segments[0]


def test_a_websocket_gets_one_acknowledgement_for_two_messages(weir, agent):  # noqa: F811
    number = 400
    _, segments = in_a_tunnel(weir, agent, 1, number)
    assert segments < number * 0.75


def test_a_websocket_that_waits_for_acknowledgements_is_hardly_ever_late(weir, agent):  # noqa: F811
    taken, _ = in_a_tunnel(weir, agent, 0, 400)
    assert sum(delay > LATE for delay in taken) <= 8, [(n, t) for n, t in enumerate(taken) if t > LATE]
