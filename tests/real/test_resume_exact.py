"""Tests that clients that come back get each event once, in order, with the same bytes and the same id.

Runs of 1,000 events at once, each cut ten times at any byte: WEIR_EXACT_RUNS of them, in drills 200. The agent's events are known, so that what arrives is
compared with what was sent, and not only with what is sent again.
"""

import asyncio
import json
import os
import random
import re
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from backends import known
from support.follower import Follower, number, whole, without_id
from support.known import Known
from support.resume import GRACE, stream_path
from support.stores import STORES, journals

pytestmark = [pytest.mark.alone, pytest.mark.slow]

RUNS = int(os.environ.get("WEIR_EXACT_RUNS", "60"))
COUNT, CUTS = 1000, 10
EVENTS = "text/event-stream"
BODY = b'{"question":"?"}'
HIDE = {"hide": {"reasoning": "drop"}}
UI = {"reply": {"as": "ai-sdk"}}
# The settings of the route, and what a client gets of the agent's events: all, those that are not hidden, or a
# translation.
CASES: dict[str, dict[str, Any]] = {
    "as they come": {},
    "hidden": HIDE,
    "ai-sdk": UI,
    "ai-sdk, hidden": {**UI, **HIDE},
    "native": {"reply": {"as": "events"}},
}
# The type of a piece of text in a translation, of one of reasoning, and their member with the text.
TEXTS = {
    "ai-sdk": ("text-delta", "reasoning-delta", "delta"),
    "events": ("token", "reasoning", "text"),
}


@pytest.fixture(params=STORES)
def store(request) -> str:
    return request.param


@pytest.fixture
def agent():
    one = Known()
    yield one
    one.close()


class Got(NamedTuple):
    """What a client has of its run, after all its connections."""

    run: int
    stream: str
    events: list[bytes]


def path(run: int, **options: Any) -> str:
    return "/agent?" + "&".join(f"{name}={value}" for name, value in {"run": run, **options}.items())


def way_back(rng: random.Random, stream: str, seq: int, own: str) -> tuple[str, str, bytes, dict[str, str]]:
    """Returns a request for what follows event `seq`, as one of the clients sends it."""
    last = {"last_event_id": f"{stream}.{seq}"}
    ways = [
        ("GET", f"{stream_path(stream)}?after={seq}", b"", {}),
        ("GET", stream_path(stream), b"", last),
        # EventSource, and fetch-event-source.
        ("GET", own, b"", {"accept": EVENTS, "cache_control": "no-cache", **last}),
        ("POST", own, BODY, {"accept": EVENTS, **last}),
    ]
    # Without an event, a client has no id to come back with.
    return rng.choice(ways if seq else ways[:1])


async def follow(address: str, run: int, size: int) -> Got:
    """Follows one run, of which at least `size` bytes come. Loses the connection ten times."""
    rng = random.Random(run)
    own = path(run, count=COUNT, each=10, every=0.04)
    offsets = sorted(rng.sample(range(size), CUTS))
    events: list[bytes] = []
    client = await Follower.ask(address, "POST", own, BODY)
    stream = client.headers["weir-stream-id"]
    for at_most in [*(after - before for before, after in pairwise([0, *offsets])), None]:
        try:
            ended = await client.read(events, at_most)
        finally:
            client.cut()
        assert ended == (at_most is None), (run, at_most, len(events))
        if not ended:
            await asyncio.sleep(rng.random() * 0.05)
            seq = number(events[-1], stream) if events else 0
            method, target, body, headers = way_back(rng, stream, seq, own)
            client = await Follower.ask(address, method, target, body, **headers)
            assert client.status == 200, (run, method, target, client.status, await client.piece())
            assert client.headers["weir-stream-id"] == stream
            assert client.headers["weir-resumed-from"] == str(seq)
    return Got(run, stream, events)


async def followed(address: str, size: int) -> tuple[list[Got], list[list[bytes]]]:
    """Follows all runs at once. Returns what their clients got, and the journals afterwards."""
    async with asyncio.timeout(90):
        got = await asyncio.gather(*(follow(address, run, size) for run in range(RUNS)))
        kept = [await whole(address, stream_path(one.stream)) for one in got]
    return got, kept


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", CASES)
def test_each_event_arrives_once_in_order_and_unchanged(weir, agent, store, case):
    policy = CASES[case]
    hides, target = "hide" in policy, policy.get("reply", {}).get("as")
    defaults = {
        "resume": {"ids": "all"},
        "on_disconnect": GRACE,
        # Merged events would have other bytes, and dropped ones none.
        "queue": {"merge": False, "overflow": "block"},
        **policy,
    }
    proxy = weir(agent.url, defaults=defaults, resume=journals(store))
    sizes = [sum(map(len, known.events(run, COUNT))) for run in (0, RUNS - 1)]
    # A translation of an event may be shorter than the event.
    got, kept = asyncio.run(followed(proxy.address, min(sizes) // (2 if target or hides else 1)))

    assert agent.runs() == {"started": RUNS, "finished": RUNS}, "no second run"
    proxy.outcomes(finished=RUNS)
    for one, journal in zip(got, kept):
        seen = [number(event, one.stream) for event in one.events]
        assert seen == list(range(1, len(one.events) + 1)), (one.run, seen)
        assert one.events == journal, one.run
        assert (known.SECRET.encode() in b"".join(journal)) != hides
        if target:
            check_texts(one, TEXTS[target], hides)
        else:
            sent = known.events(one.run, COUNT)
            visible = [event for event in sent if not (hides and known.SECRET.encode() in event)]
            assert [without_id(event) for event in one.events] == visible
    results = proxy.metrics().by("weir_resume_requests_total", "result")
    # A client that lost nothing but the connection is `live`.
    assert sum(results.values()) == results["replayed"] + results.get("live", 0) == RUNS * (CUTS + 1)


def check_texts(got: Got, of: tuple[str, str, str], hides: bool) -> None:
    """Checks that a translated stream says what the agent said."""
    token, thought, member = of
    lines = (re.search(rb"^data: (\{.*\})$", event, re.MULTILINE) for event in got.events)
    parts = [json.loads(line[1]) for line in lines if line]

    def text(kind: str) -> str:
        return "".join(part[member] for part in parts if part["type"] == kind)

    assert text(token) == known.text_of(got.run, COUNT)
    places = [place for place in range(COUNT) if known.kind(place, COUNT) == "thinking"]
    thoughts = "".join(f"{known.SECRET} {known.said(got.run, place)}" for place in places)
    assert text(thought) == ("" if hides else thoughts)
    calls = sum(known.kind(place, COUNT) == "tool_call" for place in range(COUNT))
    named = b'"wx"'
    assert sum(named in event for event in got.events) >= calls


LONG = 6000
PAD = 300
NOTICE = re.compile(rb": weir dropped=([0-9]+) chars=([0-9]+)")


async def follow_slowly(address: str) -> tuple[str, list[bytes], list[bytes], list[tuple[int, int]], list[list[bytes]]]:
    """Follows a run at a slow pace beside a viewer that keeps up. Returns the stream, the slow viewer's events and
    comments, where it has gaps, and what is behind each of them in the journal."""
    own = path(1, count=LONG, each=40, every=0.01, pad=PAD)
    slow = await Follower.ask(address, "POST", own, BODY, receive_buffer=4096)
    stream = slow.headers["weir-stream-id"]
    fast = asyncio.create_task(whole(address, stream_path(stream)))
    events: list[bytes] = []
    while not fast.done():
        if not slow.ended:
            events += slow.blocks.feed(await slow.piece())
        await asyncio.sleep(0.15)
    await fast
    await slow.read(events)
    slow.cut()
    seen = [0, *(number(event, stream) for event in events)]
    gaps = [(before, after) for before, after in pairwise(seen) if after != before + 1]
    missed = []
    for before, after in gaps:
        client = await Follower.ask(address, "GET", f"{stream_path(stream)}?after={before}")
        part: list[bytes] = []
        await client.read_events(part, after - before)
        client.cut()
        missed.append(part[: after - before])
    return stream, events, slow.blocks.comments, gaps, missed


@pytest.mark.parametrize("merge", [False, True], ids=["dropped", "merged"])
def test_what_a_slow_viewer_has_lost_can_be_fetched_whole(weir, agent, store, merge):
    defaults = {
        "resume": {"max_bytes": "32MiB"},
        "on_disconnect": GRACE,
        "queue": {"max_events": 64, "max_bytes": "64KiB", "merge": merge},
    }
    proxy = weir(agent.url, defaults=defaults, resume=journals(store))

    async def bounded():
        async with asyncio.timeout(100):
            return await follow_slowly(proxy.address)

    stream, events, comments, gaps, missed = asyncio.run(bounded())
    sent = known.events(1, LONG, PAD)
    assert gaps, "the viewer was not slow"
    for (before, after), part in zip(gaps, missed):
        assert [number(event, stream) for event in part] == list(range(before + 1, after + 1))
        assert [without_id(event) for event in part] == sent[before:after]
    seen = {number(event, stream): without_id(event) for event in events}
    assert list(seen) == sorted(seen) and max(seen) == LONG
    # Nothing is lost but text, whatever the pace.
    for place in range(LONG):
        if known.kind(place, LONG) not in ("token", "thinking"):
            assert seen[place + 1] == sent[place]
    lost = LONG - len(seen)
    told = sum(int(NOTICE.match(comment)[1]) for comment in comments if NOTICE.match(comment))
    if merge:
        # A merged event has the number of its last piece, and ends with it.
        assert all(known.said(1, seq - 1, PAD).encode() in event.replace(b'\\"', b'"') for seq, event in seen.items() if b"token" in event)
        assert told <= lost
    else:
        assert told == lost
        assert all(event == sent[seq - 1] for seq, event in seen.items())
