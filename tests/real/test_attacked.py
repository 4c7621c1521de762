"""Tests that good clients hardly notice attackers, all of whom are at work at once, and that memory stays bounded.

Takes some seconds; `tests/run soak` runs it for half an hour or `WEIR_SOAK_SECONDS`.
"""

import json
import os
import time

from backends.neighbours import KINDS, bearable
from test_neighbours import bad, good, measured, tell  # noqa: F401

from support.weir import config_for

SECONDS = float(os.environ.get("WEIR_SOAK_SECONDS", "8"))
MIB = 1024 * 1024
STREAMS, EVENT, QUEUE = 64, 1 * MIB, 64 * 1024
# Attackers that a single client of the process can be. One that opens connections without end is met by other limits.
ATTACKERS = [kind for kind in KINDS if kind != "rapid resets" and not kind.startswith("large")]


def attacked(proxy, other, good, bad, seconds: float):  # noqa: F811
    """Measures the good clients of `proxy` while the attackers are at `other`."""
    for kind in ATTACKERS:
        tell(bad, "begin", proxy=other.address, kind=kind)
    figures = measured(proxy, good, seconds)
    for _ in ATTACKERS:
        tell(bad, "end")
    return figures


def test_good_clients_among_attackers(weir, good, bad, record_property):  # noqa: F811
    upstreams = {"good": {"endpoints": [good.url]}, "bad": {"endpoints": [bad.url]}}
    routes = [{"name": "bad", "match": {"path_prefix": "/bad"}, "upstream": "bad"}, {"name": "good", "upstream": "good"}]
    config = config_for(
        "",
        upstreams=upstreams,
        routes=routes,
        workers=1,
        limits={"max_streams": STREAMS},
        defaults={"max_event_bytes": "1MiB", "queue": {"max_bytes": "64KiB"}, "deadlines": {"client_stall": "2s"}},
    )
    proxy, other = weir(config=config), weir(config=config)
    measured(proxy, good, 1)
    proxy.forget_peak()
    before, tried, over = proxy.rss(), [], time.monotonic() + SECONDS
    while True:
        apart = attacked(proxy, other, good, bad, 2)
        beside = attacked(proxy, proxy, good, bad, 2)
        tried.append((apart, beside))
        print(f"\napart {apart}, beside attackers {beside}")
        assert beside["slowest plain"] < 1000
        if time.monotonic() > over:
            break
    record_property("beside attackers", json.dumps(tried))
    # What the machine does otherwise makes some of them late.
    fine = sum(bearable(apart, beside, noise=2) for apart, beside in tried)
    assert 2 * fine >= len(tried), tried
    grown = proxy.peak() - before
    assert grown < STREAMS * (3 * EVENT + QUEUE + MIB), f"{grown / MIB:.1f} MiB"
    assert proxy.rss() - before < 24 * MIB
