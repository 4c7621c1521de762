"""Tests that spans report what happened, belong to the right trace, and never cost a stream anything."""

import json
import subprocess
import threading
import time

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from backends import wire
from backends.resumable import Agent
from support.collector import Collector
from support.h2 import H2
from support.raw import Closed, Raw
from support.resume import RESUME, stream_path
from support.wait import until
from support.weir import BINARY

VERSION = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
pytestmark = pytest.mark.skipif(
    "otel" not in VERSION, reason="this build has no trace export (feature otel)"
)

CHAT = "/v1/chat/completions"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OPENAI = list(wire.openai(6))


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


def answers(*pieces, end=True, content_type="text/event-stream", status="200 OK"):
    def script(connection):
        while True:
            connection.request()
            connection.head(content_type, status)
            for piece in pieces:
                connection.chunk(piece)
            if not end:
                return connection.fin()
            connection.end()

    return script


def whole(url, path=CHAT, method="POST", **headers):
    """Sends one request and reads its whole response, however it ends."""
    with Raw(url) as client:
        client.send(method, path, b'{"stream":true}', content_type="application/json", **headers)
        client.read_head()
        try:
            client.read_body()
        except (Closed, ConnectionError):
            pass
        return client


def spoken(server):
    """Returns the trace context that the agent received."""
    (request,) = server.requests()
    return request.headers["traceparent"].split("-"), request.headers.get("tracestate")


@pytest.fixture
def setting(weir, upstream, collector):
    """Starts an agent that runs `script`, a collector, and Weir between them."""

    def start(script=None, traces=None, how=None, **sections):
        server, receiver = upstream(script or answers(*OPENAI)), collector(**(how or {}))
        proxy = weir(server.url, traces={"endpoint": receiver.url, **(traces or {})}, **sections)
        return server, receiver, proxy

    return start


# Parent spans


@pytest.mark.parametrize("flags", ["01", "03"])
def test_a_span_stands_between_the_callers_and_the_agents(setting, flags):
    server, receiver, proxy = setting()
    whole(proxy.url, traceparent=f"00-{TRACE}-{PARENT}-{flags}", tracestate="a=b,c=d")
    span = receiver.only()
    assert (span.trace, span.parent, span.kind) == (TRACE, PARENT, "SPAN_KIND_SERVER")
    assert span.state == "a=b,c=d"
    context, state = spoken(server)
    assert context == ["00", TRACE, span.id, flags]
    assert state == "a=b,c=d"
    assert span.id not in (PARENT, "0" * 16)
    assert proxy.ended()["trace_id"] == TRACE


def test_a_trace_may_begin_at_weir(setting):
    server, receiver, proxy = setting()
    whole(proxy.url, tracestate="a=b")
    span = receiver.only()
    context, state = spoken(server)
    assert context == ["00", span.trace, span.id, "01"]
    assert state is None, "it belonged to no trace"
    assert span.parent == "" and len(span.trace) == 32
    assert proxy.ended()["trace_id"] == span.trace


def test_what_is_not_sampled_is_not_told(setting):
    server, receiver, proxy = setting()
    given = f"00-{TRACE}-{PARENT}-00"
    whole(proxy.url, traceparent=given, tracestate="a=b")
    context, state = spoken(server)
    assert "-".join(context) == given and state == "a=b"
    whole(proxy.url)
    assert receiver.only().trace != TRACE


def test_the_share_of_own_traces_is_respected(setting):
    server, receiver, proxy = setting(traces={"sample": 0.0})
    whole(proxy.url)
    context, _ = spoken(server)
    assert context[3] == "00", "the agent is told the same"
    whole(proxy.url, traceparent=f"00-{TRACE}-{PARENT}-01")
    assert receiver.only().trace == TRACE, "others have decided for theirs"


def test_without_a_collector_the_context_passes_untouched(weir, upstream):
    server = upstream(answers(*OPENAI))
    proxy = weir(server.url)
    given = f"00-{TRACE}-{PARENT}-01"
    whole(proxy.url, traceparent=given, tracestate="a=b")
    context, state = spoken(server)
    assert "-".join(context) == given and state == "a=b"
    assert proxy.metrics().by("weir_trace_spans_total", "result") == {}


# Attributes


def test_a_stream_says_everything_about_itself(setting):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(OPENAI[0])
        go.wait(10)
        for piece in OPENAI[1:]:
            connection.chunk(piece)
        connection.end()

    go = threading.Event()
    before = time.time()
    server, receiver, proxy = setting(script)
    with Raw(proxy.url) as client:
        client.post(f"{CHAT}?key=1", x_request_id="r-1")
        client.until_events(1)
        client.socket.settimeout(10)
        go.set()
        client.read_body()
    span, ended = receiver.only(), proxy.ended()
    said = span.attributes
    assert span.name == "chat m"
    assert said.pop("weir.stream_id") == ended["stream_id"]
    first, token = said.pop("gen_ai.response.time_to_first_chunk"), said.pop("weir.time_to_first_token")
    assert first == pytest.approx(ended["ttfe_ms"] / 1000, abs=1e-5)
    assert token == pytest.approx(ended["ttft_ms"] / 1000, abs=1e-5)
    assert 0 < first < token < span.end - span.start
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.response.model": "m",
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 12,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.path": CHAT,
        "url.scheme": "http",
        "weir.dialect": "openai_chat",
        "weir.dropped": 0,
        "weir.events.in": ended["events_in"],
        "weir.events.out": ended["events_out"],
        "weir.outcome": "finished",
        "weir.request_id": "r-1",
        "weir.route": "all",
    }
    assert span.error is None
    assert before - 1 < span.start < span.end < time.time() + 1
    assert span.end - span.start == pytest.approx(ended["duration_ms"] / 1000, abs=0.05)
    events = span.events
    assert set(events) == {"weir.first_event", "weir.first_token"}
    assert events["weir.first_event"] == pytest.approx(span.start + first, abs=1e-3)
    assert events["weir.first_token"] == pytest.approx(span.start + token, abs=1e-3)


def test_the_process_is_named_as_its_operator_says(setting, monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=test")
    _, receiver, proxy = setting(traces={"service_name": "edge"})
    whole(proxy.url)
    resource = receiver.only().resource
    assert resource["service.name"] == "edge"
    assert resource["deployment.environment.name"] == "test"
    assert resource["service.version"]


@pytest.mark.parametrize(("variable", "name"), [(None, "weir"), ("service.name=other", "other")])
def test_without_a_name_the_environment_names_it(setting, monkeypatch, variable, name):
    if variable:
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", variable)
    _, receiver, proxy = setting()
    whole(proxy.url)
    assert receiver.only().resource["service.name"] == name


def test_tokens_that_nobody_stated_are_an_estimate(setting):
    _, receiver, proxy = setting(answers(*OPENAI[:4], OPENAI[-1]))
    whole(proxy.url)
    said = receiver.only().attributes
    assert said["weir.output_tokens.estimated"] == 3
    assert not [key for key in said if key.startswith("gen_ai.usage")]


def test_other_dialects_have_their_own_words(setting):
    pieces = list(wire.anthropic(3))
    _, receiver, proxy = setting(answers(*pieces))
    whole(proxy.url, "/v1/messages")
    span = receiver.only()
    assert (span.name, span.attributes["gen_ai.provider.name"]) == ("chat m", "anthropic")
    assert span.attributes["gen_ai.usage.output_tokens"] == 12


def test_a_stream_of_no_known_kind_is_named_by_its_route(setting):
    _, receiver, proxy = setting(answers("data: x\n\n", "data: y\n\n"))
    whole(proxy.url, "/agent", "GET")
    span = receiver.only()
    assert span.name == "GET all"
    assert "gen_ai.operation.name" not in span.attributes


def test_a_stream_that_breaks_is_an_error(setting):
    _, receiver, proxy = setting(answers(*OPENAI[:4]))
    whole(proxy.url)
    span = receiver.only()
    assert span.error == span.attributes["error.type"] == span.attributes["weir.outcome"] == "truncated"
    assert proxy.ended()["outcome"] == "truncated"


def test_a_client_that_leaves_is_no_error(setting):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk("".join(OPENAI[:3]))
        connection.gone()

    _, receiver, proxy = setting(script)
    with Raw(proxy.url) as client:
        client.post(CHAT).until_events(2)
    span = receiver.only()
    assert span.attributes["weir.outcome"] == "client_gone"
    assert span.error is None and "error.type" not in span.attributes


def test_a_client_that_leaves_before_the_answer_is_told_too(setting):
    def script(connection):
        connection.request()
        connection.gone()

    server, receiver, proxy = setting(script)
    with Raw(proxy.url) as client:
        client.send("POST", CHAT, b"{}", content_type="application/json")
        until("the request", server.requests)
    span = receiver.only()
    assert span.attributes["weir.outcome"] == "client_gone"
    assert span.error is None and "http.response.status_code" not in span.attributes


def test_an_agent_that_is_away_is_an_error(weir, collector):
    receiver = collector()
    proxy = weir("unix:/no/such.sock", traces={"endpoint": f"{receiver.url}/v1/traces"})
    assert whole(proxy.url).status == 502
    span = receiver.only()
    assert span.error == span.attributes["error.type"] == "upstream_connect"
    assert span.attributes["http.response.status_code"] == 502
    assert span.name == "chat"


@pytest.mark.parametrize(("status", "error"), [("200 OK", None), ("404 Not Found", None), ("500 Oh", "500")])
def test_a_plain_answer_has_a_span(setting, status, error):
    _, receiver, proxy = setting(answers('{"a":1}', content_type="application/json", status=status))
    whole(proxy.url, "/v1/models", "GET")
    span = receiver.only()
    assert span.attributes["http.response.status_code"] == int(status[:3])
    assert (span.attributes["weir.outcome"], span.attributes.get("error.type")) == ("passed", error)
    assert span.error == error


def part(*, then):
    """Returns a plain response of 700 bytes that stops after 7."""

    def script(connection):
        connection.request()
        connection.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 700\r\n\r\n" + "x" * 7)
        then(connection)

    return script


def test_a_plain_answer_that_the_upstream_cuts_is_an_error(setting):
    _, receiver, proxy = setting(part(then=lambda connection: connection.fin()))
    whole(proxy.url, "/file", "GET")
    span = receiver.only()
    assert span.error == span.attributes["error.type"] == span.attributes["weir.outcome"] == "truncated"
    assert span.attributes["http.response.status_code"] == 200


def test_a_plain_answer_that_the_upstream_resets_is_an_error(setting):
    def later(connection):
        go.wait(5)
        connection.reset()

    go = threading.Event()
    _, receiver, proxy = setting(part(then=later))
    with Raw(proxy.url).get("/file") as client:
        go.set()
        client.until_closed()
    assert receiver.only().error == "upstream_reset"


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_a_plain_answer_that_lasts_too_long_is_an_error(setting, protocol):
    _, receiver, proxy = setting(
        part(then=lambda connection: connection.gone()), defaults={"deadlines": {"total": "1s"}}
    )
    if protocol == "h1":
        with Raw(proxy.url).get("/file") as client:
            client.until_closed()
            assert receiver.only().error == "total_timeout"
    else:
        with H2(proxy.url) as connection:
            connection.request("GET", "/file").read_head()
            assert receiver.only().error == "total_timeout"


def test_a_plain_answer_that_a_drain_cuts_is_an_error(setting):
    drain = {"delay": "0s", "limit": "200ms"}
    _, receiver, proxy = setting(part(then=lambda connection: connection.gone()), drain=drain)
    with Raw(proxy.url).get("/file"):
        proxy.terminate()
        assert proxy.stopped() == 0
    (span,) = receiver.spans()
    assert span.error == span.attributes["weir.outcome"] == "drained"


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_a_client_that_leaves_a_plain_answer_is_no_error(setting, protocol):
    _, receiver, proxy = setting(part(then=lambda connection: connection.gone()))
    if protocol == "h1":
        Raw(proxy.url).get("/file").close()
    else:
        with H2(proxy.url) as connection:
            stream = connection.request("GET", "/file")
            stream.read_head()
            stream.reset()
    span = receiver.only()
    assert span.attributes["weir.outcome"] == "client_gone"
    assert span.error is None and "error.type" not in span.attributes


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified"])
def test_an_answer_without_a_body_has_passed(setting, method, status):
    length = "" if status.startswith("204") else "content-length: 0\r\n"

    def script(connection):
        connection.request()
        connection.send(f"HTTP/1.1 {status}\r\n{length}\r\n")
        connection.gone()

    _, receiver, proxy = setting(script)
    with Raw(proxy.url).send(method, "/file") as client:
        client.read_head()
    span = receiver.only()
    assert (span.attributes["weir.outcome"], span.error) == ("passed", None)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/v1/models", "GET all"),
        ("POST", "/v1/embeddings", "POST all"),
        ("OPTIONS", CHAT, "OPTIONS all"),
        ("BREW", CHAT, "HTTP all"),
        ("POST", CHAT, "chat"),
    ],
)
def test_only_what_asks_a_model_is_named_by_it(setting, method, path, name):
    """The route's dialect does not matter, because the route may carry other requests as well."""
    script = answers('{"a":1}', content_type="application/json")
    _, receiver, proxy = setting(script, defaults={"dialect": "openai_chat"})
    whole(proxy.url, path, method)
    span = receiver.only()
    assert span.name == name
    assert span.attributes.get("gen_ai.operation.name") == ("chat" if name == "chat" else None)
    assert ("gen_ai.provider.name" in span.attributes) == (name == "chat")


def test_what_no_route_takes_has_none(setting):
    route = {"name": "all", "upstream": "agent", "match": {"path_prefix": "/v1"}}
    _, receiver, proxy = setting(routes=[route])
    assert whole(proxy.url, "/other").status == 404
    whole(proxy.url)
    assert receiver.only().attributes["url.path"] == CHAT


# Export


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


def test_a_stream_that_is_drained_is_told_and_is_no_error(setting):
    """The stream ends with the process, and its span is still sent."""

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk("".join(OPENAI[:3]))
        connection.gone()

    drain = {"delay": "0s", "limit": "200ms"}
    _, receiver, proxy = setting(script, drain=drain)
    with Raw(proxy.url) as client:
        client.post(CHAT).until_events(2)
        proxy.terminate()
        assert proxy.stopped() == 0
    (span,) = receiver.spans()
    assert span.attributes["weir.outcome"] == "drained"
    assert span.error is None


def test_a_stream_too_many_is_an_error(setting):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk("".join(OPENAI[:3]))
        connection.gone()

    _, receiver, proxy = setting(script, limits={"max_streams": 1})
    with Raw(proxy.url) as client:
        client.post(CHAT).until_events(2)
        assert whole(proxy.url).status == 503
        assert receiver.only().error == "overloaded"


def test_streams_of_one_connection_have_a_span_each(setting):
    _, receiver, proxy = setting()
    callers = [f"{number:032x}" for number in range(1, 9)]
    with H2(proxy.url) as connection:
        streams = [
            connection.request("POST", CHAT, b"{}", traceparent=f"00-{trace}-{PARENT}-01") for trace in callers
        ]
        assert all(stream.read_body().endswith(b"[DONE]\n\n") for stream in streams)
    until("all spans", lambda: len(receiver.spans()) == len(callers))
    assert sorted(span.trace for span in receiver.spans()) == callers


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


# Requests that come back to a stream


def back(receiver):
    """Waits for the span of a request that came back."""
    (one,) = until("a span", lambda: [one for one in receiver.spans() if "weir.resume.way" in one.attributes])
    return one


def resumable(setting, agent, **resume):
    """Starts a stream that clients can come back to. Returns the collector, Weir, and the client of the stream."""
    _, receiver, proxy = setting(agent, defaults={**RESUME, "resume": resume})
    return receiver, proxy, Raw(proxy.url).post("/agent")


@pytest.mark.parametrize(("way", "method"), [("endpoint", "GET"), ("last_event_id", "POST")])
def test_who_comes_back_has_a_span(setting, way, method):
    receiver, proxy, client = resumable(setting, Agent(20))
    stream = client.headers["weir-stream-id"]
    client.read_body()
    path, place = (stream_path(stream), {}) if way == "endpoint" else ("/agent", {"last_event_id": f"{stream}.3"})
    query = "?after=3" if way == "endpoint" else ""
    with Raw(proxy.url) as again:
        again.send(method, path + query, traceparent=f"00-{TRACE}-{PARENT}-01", x_request_id="r-2", **place)
        again.read_head().read_body()
        assert again.status == 200
    span = back(receiver)
    assert (span.trace, span.parent, span.name) == (TRACE, PARENT, f"{method} all")
    assert span.attributes == {
        "http.request.method": method,
        "http.response.status_code": 200,
        "url.path": path,
        "url.scheme": "http",
        "weir.outcome": "finished",
        "weir.request_id": "r-2",
        "weir.resume.from": 3,
        "weir.resume.way": way,
        "weir.route": "all",
        "weir.stream_id": stream,
    }
    assert span.error is None
    # The run itself has one of its own.
    assert len(receiver.spans()) == 2


def test_a_client_that_came_back_and_leaves_is_no_error(setting):
    agent = Agent(20, hold=5)
    receiver, proxy, client = resumable(setting, agent)
    with Raw(proxy.url).get(stream_path(client.headers["weir-stream-id"])) as again:
        again.until_events(5)
    span = back(receiver)
    assert span.attributes["weir.outcome"] == "client_gone"
    assert span.attributes["weir.resume.from"] == 0
    assert span.error is None
    client.close()


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "outcome", "way"),
    [
        ("GET", "{own}?after=x", {}, 400, "resume_malformed", "endpoint"),
        ("GET", "{own}?after=1000", {}, 200, "passed", "endpoint"),
        ("GET", "{own}", {"accept": "application/json"}, 200, "passed", "endpoint"),
        ("DELETE", "{own}", {}, 202, "passed", "endpoint"),
        ("PUT", "{own}", {}, 405, "method_not_allowed", "endpoint"),
        ("GET", "/agent", {"last_event_id": f"{'0' * 32}.3"}, 404, "resume_unknown", "last_event_id"),
        ("GET", "/api/chat/c/stream", {}, 204, "passed", "chat"),
    ],
)
def test_what_is_answered_without_a_stream_has_a_span(setting, method, path, headers, status, outcome, way):
    receiver, proxy, client = resumable(setting, Agent(), chats={"path": "/api/chat/{id}/stream"})
    client.read_body()
    own = stream_path(client.headers["weir-stream-id"])
    with Raw(proxy.url).send(method, path.replace("{own}", own), **headers).read_head() as again:
        assert again.status == status
    span = back(receiver)
    said = span.attributes
    assert (said["http.response.status_code"], said["weir.outcome"], said["weir.resume.way"]) == (status, outcome, way)
    assert "weir.resume.from" not in said and span.error is None


def test_an_unknown_stream_has_no_route_and_no_span(setting):
    """Nor has one of somebody else, which must look the same."""
    receiver, proxy, client = resumable(setting, Agent())
    client.read_body()
    with Raw(proxy.url).get(stream_path("0" * 32)) as again:
        assert again.status == 404
    assert receiver.only().attributes["weir.outcome"] == "finished"
