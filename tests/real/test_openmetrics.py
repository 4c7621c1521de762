"""Tests of the metrics page as OpenMetrics: with the parser of Prometheus' Python library, and with a real Prometheus."""

import subprocess
from urllib.request import Request, urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from support.metrics import Metrics
from support.prometheus import Prometheus
from support.raw import Raw
from support.wait import until
from support.weir import BINARY

VERSION = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
CHAT = "/v1/chat/completions"
TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def page(proxy, accept=None):
    """Returns the content type and the text of the metrics page."""
    request = Request(f"http://{proxy.admin}/metrics", headers={"accept": accept} if accept else {})
    with urlopen(request, timeout=10) as response:
        return response.headers["content-type"], response.read().decode()


def families(proxy):
    kind, text = page(proxy, "application/openmetrics-text")
    assert kind == TYPE
    assert text.endswith("\n# EOF\n")
    return {family.name: family for family in text_string_to_metric_families(text)}


def ask(proxy, sampled=True):
    with Raw(proxy.url) as client:
        trace = f"00-{TRACE}-b7ad6b7169203331-{'01' if sampled else '00'}"
        client.send("POST", CHAT, b'{"stream":true}', traceparent=trace).read_head().read_body()


def exemplars(found, name):
    return [sample for sample in found[name].samples if sample.exemplar]


def test_the_parser_of_the_library_takes_every_family(weir, fastapi):
    proxy = weir(fastapi.url)
    ask(proxy)
    proxy.outcomes(finished=1)
    found = families(proxy)
    assert found["weir_streams"].type == "counter"
    assert found["weir_streams_active"].type == "gauge"
    assert found["weir_stream_duration_seconds"].type == "histogram"
    assert found["process_cpu_seconds"].type == "counter"
    names = {sample.name for family in found.values() for sample in family.samples if family.name.startswith("weir_")}
    old = Metrics(page(proxy)[1])
    assert names == {name for name, _, _ in old.samples if name.startswith("weir_")}


def test_who_asks_for_nothing_gets_the_older_format(weir, fastapi):
    proxy = weir(fastapi.url)
    for accept in (None, "*/*", "text/plain", "application/openmetrics-text;version=0.0.1,text/plain;q=0.5"):
        kind, text = page(proxy, accept)
        assert kind == "text/plain; version=0.0.4; charset=utf-8"
        assert "# EOF" not in text and "# TYPE weir_streams_total counter" in text


def test_the_last_stream_of_a_bucket_is_its_exemplar(weir, fastapi):
    proxy = weir(fastapi.url)
    ask(proxy)
    ended = proxy.ended()
    found = families(proxy)
    (duration,) = exemplars(found, "weir_stream_duration_seconds")
    assert duration.exemplar.labels == {"trace_id": ended["trace_id"]} == {"trace_id": TRACE}
    assert duration.exemplar.value == pytest.approx(ended["duration_ms"] / 1000, abs=0.2)
    assert duration.exemplar.value <= float(duration.labels["le"])
    kinds = {sample.labels["kind"]: sample.exemplar for sample in exemplars(found, "weir_time_to_first_token_seconds")}
    assert kinds.keys() == {"answer", "tool"}
    assert kinds["answer"].value == pytest.approx(ended["ttft_ms"] / 1000, abs=1e-5)
    assert kinds["answer"].timestamp


def test_a_trace_that_nobody_records_is_no_exemplar(weir, fastapi):
    proxy = weir(fastapi.url)
    ask(proxy, sampled=False)
    proxy.ended()
    assert not exemplars(families(proxy), "weir_stream_duration_seconds")


@pytest.mark.skipif("otel" not in VERSION, reason="this build has no trace export (feature otel)")
@pytest.mark.parametrize(("sample", "count"), [(0.0, 0), (1.0, 1)])
def test_of_its_own_traces_weir_knows_which_are_recorded(weir, fastapi, sample, count):
    """Port 9 of loopback: no collector is there, and spans are lost."""
    proxy = weir(fastapi.url, traces={"endpoint": "http://127.0.0.1:9", "sample": sample})
    with Raw(proxy.url).post(CHAT) as client:
        client.read_body()
    proxy.ended()
    assert len(exemplars(families(proxy), "weir_stream_duration_seconds")) == count


def test_a_real_prometheus_keeps_the_exemplars(weir, fastapi, tmp_path):
    proxy = weir(fastapi.url)
    ask(proxy)
    proxy.ended()
    prometheus = Prometheus(tmp_path, proxy.admin)
    try:
        query = "weir_time_to_first_token_seconds_bucket"
        found = until("exemplars", lambda: prometheus.exemplars(query), within=20)
        traces = {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}
        assert traces == {TRACE}
        # The names of samples are those of the older format.
        (streams,) = prometheus.query('weir_streams_total{outcome="finished"}')
        assert streams["value"][1] == "1"
        assert prometheus.query('weir_stream_duration_seconds_bucket{le="1"}')
        (target,) = prometheus.targets()
        assert target["health"] == "up" and not target["lastError"]
    finally:
        prometheus.close()
