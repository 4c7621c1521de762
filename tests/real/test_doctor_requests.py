"""`weir doctor` with the user's own request: through real servers and proxies, alone and compared with the agent."""

import json
import time
from types import SimpleNamespace

import pytest

from support.backend import Backend
from support.bad_hop import BadHop
from support.doctor import doctor, run
from support.hop import Hop


@pytest.fixture(scope="module")
def paced():
    one = Backend.uvicorn("paced_app")
    yield one
    one.close()


@pytest.fixture
def nginx(tmp_path):
    """nginx before an agent, without the settings of the page: it buffers, and asks over HTTP/1.0."""
    running = []

    def start(agent):
        changes = {"proxy_buffering off;": "", "proxy_http_version 1.1;": "", "gzip off;": ""}
        behind = SimpleNamespace(address=agent.removeprefix("http://"), admin="127.0.0.1:1")
        running.append(Hop("nginx", behind, tmp_path / "nginx", changes))
        return running[-1].url

    yield start
    for one in running:
        one.close()


def test_a_paced_agent_has_no_finding(paced, weir):
    for path in ("/events", "/lines"):
        report = doctor(f"{paced.url}{path}", f"{weir(paced.url).url}{path}")
        assert report.code == 0, report.json["verdict"]
        assert report.json["hops"][0]["events"] == 20


@pytest.fixture(scope="module")
def threads():
    one = Backend.gunicorn("backends.paced_wsgi:app", "--worker-class", "gthread", "--threads", "8")
    yield one
    one.close()


def test_nginx_with_default_buffering(threads, nginx):
    """gunicorn ends a response of HTTP/1.0 with its connection. What comes in chunks is not buffered as long."""
    agent, front = f"{threads.url}/events", f"{nginx(threads.url)}/events"
    report = doctor(agent, front)
    assert report.ids(0) == set()
    assert report.fault == (front, "buffered"), report.json["verdict"]
    assert "proxy_buffering off" in report.json["verdict"]
    alone = doctor(front)
    assert alone.fault == (front, "buffered")


def test_weir_before_it_mends_what_an_agent_compresses(paced, weir):
    """GZipMiddleware compresses NDJSON, and holds it back in some versions."""
    agent, front = f"{paced.url}/packed/lines", f"{weir(paced.url).url}/packed/lines"
    report = doctor(agent, front)
    assert "compressed" in report.ids(0), report.json["verdict"]
    assert report.ids(1) == set()
    assert report.fault[0] == agent


def test_gunicorn_with_a_sync_worker():
    server = Backend.gunicorn("backends.paced_wsgi:app", "--worker-class", "sync", "--workers", "1")
    try:
        report = doctor(f"{server.url}/events")
        assert report.ids() == {"one_at_a_time"}, report.json["verdict"]
        assert "gthread" in report.json["verdict"]
        # A request that may do something is sent once, unless it is said otherwise.
        once = doctor("-X", "POST", f"{server.url}/events?count=8")
        assert once.code == 0
        assert any("--together" in why for why in once.json["hops"][0]["not_examined"])
        twice = doctor("--together", "-X", "POST", f"{server.url}/events")
        assert "one_at_a_time" in twice.ids()
    finally:
        server.close()


def test_gunicorn_with_a_sync_worker_ends_long_streams():
    server = Backend.gunicorn("backends.paced_wsgi:app", "--worker-class", "sync", "--workers", "1", "--timeout", "2")
    try:
        report = doctor("-X", "POST", f"{server.url}/events?count=100")
        assert report.ids() == {"cut"}, report.json["verdict"]
    finally:
        server.close()


def test_gunicorn_with_threads_has_no_finding(threads):
    assert doctor(f"{threads.url}/events").code == 0


HARMS = {
    "holds the head": ({"hold_head": 1.5}, {"head_delayed"}),
    "rewrites the type": ({"content_type": "text/plain"}, {"content_type_rewritten"}),
    "speaks HTTP/1.0": ({"http10": True}, {"http_1_0"}),
    "buffers": ({"collects": 1 << 20}, {"buffered"}),
    "coalesces": ({"collects": 80}, {"coalesced"}),
}


@pytest.mark.parametrize("name", HARMS)
def test_each_harm_is_found_and_nothing_else(paced, name):
    harm, expected = HARMS[name]
    front = BadHop(paced.url, **harm)
    try:
        report = doctor(f"{paced.url}/events?count=24", f"{front.url}/events?count=24")
    finally:
        front.close()
    assert report.ids(0) == set()
    assert report.ids(1) == expected, report.json["verdict"]


def test_weir_replaces_the_comments_of_an_agent_and_is_no_fault(paced, weir):
    agent = f"{paced.url}/beating"
    report = doctor(agent, f"{weir(paced.url).url}/beating")
    assert report.code == 0, report.json["verdict"]
    front = BadHop(paced.url, strips_comments=True)
    try:
        report = doctor(agent, f"{front.url}/beating")
    finally:
        front.close()
    assert report.fault == (f"{front.url}/beating", "heartbeats_stripped"), report.json["verdict"]


def test_silence_that_is_cut(paced):
    front = BadHop(paced.url, idle=1.5)
    try:
        report = doctor(f"{front.url}/events?count=3&pace=4")
    finally:
        front.close()
    assert report.ids() == {"idle_cut"}, report.json["verdict"]


PAUSES = [0.05, 0.05, 0.05, 0.05, 2.5, 0.05]


@pytest.fixture
def pausing(upstream):
    """An agent that is silent in the middle of its answer, and says at its end that it is complete."""

    def agent(connection):
        connection.request()
        connection.head()
        for pause in PAUSES:
            connection.chunk('data: {"choices":[{"index":0,"delta":{"content":"a "}}]}\n\n')
            time.sleep(pause)
        connection.chunk("data: [DONE]\n\n")
        connection.end()

    return upstream(agent)


def test_silence_that_is_cut_so_that_it_looks_complete(pausing):
    front = BadHop(pausing.url, idle=1.2, ends_well=True)
    try:
        report = doctor("-d", "{}", f"{pausing.url}/chat", f"{front.url}/chat")
    finally:
        front.close()
    assert report.ids(0) == set(), report.json["verdict"]
    assert report.fault == (f"{front.url}/chat", "idle_cut"), report.json["verdict"]
    assert "looked complete" in report.json["verdict"]


def test_a_stream_that_weir_ends_with_an_error_event(pausing, weir):
    """The agent is complete, and `deadlines.idle` is shorter than its silence."""
    front = weir(pausing.url, defaults={"deadlines": {"idle": "1s"}}).url + "/v1/chat/completions"
    report = doctor("-d", '{"stream":true}', f"{pausing.url}/v1/chat/completions", front)
    assert report.ids(0) == set(), report.json["verdict"]
    assert report.fault == (front, "error_event"), report.json["verdict"]
    assert "`idle_timeout`" in report.json["verdict"]
    assert doctor("-d", '{"stream":true}', front).ids() == {"error_event"}


def test_a_type_that_an_agent_has_wrong(paced):
    report = doctor(f"{paced.url}/untyped")
    assert report.ids() == {"content_type_rewritten"}, report.json["verdict"]


def test_an_answer_that_is_no_stream_and_one_that_is_an_error(paced):
    assert doctor(f"{paced.url}/whole").ids() == {"not_a_stream"}
    assert doctor(f"{paced.url}/nowhere").ids() == {"error_status"}


def test_a_short_answer_is_not_called_well(paced):
    for path in ("/events?count=1", "/events?count=40&pace=0"):
        report = doctor(f"{paced.url}{path}")
        assert report.code == 0, report.json["verdict"]
        assert "so short a response" in report.json["verdict"]
        assert any(why.startswith("times") for why in report.json["hops"][0]["not_examined"])
    empty = doctor(f"{paced.url}/events?count=0")
    assert empty.ids() == {"not_a_stream"} and "without an event" in empty.json["verdict"]


def test_a_redirect_says_where_it_leads(upstream):
    def agent(connection):
        connection.request()
        connection.send("HTTP/1.1 308 Permanent Redirect\r\nlocation: https://a.test/x?key=s3cret\r\ncontent-length: 0\r\n\r\n")

    report = doctor("-d", "{}", f"{upstream(agent).url}/x")
    assert report.ids() == {"error_status"}
    assert "give https://a.test/x instead" in report.json["verdict"]
    assert "s3cret" not in json.dumps(report.json)


def test_a_hop_that_waits_a_little_is_found_beside_the_agent(paced):
    front = BadHop(paced.url, waits=0.1)
    try:
        report = doctor(f"{paced.url}/events?count=40&pace=0.03", f"{front.url}/events?count=40&pace=0.03")
    finally:
        front.close()
    assert report.fault == (front.url + "/events", "coalesced"), report.json["verdict"]


def test_a_request_is_sent_as_curl_sends_it_and_nothing_of_it_is_shown(upstream, tmp_path):
    seen = []

    def agent(connection):
        request = connection.request()
        seen.append(request)
        connection.head()
        connection.chunk("data: 1\n\n")
        connection.end()

    body, headers = tmp_path / "body.json", tmp_path / "headers"
    body.write_text('{"question": "s3cret"}')
    headers.write_text("Authorization: Bearer s3cret\nX-Team: a\n")
    url = upstream(agent).url
    done = run("-H", f"@{headers}", "-H", "X-More: b", "-d", f"@{body}", f"{url}/chat?key=s3cret")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    (request,) = seen
    assert request.line == "POST /chat?key=s3cret HTTP/1.1"
    assert request.body == body.read_bytes()
    assert request.headers["authorization"] == "Bearer s3cret"
    assert (request.headers["x-team"], request.headers["x-more"]) == ("a", "b")
    assert request.headers["content-type"] == "application/json"
    done = run("-d", "@-", f"{url}/chat", stdin="{}")
    assert done.returncode == 0 and seen[-1].body == b"{}"


@pytest.mark.parametrize("flag, path", [("--openai", "/v1/chat/completions"), ("--anthropic", "/v1/messages")])
def test_the_short_forms(paced, upstream, flag, path):
    seen = []

    def agent(connection):
        seen.append(connection.request())
        connection.head()
        connection.chunk("data: 1\n\n")
        connection.end()

    assert doctor(flag, "m", paced.url).code == 0
    # The base URL of an SDK.
    assert doctor(flag, "m", f"{paced.url}/v1").code == 0
    assert doctor(flag, "m", upstream(agent).url).code == 0
    assert path in seen[0].line
    asked = json.loads(seen[0].body)
    assert asked["model"] == "m" and asked["stream"] is True
