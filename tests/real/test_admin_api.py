"""Tests that the admin listener does what deploy/openapi.yaml says, asked by a tool that knows nothing else of it."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import yaml

from backends import wire
from support.process import ROOT
from support.raw import Raw
from support.wait import until

FILE = ROOT / "deploy/openapi.yaml"
# What must hold of every answer.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
]
CHAT = "/v1/chat/completions"
EVENTS = list(wire.openai(6))


@pytest.fixture
def busy(weir, upstream):
    """A proxy with a live stream, and one that has ended."""
    go_on = threading.Event()

    def script(connection):
        while True:
            request = connection.request()
            connection.head()
            connection.chunk("".join(EVENTS[:3]))
            if b"held" in request.body:
                go_on.wait(60)
            connection.chunk("".join(EVENTS[3:]))
            connection.end()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post(CHAT) as client:
        client.read_body()
    proxy.ended()
    with Raw(proxy.url).post(CHAT, b'{"stream":true,"user":"held"}') as client:
        client.until_events(2)
        yield proxy
        go_on.set()


def document(proxy) -> dict:
    return json.loads(proxy.ask("/streams")[1])


@pytest.mark.slow
def test_the_listener_does_what_its_openapi_file_says(busy, tmp_path):
    tool = Path(sys.executable).with_name("schemathesis")
    # Not the drain, which ends the process. `Accept`, because events never end.
    command = [
        str(tool), "run", str(FILE), "--url", f"http://{busy.admin}", "--exclude-path", "/drain",
        "--checks", ",".join(CHECKS), "--max-examples", "25", "--seed", "1", "--request-timeout", "10", "--no-color",
        "--header", "Accept: application/json, text/plain, */*", "--header", "Weir-Hook: 1",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(busy.streams()) == 1, "no stream has this luck"


def test_each_member_of_the_document_is_described(busy):
    told = document(busy)
    schemas = yaml.safe_load(FILE.read_text())["components"]["schemas"]
    members = {name: set(schema["properties"]) for name, schema in schemas.items() if "properties" in schema}
    assert set(told) == members["State"]
    (stream,), (ended,) = told["streams"], told["ended"]
    assert set(stream) == members["Stream"] - {"events_in", "bytes_in"}
    assert set(ended) == members["Ended"]
    for name in ("memory", "config", "recent"):
        assert set(told[name]) == members[name.capitalize()]


def test_the_document_tells_what_happened(busy):
    told = document(busy)
    (stream,), (ended,) = told["streams"], told["ended"]
    assert (stream["route"], stream["method"], stream["path"], stream["client"]) == ("all", "POST", CHAT, "127.0.0.1")
    assert stream["ttft_ms"] <= stream["age_ms"] and stream["tokens"] == 2
    assert (stream["viewers"], stream["detached"], stream["blocked_ms"]) == (1, False, None)
    assert (ended["outcome"], ended["code"], ended["status"], ended["number"]) == ("finished", "finished", 200, 1)
    assert ended["tokens"] == 12 and ended["events"] > 6, "what the agent reported"
    assert 0 <= ended["ttft_ms"] <= ended["duration_ms"] and ended["bytes_out"] > 0
    assert told["ended_total"] == 1
    recent = told["recent"]
    assert sum(recent["ended"]) == 1 and sum(recent["ends"]["finished"]) == 1
    assert sum(ms is not None for ms in recent["ttft_p50_ms"]) == 1
    (upstream,) = told["upstreams"]
    (endpoint,) = upstream["endpoints"]
    assert (upstream["name"], endpoint["state"], endpoint["active"]) == ("agent", "in", 1)
    assert endpoint["url"].startswith("http://127.0.0.1:")
    assert told["memory"]["resident_bytes"] > 1 << 20 and not told["memory"]["shedding"]
    assert told["config"]["generation"] == 1 and told["config"]["last_reload"] is None
    until("silence", lambda: document(busy)["streams"][0]["flow"] == "silent")


def test_a_client_that_reads_nothing_is_told_apart_from_a_silent_agent(weir, upstream):
    def flood(connection):
        connection.request()
        connection.head()
        while True:
            connection.chunk(EVENTS[1] * 50)

    queue = {"max_events": 16, "max_bytes": "64KiB", "overflow": "block"}
    proxy = weir(upstream(flood).url, defaults={"queue": queue})
    with Raw(proxy.url, receive_buffer=4096).post(CHAT):

        def stalled() -> dict | None:
            streams = document(proxy)["streams"]
            return streams[0] if streams and streams[0]["flow"] == "stalled" and streams[0]["blocked_ms"] else None

        stream = until("it is stalled, and its agent is not read", stalled)
        assert stream["flow_ms"] >= 1000 and stream["queue_bytes"] > 0 and stream["state"] == "stalled"
    until("it has ended", lambda: document(proxy)["ended_total"] == 1)
    assert document(proxy)["ended"][0]["outcome"] == "client_gone"


def test_a_follower_is_told_each_ended_stream_once(busy):
    request = Request(f"http://{busy.admin}/streams", headers={"accept": "text/event-stream"})
    with urlopen(request, timeout=15) as following:

        def told() -> dict:
            line, end = following.readline(), following.readline()
            assert end == b"\n"
            return json.loads(line.removeprefix(b"data: "))

        assert [one["number"] for one in told()["ended"]] == [1]
        assert told()["ended"] == []
        with Raw(busy.url).post(CHAT) as client:
            client.read_body()
        seen: list[int] = []

        def more() -> bool:
            seen.extend(one["number"] for one in told()["ended"])
            return 2 in seen

        until("the second one", more)
        assert seen == [2]


def test_a_request_that_could_not_be_served_is_told_and_a_wrong_one_is_not(weir):
    # Nothing listens there.
    proxy = weir("http://127.0.0.1:9", defaults={"deadlines": {"connect": "200ms"}, "max_request_bytes": "1KiB"})
    with Raw(proxy.url).post(CHAT) as client:
        failed = client.status
        client.read_body()
    with Raw(proxy.url).post(CHAT, b"x" * 2048) as client:
        assert client.status == 413
    told = document(proxy)
    (ended,) = told["ended"]
    assert failed >= 500 and (ended["outcome"], ended["status"], ended["id"]) == ("rejected", failed, None)
    assert ended["code"] == "upstream_connect" and ended["ttft_ms"] is None
    assert sum(told["recent"]["ends"]["rejected"]) == 1 and told["streams"] == []


def test_a_reload_is_told(weir, upstream):
    proxy = weir(upstream(lambda connection: None).url)
    config = json.loads(proxy.file.read_text())
    proxy.reload(config)
    told = document(proxy)["config"]
    assert told["generation"] == 2 and told["last_reload"]["ok"] and told["last_reload"]["problem"] is None
    proxy.file.write_text("heartbeet: 1s\n")
    proxy.hang_up()
    until("the refusal", lambda: not document(proxy)["config"]["last_reload"]["ok"])
    told = document(proxy)["config"]
    assert told["generation"] == 2 and "heartbeet" in told["last_reload"]["problem"]


def test_nothing_of_what_was_said_is_told(busy):
    text = busy.ask("/streams")[1]
    word = json.loads(EVENTS[1].removeprefix("data: "))["choices"][0]["delta"]["content"].strip()
    assert len(word) > 3 and word not in text and "held" not in text


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/streams", "GET, HEAD"), ("/page.js", "GET, HEAD"), ("/streams/" + "0" * 32, "DELETE"), ("/drain", "GET, POST")],
)
def test_a_wrong_method_is_answered_with_the_right_ones(busy, path, methods):
    with Raw(f"http://{busy.admin}").send("PATCH", path, weir_hook="1") as client:
        client.read_head()
        assert (client.status, client.headers["allow"]) == (405, methods)


def test_the_page_is_served_with_a_strict_policy(busy):
    for path, kind in [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")]:
        with Raw(f"http://{busy.admin}").get(path) as client:
            client.read_body()
            policy = client.headers["content-security-policy"]
            assert client.headers["content-type"].startswith(kind)
            assert "unsafe" not in policy and policy.startswith("default-src 'none'")
            assert client.headers["x-content-type-options"] == "nosniff"
