"""Tests that a span says what happened to its request."""

import threading
import time

import pytest

from backends import wire
from support.h2 import H2
from support.raw import Raw
from support.traces import CHAT, NEEDS_EXPORT, OPENAI, answers, collector, setting, whole
from support.wait import until

pytestmark = NEEDS_EXPORT


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
