"""Tests WebSocket clients and agents that attack: upgrades that hide requests, frames that break the protocol, floods,
and peers that go on for ever. Weir stays bounded, counts what happened, and a well-behaved tunnel beside them stays
fast."""

import select
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress

import pytest

from backends.scripted_websocket import echo
from support.raw import Raw
from support.wait import PATIENCE, until
from support.weir import config_for
from support.websocket import BINARY, CLOSE, CONTINUATION, KEY, MASK, PING, PONG, TEXT, Asked, accept_for, closing, frame
from support.websocket import request, tunnel
from support.websocket_agents import agent, servers  # noqa: F401

KIB, MIB = 1 << 10, 1 << 20
# How long an echo may take while an attack runs, on a busy machine.
FAST = 0.5
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: h.test\r\n\r\n"
BEHIND = frame(TEXT, b"hello", MASK) + SMUGGLED


class Received:
    """An agent that answers every request in one way, and keeps all bytes that reach it."""

    def __init__(self, agent, answers):  # noqa: F811
        self.heads, self.rest, self._answers = [], [], answers
        self.server = agent(self._script)
        self.url = self.server.url

    def _script(self, peer):
        self.heads.append(peer.line)
        peer.say(self._answers(peer))
        self.rest.append(peer.received(1))

    def is_clean(self):
        """Checks that nothing arrived but the heads of requests for `/echo`."""
        until("all connections are over", lambda: len(self.rest) == self.server.accepted)
        assert all(line == "GET /echo HTTP/1.1" for line in self.heads), self.heads
        assert not any(self.rest), self.rest


def plain(peer):
    return "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Neighbour:
    """A well-behaved client beside an attack, whose messages must come back soon all the time."""

    def __init__(self, url):
        self._client = tunnel(url, path="/echo")
        self._over = threading.Event()
        self.took: list[float] = []
        self._answered = False
        self._thread = threading.Thread(target=self._talk)

    def _talk(self):
        # An attack that is over at once must not end it before it has said something.
        while not self._over.wait(0.01) or len(self.took) < 3:
            since = time.monotonic()
            self._client.send(TEXT, b"hello")
            if self._client.frame().payload != b"hello":
                return
            self.took.append(time.monotonic() - since)
        self._answered = True

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(PATIENCE)
        self._client.close()
        assert self._answered and len(self.took) > 2, len(self.took)
        assert max(self.took) < FAST, max(self.took)


@pytest.fixture
def beside(weir, servers):  # noqa: F811
    """`beside(bad)` starts a Weir with the agent `bad` on `/bad`, and one that behaves well everywhere else."""

    def start(bad: str, **sections):
        upstreams = {"good": {"endpoints": [servers("ws").url]}, "bad": {"endpoints": [bad]}}
        routes = [
            {"name": "bad", "match": {"path_prefix": "/bad"}, "upstream": "bad"},
            {"name": "good", "upstream": "good"},
        ]
        return weir(config=config_for("", **{"upstreams": upstreams, "routes": routes, **sections}))

    return start


# Upgrades that are none: the request, and the statuses that may answer it. The agent is not asked.
REFUSED = {
    "another protocol, too": (request().replace(b"upgrade: websocket", b"upgrade: websocket, foo"), (400, 501)),
    "another protocol first": (request().replace(b"upgrade: websocket", b"upgrade: foo, websocket"), (400, 501)),
    "another protocol in a second field": (request("upgrade: h2c"), (400, 501)),
    "a body with a length": (request("content-length: 5") + b"hello", (400,)),
    "a body in chunks": (request("transfer-encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n", (400,)),
    "two lengths": (request("content-length: 0", "content-length: 5"), (400,)),
    "two hosts": (request("host: evil.test"), (400,)),
    "no host": (request().replace(b"host: h.test\r\n", b""), (400,)),
    "POST": (request("content-length: 0", line="POST /echo HTTP/1.1"), (400, 405, 501)),
    "HTTP/1.0": (request(line="GET /echo HTTP/1.0"), (400, 426, 501, 505)),
    "no Connection": (request().replace(b"connection: Upgrade\r\n", b""), (400, 501)),
    "no key": (request().replace(f"sec-websocket-key: {KEY}\r\n".encode(), b""), (400, 501)),
    "two keys": (request(f"sec-websocket-key: {KEY}"), (400,)),
    "a short key": (request().replace(KEY.encode(), b"AAAA"), (400,)),
    "a key that is no base64": (request().replace(KEY.encode(), b"!" * 24), (400,)),
    "a line end in the key": (request().replace(KEY.encode(), b"dGhl\rIHNhbXBs"), (400,)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_upgrade_is_refused(weir, agent, case):  # noqa: F811
    words, statuses = REFUSED[case]
    far = Received(agent, lambda peer: peer.accepts())
    proxy = weir(far.url)
    with Asked(proxy.url, words + BEHIND).answer() as client:
        assert client.status in statuses
        assert b" 101 " not in client.received(1)
    assert far.server.accepted == 0
    assert proxy.metrics().value("weir_streams_active") == 0


@pytest.mark.parametrize("early", [BEHIND, b"\0" * 100, b"\x81\x85" + MASK])
def test_nothing_is_tunnelled_when_the_agent_does_not_agree(weir, agent, early):  # noqa: F811
    """Bytes that follow the request at once would be a tunnel's. The agent answers with 200, so there is none."""
    far = Received(agent, plain)
    with Asked(weir(far.url).url, request() + early).answer() as client:
        assert client.status == 200 and client.take(2) == b"ok"
        client.received(1)
    far.is_clean()


def test_bytes_behind_the_request_wait_for_the_agent(weir, agent):  # noqa: F811
    agrees, got = threading.Event(), []

    def script(peer):
        peer.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            peer.take(1)
        agrees.set()
        peer.accept()
        peer.socket.settimeout(PATIENCE)
        got.append(peer.frame().payload)

    with Asked(weir(agent(script).url).url, request() + frame(TEXT, b"early", MASK)).answer() as client:
        assert client.status == 101 and agrees.is_set()
        until("the frame", lambda: got == [b"early"])


def told(*fields, accept=accept_for(KEY), line="HTTP/1.1 101 Switching Protocols"):
    """Returns an answer with these fields, and one with the usual ones if there are none."""
    lines = fields or ("connection: Upgrade", "upgrade: websocket", f"sec-websocket-accept: {accept}")
    return "\r\n".join([line, *lines, "", ""]) + "\x81\x05hello"


ACCEPT = f"sec-websocket-accept: {accept_for(KEY)}"
WRONG = {
    "a wrong accept": told(accept=accept_for("AAAAAAAAAAAAAAAAAAAAAA==")),
    "the key for an accept": told(accept=KEY),
    "no accept": told("connection: Upgrade", "upgrade: websocket"),
    "an empty accept": told(accept=""),
    "two accepts": told("connection: Upgrade", "upgrade: websocket", ACCEPT, "sec-websocket-accept: AAAA"),
    "another protocol": told("connection: Upgrade", "upgrade: foo", ACCEPT),
    "two protocols": told("connection: Upgrade", "upgrade: websocket, foo", ACCEPT),
    "no protocol": told("connection: Upgrade", ACCEPT),
    "no Connection": told("upgrade: websocket", ACCEPT),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_agent_that_agrees_wrongly(weir, agent, case):  # noqa: F811
    """The client gets a 502, and nothing of what the agent sent behind its answer."""
    far = Received(agent, lambda peer: WRONG[case])
    proxy = weir(far.url)
    with Asked(proxy.url, request() + BEHIND).answer() as client:
        assert client.status == 502
        assert b"hello" not in client.received(1)
    far.is_clean()
    assert proxy.metrics().value("weir_requests_total", code="502") == 1


def test_an_agent_that_upgrades_what_nobody_asked_for(weir, agent):  # noqa: F811
    far = Received(agent, lambda peer: told())
    with Raw(weir(far.url).url).get("/echo") as client:
        assert client.status == 502 and b"hello" not in client.read_body()
    far.is_clean()


def test_an_agent_that_never_agrees(weir, agent):  # noqa: F811
    """Not even half of its answer is enough."""

    def script(peer):
        peer.say(peer.accepts()[:40])
        peer.gone()

    proxy = weir(agent(script).url, defaults={"deadlines": {"head": "500ms"}})
    since = time.monotonic()
    with Asked(proxy.url).answer() as client:
        assert client.status == 504 and time.monotonic() - since < 2


def test_an_older_version_is_for_the_agent_to_refuse(weir, agent):  # noqa: F811
    def script(peer):
        assert peer.headers["sec-websocket-version"] == "12"
        peer.say("HTTP/1.1 426 Upgrade Required\r\nsec-websocket-version: 13\r\ncontent-length: 0\r\n\r\n")

    words = request().replace(b"version: 13", b"version: 12")
    with Asked(weir(agent(script).url).url, words).answer() as client:
        assert (client.status, client.headers["sec-websocket-version"]) == (426, "13")


@pytest.mark.alone
def test_slow_upgrades_are_cut_off(beside, agent):  # noqa: F811
    """A head of one byte at a time, from 50 clients."""
    proxy = beside(agent(echo).url, limits={"request_head": "1s"})
    words = request(path="/bad")
    with Neighbour(proxy.url), ExitStack() as stack:
        clients = [stack.enter_context(Asked(proxy.url, words[:1])) for _ in range(50)]
        since = time.monotonic()
        for at in range(1, 8):
            for client in clients:
                # Weir may have cut it off already.
                with suppress(ConnectionError):
                    client.say(words[at : at + 1])
            threading.Event().wait(0.1)
        for client in clients:
            assert client.rest(5)[9:12] in (b"", b"408")
        assert time.monotonic() - since < 4


# Frames after which a client cannot be understood any more.
BROKEN = {
    "without a mask": frame(TEXT, b"hello"),
    "without a mask, a ping": frame(PING, b"hello"),
    "of 2^63 bytes": struct.pack(">BBQ", 0x82, 0xFF, 1 << 63) + MASK,
    "of 2^64-1 bytes": struct.pack(">BBQ", 0x82, 0xFF, (1 << 64) - 1) + MASK,
    "without a mask, behind a good one": frame(TEXT, b"fine", MASK) + frame(TEXT, b"hello"),
}


@pytest.mark.parametrize("cut", ["at once", "byte by byte"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_client_is_told_and_let_go(weir, agent, case, cut):  # noqa: F811
    over = threading.Event()

    def script(peer):
        peer.accept()
        peer.gone()
        over.set()

    words = BROKEN[case]
    size = len(words) if cut == "at once" else 1
    proxy = weir(agent(script).url)
    with tunnel(proxy.url) as client:
        for at in range(0, len(words), size):
            client.say(words[at : at + size])
            # The first bytes of a frame already show that it is broken.
            if select.select([client.socket], [], [], 0.01)[0]:
                break
        assert [one.code for one in client.frames(5)] == [1002]
    assert over.wait(PATIENCE)
    until("it is counted", lambda: proxy.metrics().by("weir_websocket_closes_total", "code").get("1002") == 1)
    assert proxy.metrics().value("weir_streams_active") == 0


ODD = {
    "a masked frame": frame(TEXT, b"hello", MASK),
    "a reserved opcode": frame(3, b"hello"),
    "a ping in two parts": frame(PING, b"one", final=False),
    "a ping of 126 bytes": struct.pack(">BBH", 0x89, 126, 126) + bytes(126),
    "reserved bits": frame(TEXT, b"hello", reserved=7),
    "a length in more bytes than it needs": struct.pack(">BBQ", 0x81, 127, 5) + b"hello",
    "a close frame of one byte": frame(CLOSE, b"x"),
    "a continuation of nothing": frame(CONTINUATION, b"hello"),
}


@pytest.mark.parametrize("case", ODD)
def test_what_an_agent_sends_is_for_the_client_to_judge(weir, agent, case):  # noqa: F811
    words = ODD[case]

    def script(peer):
        peer.accept()
        peer.say(words)
        peer.gone()

    with tunnel(weir(agent(script).url).url) as client:
        assert client.take(len(words)) == words


@pytest.mark.alone
def test_a_flood_of_pings(beside, servers):  # noqa: F811
    """From a client that reads none of the answers, until it cannot send any more."""
    proxy = beside(servers("websockets").url, defaults={"deadlines": {"client_stall": "2s"}})
    pings = frame(PING, b"x" * 125, MASK) * 500
    with Neighbour(proxy.url), tunnel(proxy.url, path="/bad", receive_buffer=4096) as client:
        before = proxy.rss()
        client.socket.settimeout(0.5)
        over = time.monotonic() + 2
        with suppress(TimeoutError, ConnectionError):
            while time.monotonic() < over:
                client.say(pings)
        assert proxy.rss() - before < 4 * MIB
    until("it is over", lambda: proxy.metrics().value("weir_streams_active", route="bad") == 0)
    assert proxy.metrics().value("weir_websocket_frames_total", route="bad", direction="in") >= 500


@pytest.mark.alone
def test_a_message_in_single_bytes(beside, agent):  # noqa: F811
    """Fragments of one byte in both directions. All of them arrive, and none costs a wake-up of its own."""
    number, got = 100_000, threading.Event()
    words = frame(TEXT, b"a", MASK, final=False) + frame(CONTINUATION, b"b", MASK, final=False) * number
    back = frame(TEXT, b"a", final=False) + frame(CONTINUATION, b"b", final=False) * number

    def script(peer):
        peer.accept()
        assert peer.take(len(words)) == words
        got.set()
        peer.say(back)
        peer.gone()

    proxy = beside(agent(script).url)
    with Neighbour(proxy.url), tunnel(proxy.url, path="/bad") as client:
        before = proxy.rss()
        client.say(words)
        assert got.wait(PATIENCE)
        assert client.take(len(back)) == back
        assert proxy.rss() - before < 4 * MIB
    until("it is over", lambda: proxy.metrics().value("weir_streams_active", route="bad") == 0)
    for direction in ("in", "out"):
        assert proxy.metrics().value("weir_websocket_frames_total", route="bad", direction=direction) == number + 1


@pytest.mark.alone
def test_frames_in_single_bytes(beside, agent):  # noqa: F811
    """A frame whose head and payload arrive one byte at a time, each in a packet of its own."""
    words = frame(BINARY, bytes(range(256)) * 8, MASK)
    got = []

    def script(peer):
        peer.accept()
        got.append(peer.frame().payload)
        peer.gone()

    proxy = beside(agent(script).url)
    with Neighbour(proxy.url), tunnel(proxy.url, path="/bad") as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(words)):
            client.say(words[at : at + 1])
        until("the frame", lambda: got == [bytes(range(256)) * 8])


@pytest.mark.alone
def test_clients_that_read_nothing_and_send_without_end(beside, agent):  # noqa: F811
    """Both directions full, for 24 tunnels at once, until their client is let go."""
    block = frame(BINARY, bytes(64 * KIB), MASK)

    def script(peer):
        peer.accept()
        with suppress(TimeoutError):
            peer.socket.settimeout(1)
            while True:
                peer.send(BINARY, bytes(64 * KIB))
        peer.gone()

    proxy = beside(agent(script, receive_buffer=4096).url, defaults={"deadlines": {"client_stall": "2s"}})
    with Neighbour(proxy.url), ExitStack() as stack:
        before = proxy.rss()
        clients = [stack.enter_context(tunnel(proxy.url, path="/bad", receive_buffer=4096)) for _ in range(24)]
        for client in clients:
            client.socket.settimeout(0.02)
            with suppress(TimeoutError, ConnectionError):
                while True:
                    client.say(block)
        assert proxy.rss() - before < 24 * 512 * KIB
        until("all are let go", lambda: proxy.metrics().value("weir_streams_active", route="bad") == 0)
    assert proxy.metrics().by("weir_streams_total", "outcome").get("client_stalled") == 24


@pytest.mark.alone
def test_upgrades_by_the_hundred(beside, agent):  # noqa: F811
    """Tunnels that are opened and torn away at once leave nothing behind."""
    proxy = beside(agent(echo).url)
    with Neighbour(proxy.url):
        for _ in range(200):
            Asked(proxy.url, request(path="/bad")).reset()
    until("all are over", lambda: proxy.metrics().value("weir_streams_active") == 0)
    with tunnel(proxy.url, path="/bad") as client:
        client.send(PING, b"?")
        assert client.frame().opcode == PONG


def test_a_close_frame_with_nonsense(weir, agent):  # noqa: F811
    """Codes that may not be sent, and a reason that is no UTF-8: for the ends to judge, and counted within bounds."""
    proxy = weir(agent(echo).url)
    payloads = [closing(code) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)]
    payloads += [closing(1000) + b"\xff\xfe", b"", b"\x03"]
    for payload in payloads:
        with tunnel(proxy.url) as client:
            client.send(CLOSE, payload)
            assert client.frame().payload == payload
    until("all are over", lambda: proxy.metrics().value("weir_streams_active") == 0)
    series = [labels for name, labels, _ in proxy.metrics().samples if name == "weir_websocket_closes_total"]
    assert len(series) < 32, series
    proxy.logs()


def test_the_masks_of_clients_are_kept(weir, agent):  # noqa: F811
    """Weir neither unmasks nor masks: what reaches the agent has the client's mask, which differs for each frame."""
    masks, got = [bytes([n, 255 - n, n ^ 90, 7]) for n in range(1, 50)], []
    words = b"".join(frame(TEXT, b"hello", mask) for mask in masks)

    def script(peer):
        peer.accept()
        got.append(peer.take(len(words)))

    with tunnel(weir(agent(script).url).url) as client:
        client.say(words)
        until("all frames", lambda: got == [words])
