"""Tests that the metrics match what the clients saw."""

import json
import time

import pytest

from support.raw import Raw
from support.wait import until


def test_outcomes_are_what_clients_saw(weir, fastapi, name):
    proxy = weir(fastapi.url)
    for _ in range(3):
        with Raw(proxy.url).post("/v1/chat/completions") as client:
            assert client.read_body().endswith(b"[DONE]\n\n")
    seen: dict[str, int] = {"finished": 3}
    for path in ("/v1/chat/completions?cut=4", "/v1/messages?cut=4"):
        with Raw(proxy.url).post(path) as client:
            body = client.read_body().decode()
            word = next(word for word in ("truncated", "upstream_reset") if word in body)
            seen[word] = seen.get(word, 0) + 1
    run = name()
    for _ in range(2):
        with Raw(proxy.url).get(f"/agent?run={run}&endless=1") as client:
            client.until_events(2)
    seen["client_gone"] = 2
    proxy.outcomes(**seen)

    def logged():
        lines = [line["outcome"] for line in proxy.logs() if line["message"] == "stream ended"]
        return {word: lines.count(word) for word in lines}

    until("the log says the same", lambda: logged() == seen)


def test_one_request_in_numbers(weir, fastapi):
    proxy = weir(fastapi.url)
    with Raw(proxy.url).post("/v1/chat/completions") as client:
        client.read_body()
        events = client.events()
    with Raw(proxy.url).get("/status/500") as client:
        client.read_body()
    proxy.outcomes(finished=1)
    until("both requests", lambda: proxy.metrics().value("weir_requests_total") == 2)
    metrics = proxy.metrics()
    assert metrics.value("weir_requests_total", kind="stream", code="200", route="all") == 1
    assert metrics.value("weir_requests_total", kind="unary", code="500", route="all") == 1
    assert metrics.value("weir_events_total", direction="in") == len(events)
    assert metrics.value("weir_events_total", direction="in", **{"class": "token"}) == 6
    assert metrics.value("weir_events_total", direction="in", **{"class": "tool"}) == 4
    for kind, count in {"answer": 1, "tool": 1, "reasoning": 0}.items():
        assert metrics.value("weir_time_to_first_token_seconds_count", kind=kind) == count
    assert metrics.value("weir_output_tokens_total", source="usage") == 12
    assert metrics.value("weir_upstream_headers_seconds_count") >= 1
    ended = proxy.ended()
    assert (ended["tokens"], ended["tokens_source"], ended["status"]) == (12, "usage", 200)
    assert ended["stream_id"] and ended["route"] == "all" and ended["dialect"] == "openai_chat"


def test_time_to_first_token_is_the_clients(weir, fastapi, name):
    """Time to first token is measured to the first visible text, not to the head or the role before it."""
    proxy, run = weir(fastapi.url), name()
    with Raw(proxy.url).post(f"/v1/chat/completions?run={run}&hold=1") as client:
        client.until_events(1)
        # This is the time that must appear in the histogram.
        until("half a second of silence", lambda: waited(fastapi, run) > 0.5)
        fastapi.open(run)
        client.read_body()
    metrics = proxy.metrics()
    assert metrics.value("weir_time_to_first_token_seconds_sum", kind="answer") > 0.5
    assert metrics.value("weir_time_to_first_event_seconds_sum") < 0.4
    assert metrics.value("weir_time_to_first_token_seconds_bucket", kind="answer", le="0.25") == 0


def waited(backend, run: str) -> float:
    seen = backend.seen(run)
    return time.monotonic() - seen["at"] if seen.get("state") == "waiting" else 0


FAMILIES = [
    "weir_build_info",
    "weir_config_last_reload_successful",
    "weir_draining",
    "weir_streams_active",
    "weir_streams_total",
    "weir_stream_duration_seconds_count",
    "weir_time_to_first_event_seconds_count",
    "weir_inter_token_seconds_count",
    "weir_added_latency_seconds_count",
    "weir_events_total",
    "weir_events_dropped_total",
    "weir_upstream_cancellations_total",
    "weir_upstream_errors_total",
    "process_resident_memory_bytes",
]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_exists_before_the_first_request(weir, family):
    """Alerts on ratios need a zero, not a missing series. Port 9 of loopback: no request is sent to it."""
    metrics = weir("http://127.0.0.1:9").metrics()
    assert metrics.value(family) >= 0
    assert f"# HELP {family.removesuffix('_count')} " in metrics.text


def test_every_outcome_exists_from_the_start(weir):
    metrics = weir("http://127.0.0.1:9").metrics()
    outcomes = {
        labels["outcome"] for name, labels, _ in metrics.samples if name == "weir_streams_total"
    }
    assert outcomes == {
        *("finished", "truncated", "upstream_error", "upstream_reset"),
        *("first_event_timeout", "idle_timeout", "progress_timeout", "total_timeout"),
        *("too_large", "client_gone", "client_stalled", "stopped", "drained", "panic"),
    }


def test_live_streams_are_json(weir, fastapi, name):
    proxy, run = weir(fastapi.url), name()
    with Raw(proxy.url).post(f"/v1/messages?run={run}&hold=4") as client:
        client.until_events(4)
        (stream,) = proxy.streams()
        assert proxy.metrics().value("weir_streams_active") == 1
        assert run not in json.dumps(stream), "no URL, no payload"
        fastapi.open(run)
        client.read_body()
    proxy.outcomes(finished=1)


REFUSED = {
    "bad_request": "GET / HTTP/1.1\r\n\r\n",
    "malformed": "GET / HTTP/1.1\r\nhost : h\r\n\r\n",
    "transfer_coding_not_supported": "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
    "method_not_allowed": "CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n",
    "upgrade_not_supported": "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n",
    "not_found": "GET /elsewhere HTTP/1.1\r\nhost: h\r\n\r\n",
    "request_head": "GET / HTTP/1.1\r\n",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_no_route_took_is_counted_by_reason(weir, fastapi, reason):
    route = {"name": "all", "upstream": "agent", "match": {"path_prefix": "/agent"}}
    proxy = weir(fastapi.url, routes=[route], limits={"request_head": "300ms"})
    with Raw(proxy.url).say(REFUSED[reason]) as client:
        client.read_head()
    refused = lambda: proxy.metrics().by("weir_requests_refused_total", "reason")
    until("it is counted", lambda: refused() == {reason: 1})


def test_a_client_that_leaves_before_the_answer_is_counted_and_logged(weir, upstream):
    def script(connection):
        connection.request()
        connection.gone()

    server = upstream(script)
    proxy = weir(server.url)
    with Raw(proxy.url) as client:
        client.send("POST", "/v1/chat/completions", b"{}")
        until("the request is there", lambda: len(server.requests()) == 1)
    line = proxy.logged("client left before an answer")
    assert (line["outcome"], line["path"], line["route"]) == ("client_gone", "/v1/chat/completions", "all")
    metrics = proxy.metrics()
    assert metrics.value("weir_requests_total", code="499") == 1
    assert metrics.by("weir_upstream_cancellations_total", "reason") == {"client_gone": 1}
    assert metrics.by("weir_streams_total", "outcome") == {}


def test_a_stall_that_never_ended_is_measured(weir, upstream):
    def script(connection):
        connection.request()
        connection.head()
        while True:
            connection.chunk(b'data: {"type":"tool_call","args":"' + b"x" * 60_000 + b'"}\n\n')

    proxy = weir(upstream(script).url, defaults={"deadlines": {"client_stall": "500ms"}})
    with Raw(proxy.url, receive_buffer=4096).get("/agent"):
        proxy.outcomes(client_stalled=1)
    metrics = proxy.metrics()
    assert metrics.value("weir_client_stall_seconds_count") >= 1
    assert metrics.value("weir_client_stall_seconds_sum") >= 0.4
    assert proxy.ended()["level"] == "WARN"
