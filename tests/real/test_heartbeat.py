"""Tests that heartbeats are sent only in forms that the clients of each dialect accept."""

import re

import pytest

from support.raw import Raw
from support.wait import until

# The path, the heartbeats allowed between two events, and the number of events before the silence.
DIALECTS = {
    "openai_chat": ("POST", "/v1/chat/completions", rb":[^\n]*\n"),
    "anthropic": ("POST", "/v1/messages", rb'event: ping\ndata: {"type": ?"ping"}\n\n|:[^\n]*\n'),
    "convention": ("GET", "/agent", rb":[^\n]*\n"),
}


def wait_for_heartbeats(proxy, number: int) -> None:
    until(
        f"{number} heartbeats",
        lambda: proxy.metrics().value("weir_heartbeats_total") >= number,
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_bytes_of_a_heartbeat(weir, fastapi, name, dialect):
    method, path, heartbeat = DIALECTS[dialect]
    proxy, run = weir(fastapi.url, defaults={"heartbeat": "100ms"}), name()
    with Raw(fastapi.url) as direct:
        plain = direct.send(method, path, *([b"{}"] if method == "POST" else [])).read_head().read_body()
    with Raw(proxy.url) as client:
        client.send(method, f"{path}?run={run}&hold=4", *([b"{}"] if method == "POST" else []))
        client.read_head().until_events(4)
        wait_for_heartbeats(proxy, 3)
        fastapi.open(run)
        body = client.read_body()
    before, _, rest = body.partition(b"\n\n".join(plain.split(b"\n\n")[:4]) + b"\n\n")
    after = plain[len(plain) - len(body.removesuffix(rest)) :] if before else b""
    assert before == b"" and after == b""
    silence = re.match(rb"(?:" + heartbeat + rb")*", rest)
    assert silence and len(re.findall(heartbeat, silence[0])) >= 3
    assert rest[silence.end() :] == plain.removeprefix(body[: len(body) - len(rest)])
    if dialect != "anthropic":
        assert b"\n\n" not in silence[0], "a comment with a blank line breaks some parsers"


def test_ollama_is_left_alone(weir, fastapi, name):
    """No heartbeat in NDJSON is accepted by every client, so at most one space before a line is sent."""
    proxy, run = weir(fastapi.url, defaults={"heartbeat": "100ms"}), name()
    with Raw(fastapi.url).post("/api/chat") as direct, Raw(proxy.url) as client:
        plain = direct.read_body()
        client.post(f"/api/chat?run={run}&hold=2")
        other = name()
        with Raw(proxy.url).get(f"/agent?run={other}&hold=2") as witness:
            witness.until_events(2)
            wait_for_heartbeats(proxy, 3)
        fastapi.open(run)
        body = client.read_body()
    assert b"\n\n" not in body
    assert re.sub(rb"^ +", b"", body, flags=re.MULTILINE) == plain


def test_no_heartbeat_when_switched_off(weir, fastapi, name):
    quiet, witness = (
        weir(fastapi.url, defaults={"heartbeat": beat}) for beat in ("off", "100ms")
    )
    runs = name(), name()
    with Raw(quiet.url) as one, Raw(witness.url) as other:
        one.get(f"/agent?run={runs[0]}&hold=2")
        other.get(f"/agent?run={runs[1]}&hold=2")
        wait_for_heartbeats(witness, 3)
        for run in runs:
            fastapi.open(run)
        assert b"\n:" not in one.read_body()
        assert b"\n:" in other.read_body()
    assert quiet.ended()["heartbeats"] == 0


def test_a_silent_upstream_before_its_first_event(weir, fastapi, name):
    """The head is sent as soon as the upstream's arrives. Heartbeats may precede the first event."""
    proxy, run = weir(fastapi.url, defaults={"heartbeat": "100ms"}), name()
    with Raw(proxy.url).get(f"/agent?run={run}&hold=0") as client:
        assert client.status == 200
        while client.body.count(b":") < 3:
            client.read_chunk()
        assert client.events() == []
        fastapi.open(run)
        client.read_body()
        assert [event.name for event in client.events()][-1] == "done"
