"""Tests that a wall clock that jumps changes nothing."""

import glob
import threading
import time
from datetime import UTC, datetime

import pytest

from backends import resumable
from support import sse
from support.faults import (
    DONE,
    STREAMS,
    Agent,
    Running,
    chat,
    chats,
    nothing_is_left,
    plain,
    replace,
    started_by,
    token,
)
from support.raw import Raw
from support.resume import RESUME, numbers, rest
from support.wait import until
from support.weir import BINARY, config_for

DAY = 86_400


@pytest.fixture
def jump(tmp_path, monkeypatch):
    """`jump(seconds)` sets Weir's wall clock, and only that clock, off by so many seconds."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        pytest.skip("no libfaketime here: apt-get install faketime")
    offset = tmp_path / "offset"
    settings = {"LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": offset, "FAKETIME_NO_CACHE": 1}
    # Setting the wall clock changes neither the monotonic clock nor file times.
    settings |= {"DONT_FAKE_MONOTONIC": 1, "NO_FAKE_STAT": 1}
    replace(offset, "+0")
    words = " ".join(f"{name}={value}" for name, value in settings.items())
    started_by(f'env {words} {BINARY} "$@"', tmp_path, monkeypatch)
    return lambda seconds: replace(offset, f"{seconds:+d}")


def test_a_wall_clock_that_jumps_moves_no_timer(weir, upstream, jump):
    """The clock jumps by a day, which exceeds every default deadline (`total` is an hour). Only real time may end
    streams."""
    over = threading.Event()

    def quiet(connection) -> None:
        path = connection.request().line.split()[1]
        if path != "/quiet/request":
            connection.head()
        if path.endswith("event"):
            connection.chunk(token(0))
        over.wait(30)
        if path == "/quiet/request":
            connection.head()
        connection.chunk(DONE)
        connection.end()

    began = time.monotonic()
    agent = Agent(upstream)
    config = config_for(agent.server.url, workers=1)
    config["upstreams"]["agent"]["pool_idle"] = "1h"
    config["upstreams"]["quiet"] = {"endpoints": [upstream(quiet).url], "pool_idle": "0s"}
    short = {"deadlines": {"idle": "1s"}, "heartbeat": "200ms"}
    config["routes"] = [
        {"name": "short", "match": {"path_prefix": "/short"}, "upstream": "quiet", **short},
        {"name": "quiet", "match": {"path_prefix": "/quiet"}, "upstream": "quiet"},
        {"name": "all", "upstream": "agent"},
    ]
    proxy = weir(config=config)
    assert plain(proxy) == b"agent"
    with nothing_is_left(proxy, kept=STREAMS):
        running = Running(agent, chats(proxy))
        waiting = [Raw(proxy.url).send("POST", f"/quiet/{what}") for what in ("request", "head", "event")]
        with Raw(proxy.url) as kept:
            for seconds in (DAY, 0, -DAY, 0):
                started = time.monotonic()
                with chat(proxy, "/short/event") as client:
                    client.until_events(1)
                    jumped = time.monotonic()
                    jump(seconds)
                    body = client.read_body()
                assert client.events()[-1].json()["error"]["code"] == "idle_timeout"
                assert time.monotonic() - started > 1.0, "not before its time"
                assert time.monotonic() - jumped < 2.5, "not long after it"
                assert 2 <= len(sse.comments(body)) <= 5, "heartbeats keep their time"
                ended = proxy.ended(stream_id=client.headers["weir-stream-id"])
                said = datetime.fromisoformat(ended["timestamp"]) - datetime.now(UTC)
                assert abs(said.total_seconds() - seconds) < 60, "the clock has jumped"
                assert 1000 <= ended["duration_ms"] < 4000
                # Neither this connection nor the one to the agent has expired.
                assert kept.get("/plain").read_body() == b"agent"
                running.go_on()
        over.set()
        for client in waiting:
            assert client.read_head().status == 200
            assert client.read_body().decode().removeprefix(token(0)) == DONE
            client.close()
        running.finish()
        proxy.outcomes(finished=STREAMS + len(waiting), idle_timeout=4)
    assert len(agent.server.connections) == STREAMS + 1
    lasted, metrics = time.monotonic() - began, proxy.metrics()
    for name, labels, value in metrics.samples:
        if name.startswith("weir_") and name.endswith("_seconds_sum"):
            count = metrics.value(name.replace("_sum", "_count"), **labels)
            assert 0 <= value <= count * lasted, (name, labels, value, count)
    assert metrics.value("weir_time_to_first_event_seconds_count") >= STREAMS


def test_a_wall_clock_that_jumps_forgets_no_stream(weir, upstream, jump):
    """A day is longer than the grace of 30 s and the two minutes for which a stream is kept. Another stream is kept for
    a moment only, and shows that Weir has looked at all of them since the clock jumped."""
    agent = resumable.Agent(20, hold=10)
    short = {"name": "short", "match": {"path_prefix": "/v1"}, "upstream": "short", "resume": {"keep": "100ms"}}
    config = config_for(upstream(agent).url, defaults=RESUME)
    config["upstreams"]["short"] = {"endpoints": [upstream(resumable.Agent()).url]}
    config["routes"] = [short, {"name": "all", "upstream": "agent"}]
    proxy = weir(config=config)

    def jumps(seconds: int) -> None:
        jump(seconds)
        with chat(proxy, "/v1/messages") as client:
            brief = client.headers["weir-stream-id"]
            client.read_body()

        def status() -> int:
            with rest(proxy.url, brief) as again:
                again.read_body()
                return again.status

        until("the other stream is forgotten", lambda: status() == 404)

    with Raw(proxy.url).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        client.until_events(10)
    for seconds in (DAY, -DAY, DAY):
        jumps(seconds)
        with rest(proxy.url, stream, 4) as again:
            assert numbers(again.until_events(6)[:6], stream) == list(range(5, 11))
    agent.go.set()
    last = len(agent.events("/agent"))
    for seconds in (0, DAY, -DAY):
        with rest(proxy.url, stream, 9) as again:
            assert numbers(sse.events(again.read_body()), stream) == list(range(10, last + 1))
        jumps(seconds)
    with rest(proxy.url, stream, 9) as again:
        assert len(sse.events(again.read_body())) == last - 9
    assert len(agent.runs) == 1
