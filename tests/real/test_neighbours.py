"""Tests that a bad neighbour does not affect others. All of them share one thread of Weir, the closest case there is.

The good and the bad agents and clients run in separate processes (`backends/neighbours.py`). On a busy machine
everything is late, so each comparison may be repeated and must hold once.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor, wait
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from backends.neighbours import KINDS, Figures, bearable
from support.backend import Backend
from support.process import python
from support.raw import Raw
from support.wait import until
from support.weir import Weir, config_for

ATTEMPTS = 4


@pytest.fixture(scope="module")
def good():
    yield from one()


@pytest.fixture(scope="module")
def bad():
    yield from one()


def one():
    backend = Backend(python("-m", "backends.neighbours"), r'"port": (\d+)')
    yield backend
    backend.close()


def tell(backend: Backend, step: str, **options) -> Figures:
    request = Request(f"{backend.url}/_{step}?{urlencode(options)}", method="POST")
    with urlopen(request, timeout=30) as response:
        said = json.load(response)
    assert "problem" not in said, said["problem"]
    return said


@pytest.fixture
def proxies(weir, good, bad) -> tuple[Weir, Weir]:
    """Returns two identical proxies: one is shared with the neighbour, the other only shares the machine."""
    upstreams = {"good": {"endpoints": [good.url]}, "bad": {"endpoints": [bad.url]}}
    hide = {"reasoning": "drop", "tools": "drop"}
    routes = [
        {"name": "hidden", "match": {"path_prefix": "/bad/hidden"}, "upstream": "bad", "hide": hide},
        {"name": "translated", "match": {"path_prefix": "/bad/translated"}, "upstream": "bad", "reply": {"as": "events"}},
        {"name": "bad", "match": {"path_prefix": "/bad"}, "upstream": "bad"},
        {"name": "good", "upstream": "good"},
    ]
    config = config_for("", upstreams=upstreams, routes=routes, workers=1)
    return weir(config=config), weir(config=config)


def measured(proxy: Weir, good: Backend, seconds: float) -> Figures:
    """Measures the delay of the good agent's events, while plain requests are sent at intervals, each on a new
    connection."""
    slowest, asked = 0.0, 0
    with ThreadPoolExecutor(1) as pool:
        events = pool.submit(tell, good, "measure", proxy=proxy.address, seconds=seconds)
        while not wait([events], timeout=0.2).done:
            start = time.monotonic()
            with Raw(proxy.url).get("/plain") as client:
                assert client.read_body() == b"ok"
            slowest, asked = max(slowest, time.monotonic() - start), asked + 1
        return {**events.result(), "plain": asked, "slowest plain": round(slowest * 1000, 2)}


def neighbouring(measured_at: Weir, bad_at: Weir, good: Backend, bad: Backend, kind: str) -> Figures:
    """Measures while the bad neighbour is active."""
    tell(bad, "begin", proxy=bad_at.address, kind=kind)
    first = until("the neighbour is at work", lambda: tell(bad, "so_far")["done"])
    start = time.monotonic()
    figures = measured(measured_at, good, 2)
    done = tell(bad, "end")["done"] - first
    assert done > 0, "the neighbour had stopped"
    return {**figures, "done": done, "for": round(time.monotonic() - start, 2)}


@pytest.mark.parametrize("kind", KINDS)
def test_one_bad_neighbour_hurts_nobody(proxies, good, bad, kind, record_property):
    """The neighbour keeps both cores busy, which delays all events. So they are compared with those of a second Weir
    that the neighbour does not use."""
    proxy, other = proxies
    alone = measured(proxy, good, 1)
    tried = []
    for _ in range(ATTEMPTS):
        apart = neighbouring(proxy, other, good, bad, kind)
        beside = neighbouring(proxy, proxy, good, bad, kind)
        tried.append((apart, beside))
        record_property(f"beside {kind}", json.dumps([alone, apart, beside]))
        print(f"\n{kind}: alone {alone}, apart {apart}, beside it {beside}")
        assert beside["plain"] >= 5 and beside["slowest plain"] < 1000
        if bearable(apart, beside):
            return
    pytest.fail(f"events came late beside {kind}: {tried}")


def test_a_burst_of_100_000_events_never_keeps_the_thread(proxies, good, bad, record_property):
    """If a burst occupied the thread, an event would wait for half a burst on average, and for a whole burst at
    worst."""
    tried = []
    for _ in range(ATTEMPTS):
        beside = neighbouring(proxies[0], proxies[0], good, bad, "bursts")
        burst = beside["for"] / beside["done"] * 1000
        tried.append((burst, beside))
        record_property("beside a burst", json.dumps([round(burst, 1), beside]))
        print(f"\na burst takes {burst:.1f} ms; events of others {beside}")
        if beside["p50"] < burst / 6 and beside["p99"] < burst / 3:
            return
    pytest.fail(f"events waited for the burst: {tried}")
