"""Tests that an agent that floods a stream delays none of 15 others, and a client ends all calls: docs/merge.md."""

import re
import time
from typing import NamedTuple

import pytest

from backends import wire
from support.raw import Raw
from support.resume import RESUME, stop
from support.wait import PATIENCE

FLOODS = "a0"
OTHERS = [f"a{number}" for number in range(1, 16)]
MIB = 1024 * 1024
# What each of the others sends while it is measured: two seconds.
EVENTS = 40
PACE = 0.05
BOUND = 0.5
# On a busy machine everything is late, so a measurement may be repeated and must be short once.
ATTEMPTS = 3
STAMP = re.compile(rb"at=(a\d+):(\d+):([\d.]+);")
# More than a stamp has.
PART = 64


def said(text: str) -> str:
    return wire.sse({"type": "token", "content": text})


FLOOD = said("drizzle ") * 1000


def agent(connection):
    """Floods on the path `/a0`. On any other, sends an event every 50 ms that says whose it is, its number, and when it
    left."""
    name = connection.request(within=60).line.split()[1].removeprefix("/")
    connection.head()
    while name == FLOODS:
        connection.chunk(FLOOD)
    number = 0
    while not connection._closed.wait(PACE):
        connection.chunk(said(f"at={name}:{number}:{time.monotonic():.6f};"))
        number += 1


class Came(NamedTuple):
    """One stamped event: its number, and how long it was on its way."""

    number: int
    took: float


def follow(client: Raw, enough: int) -> dict[str, list[Came]]:
    """Reads until this many events of each of the others have come, and returns all that came."""
    came: dict[str, list[Came]] = {name: [] for name in OTHERS}
    unread, limit = b"", time.monotonic() + PATIENCE
    while min(map(len, came.values())) < enough:
        number = {name: len(events) for name, events in came.items()}
        assert not client.ended and time.monotonic() < limit, number
        unread += client.read_chunk()
        now = time.monotonic()
        client.body.clear()
        end = 0
        for stamp in STAMP.finditer(unread):
            end = stamp.end()
            came[stamp[1].decode()].append(Came(int(stamp[2]), now - float(stamp[3])))
        # The last stamp may be cut.
        unread = unread[max(end, len(unread) - PART) :]
    return came


@pytest.fixture
def team(weir, upstream):
    """`team()` starts Weir before a server that is all 16 agents. Takes settings of the route."""

    def start(**policy):
        server = upstream(agent)
        agents = [{"name": name, "upstream": "agent", "path": f"/{name}"} for name in (FLOODS, *OTHERS)]
        # This client may read more slowly than Weir writes, and no event may be dropped.
        defaults = {"reply": {"as": "events"}, "queue": {"overflow": "block"}, **policy}
        return weir(server.url, defaults=defaults, routes=[{"name": "all", "merge": {"agents": agents}}]), server

    return start


def flood_of(server):
    """Returns the newest connection of the agent that floods."""
    return next(c for c in reversed(server.connections) if c.requests and f"/{FLOODS} " in c.requests[-1].line)


@pytest.mark.alone
def test_a_flood_delays_no_event_of_15_others(team, record_property):
    proxy, server = team()
    tried = []
    for _ in range(ATTEMPTS):
        with Raw(proxy.url, receive_buffer=256 * 1024).post("/") as client:
            came = follow(client, EVENTS)
            # It has not ended, and is not held back for ever.
            flood = flood_of(server)
            poured = flood.sent
            follow(client, 2)
            assert flood.closed_at is None and flood.sent > poured > MIB
        for name, events in came.items():
            numbers = [event.number for event in events]
            assert numbers == list(range(len(numbers))), f"{name}: in order, and none is lost"
        tried.append(max(event.took for events in came.values() for event in events))
        print(f"the slowest event took {tried[-1]:.3f} s beside {poured / MIB:.1f} MiB")
        if tried[-1] < BOUND:
            break
    record_property("slowest beside a flood", str(tried))
    assert tried[-1] < BOUND, tried


@pytest.mark.alone
@pytest.mark.parametrize("how", ["leaves", "resets", "stops"])
def test_a_client_ends_all_16_calls_within_a_second(team, how):
    proxy, server = team(**(RESUME if how == "stops" else {}))
    with Raw(proxy.url, receive_buffer=256 * 1024).post("/") as client:
        follow(client, 2)
        began = time.monotonic()
        if how == "stops":
            # Nobody reads meanwhile, so the flood has filled every buffer or is about to.
            assert stop(proxy.url, client.headers["weir-stream-id"]) == 202
        elif how == "resets":
            client.reset()
        else:
            client.close()
        ends = [connection.gone(within=5) for connection in server.connections]
        if how == "stops":
            client.read_body()
    assert len(ends) == 1 + len(OTHERS)
    assert all(end - began < 1.0 for end in ends)
    assert proxy.ended()["outcome"] == ("stopped" if how == "stops" else "client_gone")
