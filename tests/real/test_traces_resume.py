"""Tests the spans of requests that come back to a stream."""

import pytest

from backends.resumable import Agent
from support.raw import Raw
from support.resume import RESUME, stream_path
from support.traces import NEEDS_EXPORT, PARENT, TRACE, collector, setting
from support.wait import until

pytestmark = NEEDS_EXPORT


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
