"""Tests that the settings of docs/intermediaries.md keep streams whole behind real proxies.

Each snippet of the page is extracted, given ports, and started in front of a real Weir. Where the page says that a
default does harm, a test without the setting shows the harm.
"""

import re
import statistics
import threading
import time

import pytest

from backends import wire
from support.hop import KINDS, Hop, version
from support.raw import Closed, Raw
from support.wait import until

CHAT = "/v1/chat/completions"
TOKEN = list(wire.openai(2))[1]
DONE = "data: [DONE]\n\n"
LINE = '{"model":"m","message":{"role":"assistant","content":"a"},"done":false}\n'
LAST = '{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}\n'
LARGE = b"x" * (8 << 20)
HOPS = list(KINDS)
# The page's settings for HTTP/2 between the hop and Weir.
HTTP2 = {
    "envoy": {"{ http_protocol_options: {} }": "{ http2_protocol_options: {} }"},
    "haproxy": {"127.0.0.1:8080 check": "127.0.0.1:8080 proto h2 check check-proto h1"},
    # Caddy's health checks would use HTTP/2, too.
    "caddy": {"reverse_proxy 127.0.0.1:8080": "reverse_proxy h2c://127.0.0.1:8080", "health_": "# health_"},
}


@pytest.fixture
def hop(tmp_path):
    """`hop(name, weir)` starts a proxy, with `changes` to the page's text."""
    running = []

    def start(name, weir, changes=None):
        running.append(Hop(name, weir, tmp_path / f"hop-{len(running)}", changes or {}))
        return running[-1]

    yield start
    for one in running:
        one.close()


class Steps:
    """An agent that sends each event only when it is told to."""

    def __init__(self, kind, event, last):
        self.kind, self.event, self.last = kind, event, last
        self.next = threading.Semaphore(0)

    def __call__(self, connection):
        connection.request()
        connection.head(self.kind)
        for _ in range(8):
            connection.chunk(self.event)
            assert self.next.acquire(timeout=20)
        connection.chunk(self.last)
        connection.end()

    def watched_by(self, client):
        """Checks that each event arrives before the next one is sent, and that the end arrives. Returns the median
        delay of an event."""
        took = []
        for count in range(1, 9):
            since = time.monotonic()
            while client.body.count(self.event.encode()) < count:
                client.read_chunk()
            took.append(time.monotonic() - since)
            assert client.body.count(self.event.encode()) == count
            self.next.release()
        assert client.read_body().endswith(self.last.encode())
        return statistics.median(took)


def events():
    return Steps("text/event-stream", TOKEN, DONE)


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("name", HOPS)
def test_an_event_arrives_before_the_next_one_is_sent(weir, upstream, hop, name, coding):
    steps = events()
    front = hop(name, weir(upstream(steps).url))
    with Raw(front.url).post(CHAT, accept_encoding=coding) as client:
        assert client.status == 200 and "content-encoding" not in client.headers
        assert steps.watched_by(client) < 0.1


@pytest.mark.parametrize("name", HOPS)
def test_lines_and_text_are_not_held_back_either(weir, upstream, hop, name):
    """Weir treats NDJSON as a stream. Text of any other type is not a stream, and is forwarded as it arrives."""
    for kind, path in (("application/x-ndjson", "/api/chat"), ("text/plain", "/log")):
        steps = Steps(kind, LINE, LAST)
        front = hop(name, weir(upstream(steps).url))
        with Raw(front.url).post(path, accept_encoding="gzip") as client:
            assert "content-encoding" not in client.headers
            assert steps.watched_by(client) < 0.1


@pytest.mark.parametrize("name", HTTP2)
def test_http2_between_the_hop_and_weir(weir, upstream, hop, name):
    """As above. A client that leaves resets its stream, not the connection."""
    steps = events()
    server = upstream(lambda connection: (steps if connection is server.connections[0] else silent_after_events)(connection))
    proxy = weir(server.url)
    front = hop(name, proxy, HTTP2[name])
    with Raw(front.url).post(CHAT) as stays:
        stays.until_bytes(TOKEN.encode())
        other = Raw(front.url).post(CHAT)
        other.until_bytes(TOKEN.encode())
        left = time.monotonic()
        other.close()
        assert server.connections[1].gone() - left < 1.5
        assert steps.watched_by(stays) < 0.1


def silent_before_head(connection):
    connection.request()


def silent_after_events(connection):
    connection.request()
    connection.head()
    connection.chunk(TOKEN * 3)


PHASES = {"before the head": silent_before_head, "in silence": silent_after_events}


def leaves(front, server, phase):
    """A client sends a request and leaves as a browser does. Returns when the agent notices."""
    client = Raw(front.url)
    client.send("POST", CHAT, b'{"stream":true}')
    until("the request", server.requests)
    if phase == "in silence":
        client.read_head().until_bytes(TOKEN.encode() * 3)
    client.close()
    return server.connections[0]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", HOPS)
def test_the_agent_hears_that_the_client_left(weir, upstream, hop, name, phase):
    server = upstream(PHASES[phase])
    front = hop(name, weir(server.url, defaults={"heartbeat": "1h"}))
    left = time.monotonic()
    assert leaves(front, server, phase).gone() - left < 1.5


# The page's idle timeouts, shortened. Caddy has no idle timeout.
CUT = {
    "nginx": {"proxy_read_timeout 150s": "proxy_read_timeout 1s"},
    "envoy": {"stream_idle_timeout: 150s": "stream_idle_timeout: 1s"},
    "haproxy": {"timeout server 150s": "timeout server 1s", "timeout client 150s": "timeout client 1s"},
}


@pytest.mark.parametrize("name", CUT)
def test_silence_longer_than_the_idle_timeout(weir, upstream, hop, name):
    """The heartbeat keeps a stream alive. Without it the idle timeout ends the stream, and the client sees that."""
    go_on = threading.Event()

    def script(connection):
        silent_after_events(connection)
        go_on.wait(20)
        connection.chunk(DONE)
        connection.end()

    url = upstream(script).url
    quiet, beating = (hop(name, weir(url, defaults={"heartbeat": beat}), CUT[name]) for beat in ("1h", "200ms"))
    with Raw(quiet.url).post(CHAT) as cut, Raw(beating.url).post(CHAT) as whole:
        with pytest.raises((Closed, ConnectionError)):
            cut.read_body()
        # Wait for the same time again.
        beats = whole.body.count(b"\n:")
        while whole.body.count(b"\n:") < beats + 6:
            whole.read_chunk()
        go_on.set()
        assert whole.read_body().endswith(DONE.encode())


@pytest.mark.parametrize("name", CUT)
def test_a_model_that_thinks_for_longer_than_the_hop_waits(weir, upstream, hop, name):
    """With `commit_after`, the hop gets a head in time, and then heartbeats."""
    go_on = threading.Event()

    def script(connection):
        connection.request()
        go_on.wait(20)
        connection.head()
        connection.chunk(TOKEN + DONE)
        connection.end()

    proxy = weir(upstream(script).url, defaults={"heartbeat": "200ms", "commit_after": "200ms"})
    with Raw(hop(name, proxy, CUT[name]).url).post(CHAT) as client:
        while client.body.count(b":") < 6:
            client.read_chunk()
        go_on.set()
        assert client.read_body().endswith((TOKEN + DONE).encode())


@pytest.mark.parametrize("name", HOPS)
def test_a_large_request_passes(weir, upstream, hop, name):
    def script(connection):
        got = str(len(connection.request().body))
        connection.send(f"HTTP/1.1 200 OK\r\ncontent-length: {len(got)}\r\n\r\n{got}")

    front = hop(name, weir(upstream(script).url))
    with Raw(front.url).post("/upload", LARGE) as client:
        assert (client.status, client.read_body()) == (200, str(len(LARGE)).encode())


@pytest.mark.parametrize("name", HOPS)
def test_the_error_of_a_stream_that_broke_arrives(weir, upstream, hop, name):
    def script(connection):
        silent_after_events(connection)
        connection.reset()

    front = hop(name, weir(upstream(script).url))
    with Raw(front.url).post(CHAT) as client:
        body = client.read_body()
    assert body.startswith(TOKEN.encode() * 3) and b'"upstream_reset"' in body


def broken_json(connection):
    connection.request()
    connection.head("application/json")
    connection.chunk('{"a":')
    connection.reset()


@pytest.mark.parametrize("name", HOPS)
def test_an_answer_that_was_broken_off_does_not_look_whole(weir, upstream, hop, name):
    front = hop(name, weir(upstream(broken_json).url))
    with Raw(front.url) as client:
        if name == "caddy" and version(name) < (2, 8):
            assert client.post("/tool").read_body() == b'{"a":', "as the page says"
        else:
            with pytest.raises((Closed, ConnectionError)):
                client.post("/tool").read_body()
                assert client.status >= 500


@pytest.mark.parametrize("name", ["envoy", "haproxy", "caddy"])
def test_a_drain_is_seen_and_running_streams_go_on(weir, upstream, hop, name):
    """The hop polls `/readyz`. Once that fails, the hop sends no new requests and does not cut running streams."""
    steps = events()

    def script(connection):
        if connection is server.connections[0]:
            return steps(connection)
        while True:
            connection.request()
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    server = upstream(script)
    proxy = weir(server.url, drain={"delay": "1m", "limit": "1m"})
    often = {"interval: 2s": "interval: 0.1s"} if name == "envoy" else {" 2s": " 100ms"}
    front = hop(name, proxy, often)

    def refused():
        with Raw(front.url).get("/other") as client:
            return client.status == 503 and "x-request-id" not in client.headers

    with Raw(front.url).post(CHAT) as client:
        client.until_bytes(TOKEN.encode())
        assert proxy.ask("/drain", "POST")[0] == 202
        until("the hop knows", refused)
        assert steps.watched_by(client) < 0.1
    proxy.terminate()
    proxy.terminate()


@pytest.mark.parametrize("name", HOPS)
def test_whom_the_agent_believes_to_have_asked(weir, upstream, hop, name):
    """In X-Forwarded-For, the last address is the hop's, as Weir sees it, and the one before it the client's, as the
    hop sees it."""
    asked = []

    def script(connection):
        asked.append(connection.request().headers)
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    front = hop(name, weir(upstream(script).url))
    with Raw(front.url) as client:
        host = client.get("/", x_forwarded_for="6.6.6.6", x_forwarded_proto="https").host
    addresses = re.split(", *", asked[0]["x-forwarded-for"])
    # Envoy appends to the header, the others replace it.
    assert addresses[:-2] == (["6.6.6.6"] if name == "envoy" else [])
    # Envoy reports the machine's own address for a client on the same machine.
    assert addresses[-1] == "127.0.0.1" and (addresses[-2] == "127.0.0.1" or name == "envoy")
    assert asked[0]["host"].partition(":")[0] == host.partition(":")[0] and asked[0]["x-forwarded-proto"] == "http"


# From here on: what happens without one of the page's settings.


def test_nginx_refuses_large_requests(weir, upstream, hop):
    front = hop("nginx", weir(upstream(events()).url), {"client_max_body_size 64m;": ""})
    with Raw(front.url).post("/upload", LARGE) as client:
        assert client.status == 413


@pytest.mark.parametrize("kind, path, held", [("text/event-stream", CHAT, False), ("text/plain", "/log", True)])
def test_nginx_holds_back_what_is_no_stream_for_weir(weir, upstream, hop, kind, path, held):
    """nginx with its defaults. For streams, Weir turns buffering off with `X-Accel-Buffering`; for other responses
    nginx itself must be configured."""
    steps = Steps(kind, TOKEN, DONE)
    defaults = {"proxy_buffering off;": "", "proxy_http_version 1.1;": "proxy_http_version 1.0;"}
    front = hop("nginx", weir(upstream(steps).url), defaults)
    with Raw(front.url) as client:
        if held:
            client.socket.settimeout(1)
            with pytest.raises(TimeoutError):
                steps.watched_by(client.post(path))
        else:
            steps.watched_by(client.post(path))


def test_nginx_over_http_1_0_takes_half_an_answer_for_a_whole_one(weir, upstream, hop):
    front = hop("nginx", weir(upstream(broken_json).url), {"proxy_http_version 1.1;": "proxy_http_version 1.0;"})
    with Raw(front.url).post("/tool") as client:
        assert (client.status, client.read_body()) == (200, b'{"a":')


@pytest.mark.parametrize("changes, runs", [({}, 1), ({"proxy_next_upstream error;": ""}, 2)])
def test_nginx_asks_twice_when_nobody_answers_in_time(weir, upstream, hop, changes, runs):
    server = upstream(silent_before_head)
    two = {"server 127.0.0.1:8080;": "server 127.0.0.1:8080; server 127.0.0.1:8080;"}
    front = hop("nginx", weir(server.url), CUT["nginx"] | two | changes)
    with Raw(front.url).get("/agent") as client:
        assert client.status == 504
    assert len(server.requests()) == runs


def test_envoy_counts_its_timeout_from_the_request(weir, upstream, hop):
    """Envoy's default is 15 s. Events do not reset it."""

    def script(connection):
        connection.request()
        connection.head()
        while not connection._closed.wait(0.05):
            connection.chunk(TOKEN)

    front = hop("envoy", weir(upstream(script).url), {"timeout: 0s": "timeout: 1s"})
    with Raw(front.url).post(CHAT) as client, pytest.raises((Closed, ConnectionError)):
        client.read_body()


def test_haproxy_waits_for_more(weir, upstream, hop):
    steps = events()
    front = hop("haproxy", weir(upstream(steps).url), {"option http-no-delay": ""})
    with Raw(front.url).post(CHAT) as client:
        assert steps.watched_by(client) > 0.15


@pytest.mark.parametrize(
    "name, since, changes",
    [
        ("haproxy", (3, 3), {"option abortonclose": ""}),
        # The option is set only in the backend.
        ("haproxy", (3, 3), {"option abortonclose": "", "backend weir\n": "backend weir\n    option abortonclose\n"}),
        ("caddy", (2, 9), {"reverse_proxy 127.0.0.1:8080 {": "reverse_proxy 127.0.0.1:8080 {\nflush_interval -1"}),
    ],
)
def test_a_departure_that_the_hop_keeps_for_itself(weir, upstream, hop, name, since, changes):
    """Up to some version, the hop does not forward that a client left."""
    server = upstream(silent_after_events)
    front = hop(name, weir(server.url, defaults={"heartbeat": "1h"}), changes)
    agent = leaves(front, server, "in silence")
    if version(name) >= since:
        agent.gone(1.5)
    else:
        with pytest.raises(AssertionError):
            agent.gone(2)
        agent.fin()
