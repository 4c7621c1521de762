"""Tests that the program starts, logs where it listens, answers its probes, and stops correctly."""

import json
import os
import signal
import subprocess

from support.raw import Raw
from support.weir import BINARY, Weir


def test_flags_alone_are_enough(fastapi):
    weir = Weir("--listen", "127.0.0.1:0", "--upstream", fastapi.url, "--admin", "127.0.0.1:0")
    try:
        with Raw(weir.url).get("/json") as client:
            assert (client.status, client.read_body()[:9]) == (200, b'{"text":"')
        assert weir.ask("/healthz")[0] == 200
        assert weir.ask("/readyz")[0] == 200
        assert weir.streams() == []
        # A second signal skips the drain delay of five seconds.
        weir.terminate()
        weir.logged("draining")
        weir.terminate()
        assert weir.stopped(within=4) == 0
    finally:
        if weir.code is None:
            weir.child.stop()


def test_admin_paths_are_not_on_the_traffic_port(weir, fastapi):
    proxy = weir(fastapi.url)
    for path in ("/metrics", "/healthz", "/readyz", "/streams", "/drain", "/config"):
        with Raw(proxy.url).get(path) as client:
            assert client.status == 404
            assert client.read_body() == b'{"detail":"Not Found"}', "FastAPI answers, not Weir"


def test_a_running_stream_is_listed(weir, fastapi, name):
    proxy, run = weir(fastapi.url), name()
    with Raw(proxy.url).get(f"/agent?run={run}&hold=3") as client:
        client.until_events(3)
        (listed,) = proxy.streams()
        assert listed["id"] == client.headers["weir-stream-id"]
        assert listed["route"] == "all"
        fastapi.open(run)
        client.read_body()
    assert proxy.ended(stream_id=listed["id"])["outcome"] == "finished"
    assert proxy.streams() == []


def test_a_mistake_in_the_configuration_is_named_and_exits_with_2(tmp_path):
    file = tmp_path / "weir.yaml"
    file.write_text("upstreams: {agent: {endpoints: ['http://127.0.0.1:1']}}\nheartbeet: 1s\n")
    run = subprocess.run([BINARY, "--config", file], capture_output=True, text=True, timeout=10)
    assert run.returncode == 2
    assert "heartbeet" in run.stderr
    assert f"{file}:2" in run.stderr


def test_a_closed_stderr_costs_no_answer():
    """The reader of the log is gone: requests and the drain continue. Port 9: no request is sent to it."""
    read, write = os.pipe()
    flags = ["--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9", "--admin", "off"]
    child = subprocess.Popen([BINARY, *flags, "--workers", "1"], stderr=write)
    os.close(write)
    try:
        with open(read) as log:
            address = next(line["address"] for line in map(json.loads, log) if line["message"] == "listening")
        for _ in range(3):
            with Raw(f"http://{address}").post("/v1/chat/completions") as client:
                assert client.status == 502, "a failure that is logged"
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    finally:
        child.kill()
