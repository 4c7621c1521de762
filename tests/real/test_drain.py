"""Tests graceful shutdown: short streams finish, long ones are told of the end, and the process exits cleanly."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.raw import Raw
from support.wait import until

STREAMS = 20


def test_sigterm_with_short_and_long_streams(weir, fastapi, name):
    """Ten streams finish after the signal. Ten others are still silent at the limit and get an error event."""
    proxy = weir(fastapi.url, drain={"delay": "0s", "limit": "3s"})
    runs = [name() for _ in range(STREAMS)]
    clients = [Raw(proxy.url) for _ in runs]
    for client, run in zip(clients, runs):
        client.post(f"/v1/chat/completions?run={run}&hold=3").until_events(3)
    assert len(proxy.streams()) == STREAMS
    started = time.monotonic()
    proxy.terminate()
    until("not ready", lambda: proxy.ask("/readyz")[0] == 503)
    for run in runs[::2]:
        fastapi.open(run)
    with ThreadPoolExecutor(STREAMS) as pool:
        bodies = list(pool.map(Raw.read_body, clients))
    assert proxy.stopped(within=8) == 0
    assert 2.9 <= time.monotonic() - started < 6
    for client, body in zip(clients[::2], bodies[::2]):
        assert body.endswith(b"data: [DONE]\n\n")
        assert b"drained" not in body
    for client, body in zip(clients[1::2], bodies[1::2]):
        assert client.events()[-1].json()["error"]["code"] == "drained"
        assert b"[DONE]" not in body
    outcomes = [line["outcome"] for line in proxy.logs() if line["message"] == "stream ended"]
    assert sorted(outcomes) == ["drained"] * 10 + ["finished"] * 10
    for run in runs[1::2]:
        fastapi.becomes(run, "cancelled")


def test_it_exits_as_soon_as_nothing_runs(weir, fastapi, name):
    proxy, run = weir(fastapi.url, drain={"delay": "0s", "limit": "60s"}), name()
    with Raw(proxy.url).get(f"/agent?run={run}&hold=2") as client:
        client.until_events(2)
        proxy.terminate()
        proxy.logged("draining")
        fastapi.open(run)
        assert client.read_body().endswith(b'data: {"type": "done"}\n\n')
    assert proxy.stopped(within=5) == 0


def test_requests_are_served_during_the_delay_and_refused_after_it(weir, fastapi, name):
    proxy, run = weir(fastapi.url, drain={"delay": "1s", "limit": "60s"}), name()
    with Raw(proxy.url).get(f"/agent?run={run}&hold=2") as client, Raw(proxy.url) as kept:
        client.until_events(2)
        kept.get("/json").read_body()
        proxy.terminate()
        until("not ready", lambda: proxy.ask("/readyz")[0] == 503)
        assert proxy.ask("/healthz")[0] == 200
        assert kept.get("/json").status == 200
        kept.read_body()

        def refused() -> bool:
            with Raw(proxy.url) as other:
                other.get("/json").read_body()
                return other.status == 503 and int(other.headers["retry-after"]) > 0

        until("new requests are refused", refused)
        fastapi.open(run)
        assert client.read_body().endswith(b'data: {"type": "done"}\n\n')
    assert proxy.stopped(within=5) == 0


def test_drain_by_request_waits_for_the_streams(weir, fastapi, name):
    """The request that a preStop hook sends. A GET without `wait` is an error and changes nothing."""
    proxy, run = weir(fastapi.url, drain={"delay": "0s", "limit": "60s"}), name()
    with Raw(proxy.url).get(f"/agent?run={run}&hold=2") as client, ThreadPoolExecutor() as pool:
        client.until_events(2)
        assert proxy.ask("/drain")[0] in (400, 405)
        assert proxy.ask("/readyz")[0] == 200
        asked = pool.submit(proxy.ask, "/drain?wait=10s")
        until("not ready", lambda: proxy.ask("/readyz")[0] == 503)
        assert not asked.done()
        fastapi.open(run)
        client.read_body()
        assert asked.result()[0] == 200


@pytest.mark.parametrize("dialect", ["anthropic", "ollama", "convention"])
def test_drained_is_told_in_every_dialect(weir, fastapi, name, dialect):
    path = {"anthropic": "/v1/messages", "ollama": "/api/chat", "convention": "/agent"}[dialect]
    proxy, run = weir(fastapi.url, drain={"delay": "0s", "limit": "300ms"}), name()
    with Raw(proxy.url).post(f"{path}?run={run}&hold=3") as client:
        client.until_bytes(b"Rain")
        proxy.terminate()
        last = client.read_body().rstrip(b"\n").split(b"\n")[-1]
    assert b"drained" in last and b"error" in last
    assert proxy.stopped(within=5) == 0
