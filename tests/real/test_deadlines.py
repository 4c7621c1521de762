"""Tests that silence ends a stream by the right deadline, and that the error names this deadline."""

import json

import pytest

from backends import wire
from support.raw import Raw

EVENTS = list(wire.openai(6))
ROLE, TOKEN = EVENTS[0], EVENTS[1]

# The deadline, what the upstream sends before it falls silent, and what it repeats meanwhile.
CASES = {
    "first_event": (ROLE, ": ping\n\n"),
    "idle": (ROLE + TOKEN, ""),
    "progress": (ROLE + TOKEN, ": ping\n\n"),
    "total": (ROLE + TOKEN, TOKEN),
}


@pytest.mark.parametrize("deadline", CASES)
def test_a_silent_upstream(weir, upstream, deadline):
    start, repeated = CASES[deadline]

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(start)
        # One repetition per 50 ms, until the client closes the connection.
        while repeated and not connection._closed.wait(0.05):
            connection.chunk(repeated)
        left.append(connection.gone())

    left: list[float] = []
    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {deadline: "600ms"}, "heartbeat": "off"})
    with Raw(proxy.url).post("/v1/chat/completions") as client:
        body = client.read_body()
    outcome = f"{deadline}_timeout"
    ended = proxy.ended()
    assert ended["outcome"] == outcome
    assert 550 <= ended["duration_ms"] < 3000
    last = body.decode().rstrip("\n").split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == outcome
    assert b"[DONE]" not in body
    assert server.connections[0].gone(1), "the agent is not left running"
    proxy.outcomes(**{outcome: 1})
