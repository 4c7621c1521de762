"""Tests how tunnels end, who is told, and what many or stalled ones cost."""

import asyncio
import json
import signal
import struct
import threading
import time
from contextlib import ExitStack
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from backends.scripted_websocket import echo
from support.clients.websocket import address, opened, talk
from support.wait import PATIENCE, settled, until
from support.websocket import BINARY, CLOSE, MASK, PING, PONG, TEXT, Frame, frame, tunnel
from support.websocket_agents import SERVERS, agent, servers, starts  # noqa: F401

KIB, MIB = 1 << 10, 1 << 20
# Codes that either end may send.
CODES = [1000, 1001, 1003, 1008, 1011, 1012, 3000, 4000, 4999]
TUNNELS = 1000


def timed_out(**deadlines):
    return {"deadlines": deadlines}


@pytest.mark.parametrize("server", SERVERS)
def test_codes_and_reasons_of_both_ends(weir, servers, name, server):  # noqa: F811
    far = servers(server)
    proxy = weir(far.url)
    for code in CODES:
        run, reason = name(), f"because of {code}"
        seen = talk("python", proxy.url, ["close", code, reason], path=f"/echo?run={run}")
        ended = far.becomes(run, "closed")
        assert (ended["code"], ended["reason"]) == (code, reason)
        assert (seen.code, seen.reason) == (code, reason)
        path = f"/close?code={code}&reason=because-of-{code}"
        seen = talk("python", proxy.url, ["say", "end"], ["closed"], path=path)
        assert (seen.code, seen.reason) == (code, f"because-of-{code}")
    counted = {str(code): 2 for code in CODES if code < 3000} | {"3xxx": 2, "4xxx": 4}
    until("all are counted", lambda: proxy.metrics().by("weir_websocket_closes_total", "code") == counted)
    assert proxy.metrics().value("weir_streams_active") == 0


@pytest.mark.parametrize("client", ["ws", "chromium"])
@pytest.mark.parametrize("code", [1000, 4999])
def test_codes_of_other_clients(weir, servers, name, client, code):  # noqa: F811
    far, run = servers("uvicorn"), name()
    proxy = weir(far.url)
    talk(client, proxy.url, ["close", code, "from here"], path=f"/echo?run={run}")
    ended = far.becomes(run, "closed")
    assert (ended["code"], ended["reason"]) == (code, "from here")
    seen = talk(client, proxy.url, ["say", "end"], ["closed"], path=f"/close?code={code}&reason=from+there")
    assert (seen.code, seen.reason) == (code, "from there")


def test_a_message_that_is_too_large_for_the_agent(weir, servers):  # noqa: F811
    """uvicorn takes 16 MiB, and reads the length before the message."""
    with tunnel(weir(servers("uvicorn").url).url) as client:
        client.say(struct.pack(">BBQ", 0x82, 0xFF, 16 * MIB + 1) + MASK)
        assert client.frame().code == 1009


def test_an_agent_that_fails(weir, servers):  # noqa: F811
    """The client sees what it would see without Weir."""
    far = servers("uvicorn")
    steps = [["say", "now"], ["closed"]]
    proxy = weir(far.url)
    assert talk("python", proxy.url, *steps, path="/fail") == talk("python", far.url, *steps, path="/fail")
    until("it is over", lambda: proxy.metrics().value("weir_streams_active") == 0)


def test_an_agent_that_restarts(weir):
    """uvicorn says 1012 on SIGTERM, and closes its connections at once."""
    server = starts("uvicorn")
    try:
        proxy = weir(server.url)
        clients = [opened(proxy.url) for _ in range(3)]
        server.child.signal(signal.SIGTERM)
        for client in clients:
            with pytest.raises(ConnectionClosed):
                client.recv(PATIENCE)
            assert client.close_code == 1012
        until("all are over", lambda: proxy.metrics().value("weir_streams_active") == 0)
        assert proxy.metrics().by("weir_websocket_closes_total", "code") == {"1012": 3}
    finally:
        server.close()


@pytest.mark.parametrize("server", SERVERS)
def test_a_client_that_is_torn_away(weir, servers, name, server):  # noqa: F811
    """Without a close frame. The agent hears of it within a second."""
    far, proxy, run = servers(server), weir(servers(server).url), name()
    client = tunnel(proxy.url, path=f"/echo?run={run}")
    client.send(TEXT, b"hello")
    client.frame()
    left = time.monotonic()
    client.reset()
    ended = far.becomes(run, "closed")
    assert time.monotonic() - left < 1 and ended["code"] in (1005, 1006)
    proxy.outcomes(client_gone=1)


@pytest.mark.parametrize("server", ["websockets", "ws"])
def test_an_agent_that_is_torn_away(weir, servers, server):  # noqa: F811
    proxy = weir(servers(server).url)
    with opened(proxy.url, "/abrupt") as client:
        client.send("now")
        since = time.monotonic()
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert time.monotonic() - since < 1 and client.close_code == 1006
    # The agent ends its connection with a FIN or an RST.
    assert proxy.ended(transport="websocket")["outcome"] in ("truncated", "upstream_reset")
    assert proxy.metrics().by("weir_websocket_closes_total", "code") == {"1006": 1}


@pytest.mark.alone
def test_clients_that_read_nothing_cost_little(weir, servers, name):  # noqa: F811
    far, run, number = servers("uvicorn"), name(), 32
    proxy = weir(far.url, defaults=timed_out(client_stall="5m"))

    def sent():
        with urlopen(f"{far.url}/_seen", timeout=10) as response:
            return sum(one["sent"] for one in json.load(response) if str(one["name"]).startswith(f"{run}-"))

    with tunnel(proxy.url) as steady, ExitStack() as stalled:
        steady.send(TEXT, b"warm")
        steady.frame()
        before = proxy.rss()
        for each in range(number):
            path = f"/flood?run={run}-{each}"
            stalled.enter_context(tunnel(proxy.url, path=path, receive_buffer=4096))
        settled("what the agents could send", sent)
        grown = proxy.rss() - before
        assert grown < number * 256 * KIB, f"{grown / MIB:.1f} MiB"
        since = time.monotonic()
        steady.send(TEXT, b"still here")
        assert steady.frame().payload == b"still here" and time.monotonic() - since < 0.5
    for each in range(number):
        far.becomes(f"{run}-{each}", "closed")
    until("all are over", lambda: proxy.metrics().value("weir_streams_active") == 0)


@pytest.mark.alone
def test_agents_that_read_nothing_cost_little(weir, agent):  # noqa: F811
    over = threading.Event()

    def script(peer):
        peer.accept()
        over.wait(PATIENCE)

    proxy = weir(agent(script, receive_buffer=4096).url, defaults=timed_out(client_stall="5m"))
    before, message = proxy.rss(), frame(BINARY, bytes(64 * KIB), MASK)
    with ExitStack() as clients:
        for _ in range(16):
            client = clients.enter_context(tunnel(proxy.url))
            client.socket.settimeout(0.2)
            with pytest.raises(TimeoutError):
                while True:
                    client.say(message)
        grown = proxy.rss() - before
        assert grown < 16 * 256 * KIB, f"{grown / MIB:.1f} MiB"
        over.set()
    until("all are over", lambda: proxy.metrics().value("weir_streams_active") == 0)


def test_a_client_that_stalls_is_let_go(weir, servers, name):  # noqa: F811
    far, run = servers("uvicorn"), name()
    proxy = weir(far.url, defaults=timed_out(client_stall="500ms"))
    with tunnel(proxy.url, path=f"/flood?run={run}", receive_buffer=4096):
        proxy.ended(transport="websocket", outcome="client_stalled")
        far.becomes(run, "closed")
    proxy.outcomes(client_stalled=1)


class Watched:
    """An agent that accepts, answers pings, and remembers how its connection ended."""

    def __init__(self, agent):  # noqa: F811
        self.frames = []
        self.over = threading.Event()
        self.url = agent(self._script).url

    def _script(self, peer):
        peer.accept()
        try:
            while True:
                self.frames.append(got := peer.frame())
                if got.opcode == PING:
                    peer.send(PONG, got.payload)
                elif got.opcode == CLOSE:
                    peer.send(CLOSE, got.payload)
        finally:
            self.over.set()

    def last(self):
        """Returns the last frame that the agent received before its connection was closed."""
        assert self.over.wait(PATIENCE)
        return self.frames[-1]


def test_silence_ends_both_sides(weir, agent):  # noqa: F811
    far = Watched(agent)
    proxy = weir(far.url, defaults=timed_out(idle="600ms"))
    with tunnel(proxy.url) as client:
        since = time.monotonic()
        assert client.frame().code == 1001
        assert 0.55 < time.monotonic() - since < 1.5
        client.close_with(1001)
        assert client.frames(2) == []
    assert far.last().code == 1001 and far.last().masked
    proxy.outcomes(idle_timeout=1)


def test_pings_are_no_silence(weir, agent):  # noqa: F811
    """Bytes in either direction count."""
    far = Watched(agent)
    proxy = weir(far.url, defaults=timed_out(idle="600ms"))
    with tunnel(proxy.url) as client:
        for number in range(8):
            client.send(PING, b"%d" % number)
            assert client.frame().payload == b"%d" % number
            assert client.silent(0.2)
        client.close_with(1000)
        assert client.frame().code == 1000
    proxy.outcomes(finished=1)


def test_the_longest_life_of_a_tunnel(weir, agent):  # noqa: F811
    proxy = weir(Watched(agent).url, defaults=timed_out(total="1s"))
    since = time.monotonic()
    with tunnel(proxy.url) as client:
        while (got := asked(client)).opcode != CLOSE:
            assert time.monotonic() - since < 3
        assert 0.95 < time.monotonic() - since < 2
        assert got.code != 1000
    proxy.outcomes(total_timeout=1)


def asked(client) -> Frame:
    """Sends a ping, waits a little, and returns the next frame."""
    client.send(PING, b"?")
    got = client.frame()
    return got if got.opcode == CLOSE or client.silent(0.05) else client.frame()


def test_a_drain_says_goodbye(weir, servers, name):  # noqa: F811
    """To the client and to the agent, with 1001. The process ends then."""
    far, run = servers("uvicorn"), name()
    proxy = weir(far.url, drain={"delay": "0s", "limit": "3s"})
    with opened(proxy.url, f"/echo?run={run}") as client:
        client.send("hello")
        assert client.recv(PATIENCE) == "hello"
        proxy.terminate()
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert client.close_code == 1001
    assert far.becomes(run, "closed")["code"] == 1001
    assert proxy.stopped(within=8) == 0
    assert proxy.ended(transport="websocket")["outcome"] == "drained"


def test_a_drain_waits_for_the_end_of_a_message(weir, agent):  # noqa: F811
    """The goodbye is never put into a frame that is under way."""
    whole, go_on, ends = frame(BINARY, bytes(range(256)) * 400), threading.Event(), []

    def script(peer):
        peer.accept()
        peer.say(whole[:100])
        go_on.wait(PATIENCE)
        peer.say(whole[100:])
        ends.extend(peer.frames())

    proxy = weir(agent(script).url, drain={"delay": "0s", "limit": "5s"})
    with tunnel(proxy.url) as client:
        assert client.take(100) == whole[:100]
        proxy.terminate()
        proxy.logged("draining")
        assert client.silent(0.2)
        go_on.set()
        assert client.take(len(whole) - 100) == whole[100:]
        assert client.frame().code == 1001
        client.close_with(1001)
        client.frames()
    assert proxy.stopped(within=8) == 0
    assert until("the agent's end", lambda: ends)[-1].code == 1001


def test_a_drain_does_not_wait_for_ever(weir, agent):  # noqa: F811
    """For a message that never ends, and a client that never answers."""

    def script(peer):
        peer.accept()
        peer.say(frame(BINARY, bytes(1000))[:500])
        peer.gone()

    proxy = weir(agent(script).url, drain={"delay": "0s", "limit": "500ms"})
    with tunnel(proxy.url) as client:
        client.take(500)
        proxy.terminate()
        assert client.rest(8) == b""
    assert proxy.stopped(within=8) == 0


def test_a_tunnel_is_stopped_by_its_id(weir, servers, name):  # noqa: F811
    """On the admin listener. Both ends are told, and other tunnels stay."""
    far, run = servers("uvicorn"), name()
    proxy = weir(far.url)

    def stop(id):
        request = Request(f"http://{proxy.admin}/streams/{id}", method="DELETE", headers={"Weir-Hook": "stop"})
        try:
            with urlopen(request, timeout=10) as response:
                return response.status
        except HTTPError as error:
            return error.code

    with opened(proxy.url, f"/echo?run={run}") as client:
        (first,) = proxy.streams()
        with opened(proxy.url) as other:
            assert len(proxy.streams()) == 2 and stop(first["id"]) == 202
            with pytest.raises(ConnectionClosed):
                client.recv(PATIENCE)
            assert client.close_code != 1006
            assert far.becomes(run, "closed")["code"] == client.close_code
            assert proxy.ended(transport="websocket", outcome="stopped")["stream_id"] == first["id"]
            assert stop(first["id"]) == 404
            other.send("still here")
            assert other.recv(PATIENCE) == "still here"


@pytest.mark.alone
def test_a_thousand_at_once(weir, servers):  # noqa: F811
    proxy = weir(servers("uvicorn").url)

    async def all_at_once():
        gate = asyncio.Semaphore(100)

        async def one():
            async with gate:
                return await connect(
                    address(proxy.url, "/echo"), proxy=None, compression=None, ping_interval=None, open_timeout=30
                )

        async def says(socket, number):
            for turn in range(3):
                message = f"{number}.{turn}"
                await socket.send(message)
                assert await socket.recv() == message

        first = await one()
        await says(first, 0)
        before = proxy.rss()
        sockets = await asyncio.gather(*(one() for _ in range(TUNNELS)))
        await asyncio.gather(*(says(socket, number) for number, socket in enumerate(sockets)))
        assert proxy.metrics().value("weir_streams_active", transport="websocket") == TUNNELS + 1
        grown = proxy.rss() - before
        await asyncio.gather(*(socket.close() for socket in [first, *sockets]))
        return grown

    grown = asyncio.run(all_at_once())
    # Both connections of a tunnel, and what the allocator keeps of a thousand handshakes.
    assert grown < TUNNELS * 24 * KIB, f"{grown / TUNNELS / KIB:.1f} KiB for each"
    proxy.outcomes(finished=TUNNELS + 1)


def test_each_tunnel_has_a_connection_of_its_own(weir, agent):  # noqa: F811
    """To the agent, which ends with the tunnel."""
    server = agent(echo)
    proxy = weir(server.url)
    for number in range(1, 4):
        with tunnel(proxy.url) as client:
            client.close_with(1000)
            assert client.frame().code == 1000
        assert server.accepted == number
    proxy.outcomes(finished=3)
