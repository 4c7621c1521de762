"""Tests faults of the names of agents: they move, are lost, or their server is silent."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from support.faults import (
    STREAMS,
    Agent,
    Running,
    chats,
    errors,
    nothing_is_left,
    only,
    plain,
    refused,
    replace,
    started_by,
)
from support.raw import Raw
from support.wait import until
from support.weir import BINARY


class Names:
    """The names that Weir can resolve. It runs with its own /etc."""

    def __init__(self, etc: Path):
        self._etc = etc
        etc.mkdir()
        (etc / "nsswitch.conf").write_text("hosts: files\n")
        self.are({})

    def are(self, addresses: dict[str, str]) -> None:
        replace(self._etc / "hosts", "".join(f"{address} {name}\n" for name, address in addresses.items()))

    def others_are_asked_of(self, server: str) -> None:
        """Sends queries for unknown names to `server`, with one attempt and a timeout of one second."""
        (self._etc / "nsswitch.conf").write_text("hosts: files dns\n")
        (self._etc / "resolv.conf").write_text(f"nameserver {server}\noptions timeout:1 attempts:1\n")


@pytest.fixture
def names(tmp_path, monkeypatch) -> Names:
    etc = tmp_path / "etc"
    names = Names(etc)
    if subprocess.run(["unshare", "--mount", "mount", "--bind", etc, "/etc"], capture_output=True).returncode:
        pytest.skip("a mount namespace needs root")
    mount = f"mount --bind {etc} /etc"
    started_by(f"unshare --mount sh -c '{mount} && exec \"$0\" \"$@\"' {BINARY} \"$@\"", tmp_path, monkeypatch)
    return names


def test_a_name_that_moves_takes_new_requests_along_and_no_running_stream(weir, upstream, names):
    old = Agent(upstream, "old")
    new = Agent(upstream, "new", host="127.0.0.2", port=old.server.port)
    names.are({"agent.test": "127.0.0.1"})
    proxy = weir(upstreams={"agent": {"endpoints": [f"http://agent.test:{old.server.port}"], "pool_idle": "300ms"}})
    with nothing_is_left(proxy):
        running = Running(old, chats(proxy))
        assert plain(proxy) == b"old"
        kept = old.server.connections[-1]
        names.are({"agent.test": "127.0.0.2"})
        # A pooled connection is used until it closes.
        kept.gone(within=5)
        assert plain(proxy) == b"new"
        later = Running(new, chats(proxy))
        running.go_on()
        later.finish()
        running.finish()
        proxy.outcomes(finished=2 * STREAMS)
    assert errors(proxy) == {}
    assert len(old.server.requests()) == STREAMS + 1, "none of the later ones came here"


def test_a_name_that_is_lost_is_a_502_until_it_is_found(weir, upstream, names):
    agent = Agent(upstream)
    names.are({"agent.test": "127.0.0.1"})
    proxy = weir(upstreams=only(f"http://agent.test:{agent.server.port}"))
    with nothing_is_left(proxy):
        running = Running(agent, chats(proxy))
        names.are({})
        for _ in range(10):
            assert "did not resolve" in refused(proxy, 502, "upstream_connect")
        running.go_on()
        assert errors(proxy) == {"upstream_connect": 10}
        assert len(agent.server.requests()) == STREAMS
        names.are({"agent.test": "127.0.0.1"})
        assert plain(proxy) == b"agent"
        running.finish()
        proxy.outcomes(finished=STREAMS)
    assert proxy.metrics().value("weir_requests_total", code="502") == 10


def test_a_name_that_is_lost_is_waited_for_within_connect_budget(weir, upstream, names):
    agent = Agent(upstream)
    proxy = weir(upstreams=only(f"http://agent.test:{agent.server.port}", connect_budget="10s"))
    with nothing_is_left(proxy), Raw(proxy.url) as client:
        began = time.monotonic()
        client.send("GET", "/plain")
        # Weir retries every 0.1 s.
        until("several attempts", lambda: time.monotonic() - began > 0.3)
        names.are({"agent.test": "127.0.0.1"})
        assert client.read_head().read_body() == b"agent"
        assert time.monotonic() - began < 5
    assert errors(proxy) == {}


def test_a_name_server_that_is_silent_is_a_504_in_time(weir, upstream, names):
    agent = Agent(upstream)
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.settimeout(5)
        address = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        try:
            server.bind((address, 53))
        except OSError as error:
            pytest.skip(f"no place for a name server: {error}")
        names.others_are_asked_of(address)
        names.are({"agent.test": "127.0.0.1"})
        url = f"http://agent.test:{agent.server.port}"
        proxy = weir(upstreams=only(url), defaults={"deadlines": {"connect": "300ms"}})
        with nothing_is_left(proxy):
            running = Running(agent, chats(proxy))
            names.are({})
            began = time.monotonic()
            refused(proxy, 504, "upstream_connect")
            assert 0.3 < time.monotonic() - began < 0.9
            assert b"agent" in server.recv(512), "it was asked"
            running.go_on()
            names.are({"agent.test": "127.0.0.1"})
            assert plain(proxy) == b"agent"
            running.finish()
            proxy.outcomes(finished=STREAMS)
        assert errors(proxy) == {"upstream_connect": 1}
