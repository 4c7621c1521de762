"""Tests that the admin listener reports what is running, and changes nothing unless asked."""

import json
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from backends import wire
from support.process import REAL
from support.raw import Raw
from support.wait import until

CHAT = "/v1/chat/completions"
EVENTS = list(wire.openai(3))


@pytest.fixture
def held(weir, upstream):
    """A proxy with one stream that waits for the test to continue it."""
    go_on = threading.Event()

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(EVENTS[0] + EVENTS[1])
        go_on.wait(10)
        connection.chunk("".join(EVENTS[2:]))
        connection.end()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post(CHAT) as client:
        client.until_events(2)
        yield proxy, client, go_on.set
        go_on.set()


def test_a_live_stream_is_shown_with_what_it_did(held):
    proxy, client, finish = held
    (stream,) = proxy.streams()
    assert stream["id"] == client.headers["weir-stream-id"]
    assert stream["request_id"] == client.headers["x-request-id"]
    assert (stream["route"], stream["dialect"], stream["state"]) == ("all", "openai_chat", "streaming")
    assert stream["events"] == 2
    assert stream["bytes"] == len((EVENTS[0] + EVENTS[1]).encode())
    assert (stream["queue_events"], stream["queue_bytes"], stream["dropped"]) == (0, 0, 0)
    finish()
    client.read_body()
    until("no stream", lambda: proxy.streams() == [])


def test_the_streams_are_told_as_events_to_who_asks_for_events(held):
    proxy, client, finish = held
    request = Request(f"http://{proxy.admin}/streams", headers={"accept": "text/event-stream"})
    with urlopen(request, timeout=10) as following:
        assert following.headers["content-type"] == "text/event-stream"

        def told() -> dict:
            line, end = following.readline(), following.readline()
            assert end == b"\n"
            return json.loads(line.removeprefix(b"data: "))

        first = told()
        assert first["active"] == 1
        assert first["streams"][0]["id"] == client.headers["weir-stream-id"]
        finish()
        client.read_body()
        until("the end is told", lambda: told()["active"] == 0)


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/streams", "/config"])
def test_reading_changes_nothing_and_writing_is_refused(held, path):
    proxy, *_ = held
    assert proxy.ask(path)[0] == 200
    assert proxy.ask(path, "POST")[0] == 405
    assert proxy.ask(path, "DELETE")[0] == 405


def test_a_stream_is_stopped_by_its_id(held):
    proxy, client, _ = held
    (stream,) = proxy.streams()

    def stop(id: str, **headers: str) -> int:
        request = Request(f"http://{proxy.admin}/streams/{id}", method="DELETE", headers=headers)
        try:
            with urlopen(request, timeout=10) as response:
                return response.status
        except HTTPError as error:
            return error.code

    hook = {"Weir-Hook": "stop"}
    assert stop(stream["id"], **hook, Origin="http://evil.example") == 403
    assert stop("0" * 32, **hook) == 404 and len(proxy.streams()) == 1
    assert stop(stream["id"], **hook) == 202
    assert b"stopped" in client.read_body()
    assert proxy.ended()["outcome"] == "stopped"
    assert stop(stream["id"], **hook) == 404


def test_a_drain_is_not_begun_by_looking(held):
    proxy, *_ = held
    assert proxy.ask("/drain")[0] == 405
    assert proxy.ask("/readyz") == (200, "ready\n")
    assert proxy.ask("/nowhere")[0] == 404


def test_a_crowd_of_readers_is_bounded(weir, upstream):
    """Connections beyond the limit are closed; earlier ones continue."""
    proxy = weir(upstream(lambda connection: None).url)
    crowd = [Raw(f"http://{proxy.admin}") for _ in range(240)]
    assert proxy.ask("/healthz")[0] == 200
    extra = [Raw(f"http://{proxy.admin}") for _ in range(40)]
    assert extra[-1].until_closed(5) == b""
    for one in crowd + extra:
        one.close()
    until("a place", lambda: answers(proxy))


def answers(proxy) -> bool:
    try:
        return proxy.ask("/healthz")[0] == 200
    except OSError:
        return False


def own_address() -> str:
    """Returns an address of this machine that browsers trust less than loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing.
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


@pytest.fixture
def page():
    """The URL of an empty page, of no site that Weir knows."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><body></body>")

        def log_message(self, *_):
            pass

    server = HTTPServer(("0.0.0.0", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://evil.test:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_no_page_in_a_browser_reads_or_drains(weir, upstream, page):
    """A real browser, on a page that tries everything: images, frames, forms, scripts, and a name that resolves to the
    admin listener (DNS rebinding)."""
    proxy = weir(upstream(lambda connection: None).url, admin={"listen": "0.0.0.0:0"})
    port = int(proxy.admin.rpartition(":")[2])
    task = {"page": page, "address": own_address(), "port": port}
    done = subprocess.run(
        ["node", "pages.mjs", json.dumps(task)], cwd=REAL / "node", capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert {status for *_, status in seen} - {None} == {403}, seen
    tried = {(method, kind) for host, method, _, kind, _ in seen if not host.startswith("evil.test")}
    assert {("POST", "fetch"), ("POST", "ping")} < tried
    assert {("GET", kind) for kind in ("document", "fetch", "image", "media", "script", "stylesheet")} < tried
    rebound = [path for host, _, path, _, status in seen if host.startswith("evil.test") and status]
    assert rebound == ["/", "/streams", "/config", "/metrics", "/drain"]
    assert Raw(f"http://127.0.0.1:{port}").get("/readyz").status == 200
