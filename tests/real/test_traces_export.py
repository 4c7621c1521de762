"""Tests that spans reach their collector, say nothing of a payload, and never cost a stream anything."""

import json
import subprocess
import time

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from backends import wire
from support.raw import Raw
from support.traces import CHAT, NEEDS_EXPORT, OPENAI, answers, collector, setting, whole
from support.wait import until
from support.weir import BINARY

pytestmark = NEEDS_EXPORT


def test_exports_are_otlp_with_the_fields_that_were_asked_for(setting, monkeypatch, tmp_path):
    monkeypatch.setenv("WEIR_TEST_TOKEN", "Bearer canary-env")
    (tmp_path / "team").write_text("canary-file\n")
    headers = {"authorization": "env:WEIR_TEST_TOKEN", "x-team": f"file:{tmp_path / 'team'}"}
    _, receiver, proxy = setting(traces={"headers": headers}, log={"level": "trace"})
    whole(proxy.url)
    receiver.only()
    export = receiver.exports[0]
    assert export.path == "/v1/traces"
    assert export.headers["content-type"] == "application/x-protobuf"
    assert export.headers["authorization"] == "Bearer canary-env"
    assert export.headers["x-team"] == "canary-file"
    until("the count", lambda: proxy.metrics().by("weir_trace_spans_total", "result") == {"exported": 1})
    checked = subprocess.run([BINARY, "check", proxy.file], capture_output=True, text=True, check=True)
    pages = [proxy.ask(path)[1] for path in ("/metrics", "/streams", "/config", "/")]
    for text in [checked.stdout, checked.stderr, *pages, *proxy.child.lines]:
        assert "canary" not in text
    assert "env:WEIR_TEST_TOKEN" in checked.stdout


def test_a_collector_may_speak_tls(setting, authority, tmp_path):
    tls = {"roots": "none", "ca_file": authority.file(tmp_path)}
    how = {"tls": authority.server(authority.issue(tmp_path))}
    _, receiver, proxy = setting(traces={"tls": tls}, how=how)
    whole(proxy.url)
    assert receiver.only().name == "chat m"


def test_a_collector_that_nobody_vouches_for_gets_nothing(setting, authority, tmp_path):
    how = {"tls": authority.server(authority.issue(tmp_path))}
    _, receiver, proxy = setting(how=how)
    whole(proxy.url)
    until("the failure", lambda: proxy.metrics().by("weir_trace_spans_total", "result") == {"failed": 1})
    assert receiver.exports == []
    assert "TLS" in proxy.logged("the collector does not take spans")["error"]


@pytest.mark.parametrize("level", ["info", "trace"])
def test_nothing_of_the_payload_is_told(setting, level):
    def script(connection):
        connection.request()
        connection.head("text/event-stream", "200 OK", "x-own: canary-field")
        connection.chunk(wire.sse({"choices": [{"index": 0, "delta": {"content": "canary-event"}}]}))
        connection.chunk(wire.sse({"error": {"message": "canary-error"}}))
        connection.end()

    _, receiver, proxy = setting(script, log={"level": level})
    body = json.dumps({"stream": True, "model": "canary-model", "messages": [{"content": "canary-body"}]})
    secret = {"authorization": "Bearer canary-token", "cookie": "s=canary-cookie"}
    with Raw(proxy.url) as client:
        client.post(f"{CHAT}?key=canary-query", body.encode(), **secret)
        client.read_body()
    assert receiver.only().error == "upstream_error"
    for export in receiver.exports:
        assert b"canary" not in export.body and "canary" not in str(export.headers)
    assert not any("canary" in line for line in proxy.child.lines)


def test_what_waits_is_sent_when_the_process_ends(setting):
    """Spans wait a second to be sent together, but the process ends sooner."""
    _, receiver, proxy = setting()
    for _ in range(3):
        whole(proxy.url)
    proxy.terminate()
    assert proxy.stopped() == 0
    assert len(receiver.spans()) == 3


def test_a_hanging_collector_does_not_hold_the_end_for_long(setting):
    _, receiver, proxy = setting(how={"hangs": True})
    whole(proxy.url)
    until("an export", lambda: receiver.exports)
    whole(proxy.url)
    began = time.monotonic()
    proxy.terminate()
    assert proxy.stopped() == 0
    assert time.monotonic() - began < 6, "two seconds, and some for a busy machine"
    assert proxy.logged("spans were not exported before the end")["lost"] == 2


def test_a_collector_that_hangs_hurts_no_stream_and_fills_no_memory(setting):
    """Spans beyond the limit are dropped and counted. Everything else continues."""
    answer = answers('{"a":1}', content_type="application/json")
    _, receiver, proxy = setting(answer, how={"hangs": True})
    flood, path = 6000, f"/v1/{'x' * 200}"

    def ask(count):
        with Raw(proxy.url) as client:
            for _ in range(count):
                client.get(path).read_body()

    ask(500)
    until("an export", lambda: receiver.exports)
    before = proxy.rss()
    ask(flood)
    by = proxy.metrics().by("weir_trace_spans_total", "result")
    assert by["dropped"] >= flood - 2048 - 512, by
    assert proxy.rss() - before < 24 << 20
    receiver.free.set()
    total = flood + 500
    until("all others", lambda: sum(proxy.metrics().by("weir_trace_spans_total", "result").values()) == total, 30)


@pytest.mark.parametrize("how", ["away", "an error"])
def test_a_collector_that_fails_is_told_of_once(weir, upstream, collector, how):
    if how == "away":
        gone = collector()
        endpoint = gone.url
        gone.close()
    else:
        endpoint = collector(status=500).url
    proxy = weir(upstream(answers(*OPENAI)).url, traces={"endpoint": endpoint})
    for count in (1, 2):
        assert whole(proxy.url).events()[-1].data == "[DONE]"
        failed = {"failed": count}
        until("the failure", lambda: proxy.metrics().by("weir_trace_spans_total", "result") == failed)
    proxy.logged("the collector does not take spans")
    told = [line for line in proxy.logs() if line["message"] == "the collector does not take spans"]
    assert len(told) == 1 and told[0]["level"] == "WARN"
    assert ("refused" if how == "away" else "500") in told[0]["error"]
    proxy.outcomes(finished=2)


@pytest.mark.parametrize(("status", "result"), [(200, "exported"), (400, "failed")])
def test_an_answer_of_any_length_is_enough(setting, status, result):
    """Only the status of the response matters, and nothing is sent twice."""
    _, receiver, proxy = setting(how={"status": status, "answer": b"\0" * (65 << 10)})
    whole(proxy.url)
    until("the count", lambda: proxy.metrics().by("weir_trace_spans_total", "result") == {result: 1})
    assert len(receiver.exports) == 1


def test_spans_that_a_success_rejects_have_failed(setting):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 1
    answer.partial_success.error_message = "too old"
    _, receiver, proxy = setting(how={"answer": answer.SerializeToString()})
    whole(proxy.url)
    until("the count", lambda: proxy.metrics().by("weir_trace_spans_total", "result") == {"failed": 1})
    assert proxy.logged("the collector does not take spans")["error"] == "1 spans were rejected"
    assert len(receiver.exports) == 1


def test_what_the_last_export_loses_is_a_warning(setting):
    _, receiver, proxy = setting(how={"status": 400})
    whole(proxy.url)
    until("a complaint", lambda: proxy.logged("the collector does not take spans"))
    for _ in range(2):
        whole(proxy.url)
    proxy.terminate()
    assert proxy.stopped() == 0
    assert proxy.logged("spans were not exported before the end")["lost"] in (1, 2)


def test_variables_cannot_change_how_an_export_is_framed(setting, monkeypatch):
    fields = "content-length=3,transfer-encoding=chunked,content-encoding=gzip,expect=100-continue,host=a,x-mine=1"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"{fields},content-type=text/plain,connection=upgrade,upgrade=h2c")
    _, receiver, proxy = setting()
    whole(proxy.url)
    receiver.only()
    (export,) = receiver.exports
    assert export.headers.pop("user-agent").startswith("OTel")
    assert export.headers == {
        "connection": "close",
        "content-length": str(len(export.body)),
        "content-type": "application/x-protobuf",
        "host": receiver.url.removeprefix("http://"),
        "x-mine": "1",
    }


def test_a_secret_that_is_gone_stops_no_reload(setting, tmp_path):
    """The `traces` section is fixed at the start, so a reload does not need the secret."""
    secret = tmp_path / "token"
    secret.write_text("first")
    _, receiver, proxy = setting(traces={"headers": {"x-token": f"file:{secret}"}})
    secret.unlink()
    proxy.reload(json.loads(proxy.file.read_text()))
    assert proxy.logged("a change of this key needs a restart")["key"] == "traces"
    whole(proxy.url)
    receiver.only()
    assert receiver.exports[0].headers["x-token"] == "first"


def test_a_change_needs_a_restart(setting):
    _, receiver, proxy = setting()
    config = json.loads(proxy.file.read_text())
    proxy.reload({**config, "traces": {"endpoint": None}})
    assert proxy.logged("a change of this key needs a restart")["key"] == "traces"
    whole(proxy.url)
    receiver.only()
