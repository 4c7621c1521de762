"""Tests that metrics reach an OpenTelemetry collector, by the names of the GenAI conventions."""

import subprocess
import threading

import pytest

from backends import wire
from support.collector import Collector
from support.raw import Closed, Raw
from support.wait import until
from support.weir import BINARY

VERSION = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
pytestmark = pytest.mark.skipif("otel" not in VERSION, reason="this build exports no metrics (feature otel)")

CHAT = "/v1/chat/completions"
OPENAI = list(wire.openai(6))
OF = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.response.model": "m"}
DURATION = "gen_ai.server.request.duration"
NAMES = [
    "gen_ai.client.token.usage",
    "gen_ai.client.token.usage",
    DURATION,
    "gen_ai.server.time_per_output_token",
    "gen_ai.server.time_to_first_token",
]


def agent(connection):
    """Answers in full, or breaks off before the end where the path asks for that."""
    while True:
        path = connection.request().line.split()[1]
        connection.head()
        for event in OPENAI[:3] if "breaks" in path else OPENAI:
            connection.chunk(event)
        if "breaks" in path:
            return connection.reset()
        connection.end()


def whole(url, path=CHAT):
    with Raw(url) as client:
        client.send("POST", path, b'{"stream":true}', content_type="application/json").read_head()
        try:
            client.read_body()
        except (Closed, ConnectionError):
            pass


@pytest.fixture
def collector():
    """`collector()` starts a collector. Arguments make it misbehave."""
    running = []

    def start(**how):
        running.append(Collector(**how))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def setting(weir, upstream, collector):
    """Starts an agent, a collector, and Weir between them. Returns the collector and Weir."""

    def start(how=None, script=agent, **traces):
        receiver = collector(**(how or {}))
        told = {"endpoint": receiver.url, "metrics": True, "metrics_interval": "1s", **traces}
        return receiver, weir(upstream(script).url, traces=told)

    return start


def exports(proxy):
    return proxy.metrics().by("weir_otlp_metric_exports_total", "result")


def named(points, name, **attributes):
    """Returns the only series with this name and these attributes."""
    found = [one for one in points if one.name == name and attributes.items() <= one.attributes.items()]
    assert len(found) == 1, points
    return found[0]


def complete(receiver):
    """Waits for an export with all of a stream, of which the duration is measured last."""

    def found():
        points = receiver.points()
        return points if any(one.name == DURATION for one in points) else []

    return until("an export", found)


def test_a_stream_is_measured_by_the_conventions(setting):
    go = threading.Event()

    def pauses(connection):
        connection.request()
        connection.head()
        for event in OPENAI[:2]:
            connection.chunk(event)
        go.wait(10)
        for event in OPENAI[2:]:
            connection.chunk(event)
        connection.end()

    receiver, proxy = setting(script=pauses, service_name="edge")
    with Raw(proxy.url) as client:
        client.post(CHAT).until_events(2)
        go.set()
        client.read_body()
    ended = proxy.ended()
    points = complete(receiver)
    assert sorted(one.name for one in points) == NAMES
    for kind, count in {"input": 9, "output": 12}.items():
        usage = named(points, "gen_ai.client.token.usage", **{"gen_ai.token.type": kind})
        assert (usage.sum, usage.count, usage.unit) == (count, 1, "{token}")
        assert usage.attributes == {**OF, "gen_ai.token.type": kind}
        assert usage.bounds == [4.0**power for power in range(14)]
    duration = named(points, DURATION)
    assert duration.attributes == OF and duration.unit == "s"
    assert duration.sum == pytest.approx(ended["duration_ms"] / 1000, abs=0.2)
    assert duration.bounds[:3] == [0.01, 0.02, 0.04] and 81.92 in duration.bounds
    first = named(points, "gen_ai.server.time_to_first_token")
    assert first.attributes == OF and 0 < first.sum <= duration.sum
    assert first.bounds[:3] == [0.001, 0.005, 0.01]
    assert sum(first.buckets) == first.count == 1
    assert not first.is_delta
    assert first.resource["service.name"] == "edge"
    until("the export is counted", lambda: exports(proxy).get("exported"))
    assert exports(proxy).keys() == {"exported"}


def test_a_stream_that_breaks_has_its_error(setting):
    receiver, proxy = setting()
    whole(proxy.url, f"{CHAT}?breaks")
    points = complete(receiver)
    duration = named(points, DURATION)
    assert duration.attributes["error.type"] == proxy.ended()["outcome"]
    assert not [one for one in points if one.name == "gen_ai.server.time_to_first_token"]


def test_what_was_measured_is_exported_when_the_process_ends(setting):
    receiver, proxy = setting(metrics_interval="1h")
    for _ in range(3):
        whole(proxy.url)
    proxy.outcomes(finished=3)
    assert receiver.points() == []
    proxy.terminate()
    assert proxy.stopped() == 0
    assert named(receiver.points(), DURATION).count == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, b'{"messages":[{"role":"user","content":"Hi"}],"model":"asked","stream":true}'),
        ("/openai/deployments/asked/chat/completions", b'{"stream":true}'),
    ],
)
def test_the_model_that_was_asked_for_is_named_beside_the_one_that_answered(setting, path, body):
    receiver, proxy = setting()
    with Raw(proxy.url) as client:
        client.send("POST", path, body, content_type="application/json").read_head().read_body()
    points = complete(receiver)
    # Tokens that come in one read take no time.
    assert {one.name for one in points} >= set(NAMES) - {"gen_ai.server.time_per_output_token"}
    for one in points:
        assert one.attributes["gen_ai.request.model"] == "asked"
        assert one.attributes["gen_ai.response.model"] == "m"


def test_models_that_clients_invent_do_not_take_the_place_of_those_that_answer(weir, upstream, collector):
    receiver = collector()
    traces = {"metrics": True, "metrics_endpoint": receiver.url, "metrics_interval": "1h"}
    proxy = weir(upstream(agent).url, traces=traces)
    with Raw(proxy.url) as client:
        for number in range(55):
            body = b'{"model":"m%d"}' % number
            client.send("POST", CHAT, body, content_type="application/json").read_head().read_body()
    proxy.outcomes(finished=55)
    proxy.terminate()
    assert proxy.stopped() == 0
    durations = [one for one in receiver.points() if one.name == DURATION]
    counts = {one.attributes["gen_ai.request.model"]: one.count for one in durations}
    assert len(counts) == 51 and counts["other"] == 5 and counts["m0"] == 1
    assert {one.attributes["gen_ai.response.model"] for one in durations} == {"m"}


def test_a_model_that_the_first_event_leaves_empty_is_named_by_a_later_one(setting):
    """Azure's first chunk holds the results of its filter."""

    def azure(connection):
        connection.request()
        connection.head()
        connection.chunk(wire.sse({"choices": [], "model": "", "object": "", "prompt_filter_results": []}))
        for event in OPENAI:
            connection.chunk(event)
        connection.end()

    receiver, proxy = setting(script=azure)
    whole(proxy.url)
    assert named(complete(receiver), DURATION).attributes == OF


def test_the_models_of_an_upstream_are_bounded(weir, upstream, collector):
    def invents(connection):
        while True:
            model = connection.request().line.split()[1].partition("?")[2]
            connection.head()
            connection.chunk(wire.sse({"object": "chat.completion.chunk", "model": model, "choices": [{"index": 0, "delta": {"content": "x"}}]}))
            connection.chunk("data: [DONE]\n\n")
            connection.end()

    receiver = collector()
    traces = {"metrics": True, "metrics_endpoint": receiver.url, "metrics_interval": "1h"}
    proxy = weir(upstream(invents).url, traces=traces)
    with Raw(proxy.url) as client:
        for number in range(55):
            client.send("POST", f"{CHAT}?m{number}", b"{}").read_head().read_body()
    proxy.outcomes(finished=55)
    proxy.terminate()
    assert proxy.stopped() == 0
    durations = [one for one in receiver.points() if one.name == DURATION]
    counts = {one.attributes["gen_ai.response.model"]: one.count for one in durations}
    assert len(counts) == 51 and counts["other"] == 5 and counts["m0"] == 1


def test_variables_of_opentelemetry_say_where_metrics_go(weir, upstream, collector, monkeypatch):
    receiver = collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{receiver.url}/v1/metrics")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-mine=1")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1000")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    proxy = weir(upstream(agent).url, traces={"metrics": True})
    whole(proxy.url)
    points = until("an export", receiver.points)
    assert points[0].is_delta
    assert receiver.exports[0].headers["x-mine"] == "1"
    assert receiver.spans() == []


def test_a_collector_that_takes_no_metrics_is_told_of_once_and_hurts_nobody(setting):
    receiver, proxy = setting(how={"status": 400})
    whole(proxy.url)
    until("two failures", lambda: exports(proxy).get("failed", 0) >= 2)
    failed = [line for line in proxy.logs() if line["message"] == "the collector does not take metrics"]
    assert len(failed) == 1 and "400" in failed[0]["error"]
    whole(proxy.url)
    proxy.outcomes(finished=2)
    proxy.terminate()
    assert proxy.stopped() == 0
    proxy.logged("metrics were not exported before the end")


def test_spans_and_metrics_share_a_collector(setting):
    receiver, proxy = setting()
    whole(proxy.url)
    assert receiver.only().name == "chat m"
    until("an export", receiver.points)
    assert {export.path for export in receiver.exports} == {"/v1/traces", "/v1/metrics"}


def test_nothing_is_exported_unless_it_is_asked_for(setting):
    receiver, proxy = setting(metrics=False)
    whole(proxy.url)
    receiver.only()
    proxy.terminate()
    assert proxy.stopped() == 0
    assert {export.path for export in receiver.exports} == {"/v1/traces"}
