"""Tests rare cases of what a full queue drops, joins and reports."""

import json
import re

import pytest

from support.raw import Closed, Raw
from support.wait import settled

CHAT = "/v1/chat/completions"
BASE = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
DONE = "data: [DONE]\n\n"


def chunk(delta, index=0, finish=None, top=None, **choice) -> str:
    one = {"index": index, "delta": delta, "finish_reason": finish, **choice}
    return "data: " + json.dumps({**BASE, **(top or {}), "choices": [one]}) + "\n\n"


def served(weir, upstream, pieces, content_type="text/event-stream", **defaults):
    """Starts a proxy in front of an upstream that sends `pieces` at once."""

    def script(connection):
        connection.request()
        connection.head(content_type)
        for piece in pieces:
            connection.chunk(piece)
        connection.end()

    server = upstream(script)
    return weir(server.url, defaults=defaults), server


def texts(events, field="content") -> str:
    out = []
    for event in events:
        if event.data and event.data.startswith("{"):
            for choice in event.json()["choices"]:
                out.append(choice["delta"].get(field) or "")
    return "".join(out)


def notices(body: bytes) -> tuple[int, int]:
    found = re.findall(rb"^: weir dropped=(\d+) chars=(\d+)$", body, re.MULTILINE)
    return sum(int(n) for n, _ in found), sum(int(c) for _, c in found)


def logprob(n):
    return {"logprobs": {"content": [{"token": f"t{n} ", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}}


BURSTS = {
    "logprobs": lambda n: chunk({"content": f"t{n} "}, **logprob(n)),
    "usage on every chunk": lambda n: chunk(
        {"content": f"t{n} "}, top={"usage": {"prompt_tokens": 1, "completion_tokens": n, "total_tokens": n}}
    ),
    "two choices in turn": lambda n: chunk({"content": f"t{n} "}, index=n % 2),
    "several choices in one chunk": lambda n: "data: "
    + json.dumps({**BASE, "choices": [{"index": i, "delta": {"content": f"t{n} "}} for i in (0, 1)]})
    + "\n\n",
    "plain": lambda n: chunk({"content": f"t{n} "}),
}


@pytest.mark.parametrize("kind", BURSTS)
def test_a_burst_towards_a_client_that_reads_loses_nothing(weir, upstream, kind):
    """Weir must never make a stream worse. The client reads all the time; only the upstream's write was large."""
    body = "".join(BURSTS[kind](n) for n in range(2000)) + DONE
    proxy, _ = served(weir, upstream, [body])
    with Raw(proxy.url).post(CHAT) as client:
        client.read_body()
    expected = re.findall(r"t\d+ ", body.replace('"token": "t', ""))
    got = re.findall(r"t\d+ ", texts(client.events()))
    ended = proxy.ended()
    assert (ended["dropped"], len(got)) == (0, len(expected))


def test_a_burst_of_convention_tokens_with_counters(weir, upstream):
    body = "".join(
        f'data: {{"type": "token", "content": "t{n} ", "index": {n}}}\n\n' for n in range(2000)
    ) + 'data: {"type": "done"}\n\n'
    proxy, _ = served(weir, upstream, [body])
    with Raw(proxy.url).get("/agent") as client:
        client.read_body()
    assert proxy.ended()["dropped"] == 0
    assert len(client.events()) == 2001


def test_disconnect_does_not_hit_a_client_that_reads(weir, upstream):
    """`disconnect` ends slow clients only (docs: the client left, or stopped reading)."""
    body = "".join(chunk({"content": f"t{n} "}, **logprob(n)) for n in range(2000)) + DONE
    proxy, _ = served(weir, upstream, [body], queue={"overflow": "disconnect"})
    with Raw(proxy.url).post(CHAT) as client:
        client.read_body()
    assert proxy.ended()["outcome"] == "finished"


def stalled_then_reads(proxy, server, path=CHAT, method="post"):
    """Returns a client that begins to read only when nothing moves any more."""
    with Raw(proxy.url, receive_buffer=4096) as client:
        getattr(client, method)(path)
        settled("nothing moves", lambda: server.connections[0].sent if server.connections else 0)
        try:
            client.read_body()
        except (Closed, ConnectionError):
            pass
        return client


@pytest.mark.parametrize("kind", ["logprobs", "two choices in turn", "plain"])
def test_notices_tell_every_character(weir, upstream, kind):
    """Every drop is counted by class, and reported to the client: dropped=N chars=M."""
    total = 40_000
    body = [("".join(BURSTS[kind](n) for n in range(at, at + 1000))) for at in range(0, total, 1000)] + [DONE]
    proxy, server = served(weir, upstream, body, queue={"max_events": 64, "merge": False})
    client = stalled_then_reads(proxy, server)
    whole = sum(len(texts_of(piece)) for piece in body)
    dropped, chars = notices(bytes(client.body))
    ended = proxy.ended()
    assert ended["outcome"] == "finished" and dropped > 0
    assert dropped == ended["dropped"] == proxy.metrics().value("weir_events_dropped_total")
    assert len(texts(client.events())) + chars == whole


def texts_of(piece: str) -> str:
    return "".join(re.findall(r'"content": "(t\d+ )"', piece))


def test_a_joined_event_carries_the_last_id(weir, upstream):
    """A merged event carries the id of its **last** part, so that a client resumes exactly after it."""
    total = 40_000
    one = lambda n: f"id: {n}\n" + chunk({"content": f"t{n} "})
    body = ["".join(one(n) for n in range(at, at + 1000)) for at in range(0, total, 1000)] + [DONE]
    proxy, server = served(weir, upstream, body)
    client = stalled_then_reads(proxy, server)
    assert proxy.ended()["merged"] > 0
    wrong = []
    for event in client.events():
        found = re.findall(r"t(\d+) ", texts([event]))
        if len(found) > 1 and event.id != found[-1]:
            wrong.append((event.id, found[0], found[-1]))
    assert not wrong, wrong[:3]


def test_log_probabilities_and_token_ids_grow_with_their_text(weir, upstream):
    """docs/dialects.md: lists beside a text grow with it. Nothing is dropped, so each token has its entry."""
    total = 4000
    one = lambda n: chunk({"content": f"t{n} "}, **logprob(n), token_ids=[n])
    body = ["".join(one(n) for n in range(at, at + 1000)) for at in range(0, total, 1000)] + [DONE]
    proxy, server = served(weir, upstream, body)
    client = stalled_then_reads(proxy, server)
    ended = proxy.ended()
    assert ended["merged"] > 0 and ended["dropped"] == 0
    choices = [event.json()["choices"][0] for event in client.events()[:-1]]
    for choice in choices:
        tokens = "".join(entry["token"] for entry in choice["logprobs"]["content"])
        assert choice["delta"]["content"] == tokens
    assert [n for choice in choices for n in choice["token_ids"]] == list(range(total))


def test_a_join_keeps_what_stands_beside_the_choices(weir, upstream):
    """Chunks are merged only if both carry nothing but delta.content. Perplexity puts `citations` and `search_results`
    at the top level of a chunk, and they appear late."""
    total = 40_000
    one = lambda n: chunk({"content": f"t{n} "}, top={"citations": ["http://a"]} if n == total - 7 else None)
    body = ["".join(one(n) for n in range(at, at + 1000)) for at in range(0, total, 1000)] + [DONE]
    proxy, server = served(weir, upstream, body)
    client = stalled_then_reads(proxy, server)
    ended = proxy.ended()
    assert ended["merged"] > 0
    assert b"citations" in client.body


@pytest.mark.parametrize("count", [1, 5, 15])
def test_a_last_event_without_its_blank_line_waits_like_the_others(weir, upstream, count):
    """Critical events always wait. A last event that lacks only its blank line is completed."""
    events = [f"data: {json.dumps({'n': n, 'x': 'x' * 200_000})}\n\n" for n in range(count)]
    last = 'data: {"last":true}'
    proxy, server = served(weir, upstream, [*events, last], queue={"max_events": 1})
    client = stalled_then_reads(proxy, server, "/agent", "get")
    ended = proxy.ended()
    assert client.events()[-1].data == '{"last":true}', ended["outcome"]


def test_a_last_event_without_its_blank_line_with_the_default_queue(weir, upstream):
    """256 events in one write, then one without its blank line, to a client that reads."""
    events = "".join(f'data: {{"n":{n}}}\n\n' for n in range(256))
    proxy, _ = served(weir, upstream, [events + 'data: {"last":true}'])
    with Raw(proxy.url).get("/agent") as client:
        client.read_body()
    assert client.events()[-1].data == '{"last":true}', proxy.ended()["outcome"]


@pytest.mark.parametrize("number", [0, 1, 5, 20])
def test_critical_events_before_one_that_is_too_large(weir, upstream, number):
    events = [f'data: {{"n":{n},"pad":"{"x" * 100}"}}\n\n' for n in range(number)]
    proxy, server = served(
        weir, upstream, ["".join(events) + "data: " + "x" * 5000 + "\n\n"],
        max_event_bytes="4KiB", queue={"max_events": 4},
    )
    with Raw(proxy.url).get("/agent") as client:
        client.read_body()
    ended = proxy.ended()
    assert ended["outcome"] == "too_large"
    assert len(client.events()) == number + 1


def test_too_large_is_no_timeout(weir, upstream):
    """docs/metrics.md: the reason of a cancellation is one of a closed set, and `timeout` means a deadline."""
    proxy, _ = served(weir, upstream, [chunk({"content": "a"}), "data: " + "x" * 5000 + "\n\n"], max_event_bytes="4KiB")
    with Raw(proxy.url).post(CHAT) as client:
        client.read_body()
    assert proxy.ended()["outcome"] == "too_large"
    assert "timeout" not in proxy.metrics().by("weir_upstream_cancellations_total", "reason")


def test_what_is_thrown_away_is_counted(weir, upstream):
    """Every drop is counted by class, whenever something was dropped."""
    body = ["".join(BURSTS["plain"](n) for n in range(1000))] * 40

    def script(connection):
        connection.request()
        connection.head()
        for piece in body:
            connection.chunk(piece)
        connection.gone()

    server = upstream(script)
    proxy = weir(server.url, defaults={"deadlines": {"client_stall": "500ms"}})
    with Raw(proxy.url, receive_buffer=4096) as client:
        client.post(CHAT)
        ended = proxy.ended()
    assert ended["outcome"] == "client_stalled"
    told = ended["events_out"] + ended["merged"] + ended["dropped"] + ended["unsent"]
    assert ended["events_in"] <= told, ended
