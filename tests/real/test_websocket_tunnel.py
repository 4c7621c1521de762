"""Tests that WebSockets pass through Weir as if it were not there: with real clients and servers, through TLS, Unix
sockets and other proxies, and with a voice model's client."""

import json
import socket
import threading

import pytest
from openai import OpenAI
from test_intermediaries import hop  # noqa: F401

from backends import realtime
from backends.scripted_websocket import echo
from support.backend import Backend
from support.clients.websocket import ALL, Talk, opened, realtime_node, talk
from support.hop import KINDS
from support.process import python
from support.raw import Raw
from support.wait import PATIENCE, until
from support.websocket import BINARY, CLOSE, CONTINUATION, KEY, MASK, PING, PONG, TEXT, Asked, Frame, closing, frame
from support.websocket import request, tunnel
from support.websocket_agents import PORT, SERVERS, agent, servers  # noqa: F401

MIB = 1 << 20
STEPS = [["text", "hello"], ["text", "caf\u00e9 \U0001f600"], ["text", ""], ["binary", 1], ["letters", 80_000]]
STEPS += [["binary", 300_000]]
ECHOED = [True] * len(STEPS)
WHOLE = Talk(opened=True, deflate=True, echoed=ECHOED, code=4000, reason="done")


def moved(proxy, direction):
    """Returns how many bytes the tunnels of `proxy` have passed on: `in` from clients, `out` to them."""
    return proxy.metrics().value("weir_websocket_bytes_total", direction=direction)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", ALL)
def test_what_is_sent_comes_back(weir, servers, name, client, server):  # noqa: F811
    """Text, binary, empty and large messages, compressed between the ends, and a close with a code and a reason."""
    proxy, run = weir(servers(server).url), name()
    assert talk(client, proxy.url, *STEPS, ["close", 4000, "done"], path=f"/echo?run={run}") == WHOLE
    ended = servers(server).becomes(run, "closed")
    assert (ended["code"], ended["reason"]) == (4000, "done")
    proxy.outcomes(finished=1)


@pytest.mark.parametrize("client, size", [("python", 16 * MIB), ("chromium", 15 * MIB)])
def test_the_largest_messages(weir, servers, client, size):  # noqa: F811
    """uvicorn takes 16 MiB. Chromium compresses, which makes random bytes a little more."""
    proxy = weir(servers("uvicorn").url)
    seen = talk(client, proxy.url, ["binary", size], ["close", 1000, ""], compression=None)
    assert (seen.echoed, seen.code) == ([True], 1000)
    until("all is counted", lambda: moved(proxy, "in") > size and moved(proxy, "out") > size)


@pytest.mark.parametrize("client", ["python", "ws"])
def test_fragments_arrive_as_one_message(weir, servers, client):  # noqa: F811
    parts = ["one ", "", "two ", "\u00fc" * 10_000, "three"]
    seen = talk(client, weir(servers("websockets").url).url, ["fragments", parts], ["text", "next"], ["close", 1000, ""])
    assert (seen.echoed, seen.code) == ([True, True], 1000)


@pytest.mark.parametrize("cut", [1, 7, 4096])
def test_every_byte_passes_as_it_is(weir, agent, cut):  # noqa: F811
    """Fragments with a ping between them, empty frames, bits of an extension; in writes of any size, both ways."""

    def conversation(mask):
        return b"".join(
            [
                frame(TEXT, b"one", mask, final=False),
                frame(PING, b"between", mask),
                frame(CONTINUATION, b"", mask, final=False),
                frame(CONTINUATION, b"two", mask),
                frame(BINARY, bytes(range(256)) * 2, mask, reserved=4),
                frame(BINARY, b"\r\n\r\n" * 20_000, mask) if cut > 7 else frame(BINARY, b"\r\n\r\n", mask),
                frame(PONG, b"unasked", mask),
                frame(CLOSE, closing(1000, "over"), mask),
            ]
        )

    asked, answered = conversation(MASK), conversation(None)
    got = []

    def script(peer):
        peer.accept("sec-websocket-extensions: x-own; a=1; b")
        answering = threading.Thread(target=cut_up, args=(peer, answered))
        answering.start()
        got.append(peer.take(len(asked)))
        answering.join()

    def cut_up(wire, words):
        for at in range(0, len(words), cut):
            wire.say(words[at : at + cut])

    with tunnel(weir(agent(script).url).url, "sec-websocket-extensions: x-own; a=1; b") as client:
        assert client.headers["sec-websocket-extensions"] == "x-own; a=1; b"
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=cut_up, args=(client, asked), daemon=True).start()
        assert client.take(len(answered)) == answered
        until("the agent has all", lambda: got == [asked])


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", ALL)
def test_the_agent_chooses_the_subprotocol(weir, servers, client, server):  # noqa: F811
    offered = ["chat.v1", "chat.v2"]
    seen = talk(client, weir(servers(server).url).url, ["text", "hello"], ["close", 1000, ""], protocols=offered)
    assert (seen.opened, seen.protocol, seen.echoed) == (True, "chat.v2", [True])


@pytest.mark.parametrize("server", SERVERS)
def test_compression_is_between_the_ends(weir, servers, server):  # noqa: F811
    """What compresses well passes Weir compressed, unless the client does not offer it."""
    proxy = weir(servers(server).url)
    steps = [["letters", MIB], ["close", 1000, ""]]
    assert talk("python", proxy.url, *steps).deflate
    until("few bytes", lambda: all(0 < moved(proxy, direction) < MIB // 16 for direction in ("in", "out")))
    assert not talk("python", proxy.url, *steps, compression=None).deflate
    until("many bytes", lambda: all(moved(proxy, direction) > MIB for direction in ("in", "out")))


REFUSALS = [
    ("uvicorn", "/unaccepted", 403),
    ("uvicorn", "/nowhere", 403),
    ("uvicorn", "/denied", 401),
    ("websockets", "/refused", 403),
    ("ws", "/refused", 403),
]


@pytest.mark.parametrize("server, path, status", REFUSALS)
def test_a_refusal_arrives_as_the_agent_gave_it(weir, servers, server, path, status):  # noqa: F811
    def refused(url):
        with Asked(url, request(path=path)).answer() as client:
            kept = ("content-type", "www-authenticate", "x-why")
            return client.status, client.body(), {name: client.headers.get(name) for name in kept}

    proxy = weir(servers(server).url)
    direct = refused(servers(server).url)
    assert refused(proxy.url) == direct and direct[0] == status
    metrics = proxy.metrics()
    assert metrics.value("weir_requests_total", code=str(status)) == 1
    assert metrics.value("weir_streams_active") == 0


@pytest.mark.parametrize("client", ALL)
def test_clients_see_a_refusal(weir, servers, client):  # noqa: F811
    seen = talk(client, weir(servers("uvicorn").url).url, ["text", "hello"], path="/unaccepted")
    assert (seen.opened, seen.code) == (False, 1006)


@pytest.mark.parametrize("server", ["websockets", "ws"])
@pytest.mark.parametrize("client", ALL)
def test_clients_answer_the_pings_of_agents(weir, servers, client, server):  # noqa: F811
    seen = talk(client, weir(servers(server).url).url, ["take", 1], ["close", 1000, ""], path="/ping")
    assert (seen.messages, seen.code) == (["answered"], 1000)


@pytest.mark.parametrize("server", SERVERS)
def test_agents_answer_the_pings_of_clients(weir, servers, server):  # noqa: F811
    with opened(weir(servers(server).url).url) as client:
        assert client.ping(b"are you there?").wait(PATIENCE)


def test_weir_answers_no_ping_itself(weir, agent):  # noqa: F811
    go_on = threading.Event()

    def script(peer):
        peer.accept()
        assert peer.frame() == Frame(PING, b"who is there?", masked=True)
        go_on.wait(PATIENCE)
        peer.send(PONG, b"I am")

    with tunnel(weir(agent(script).url).url) as client:
        client.send(PING, b"who is there?")
        assert client.silent(0.3)
        go_on.set()
        assert client.frame() == Frame(PONG, b"I am")


def fields_of(url, *fields, path="/fields?a=1&b=%20", host="chat.test"):
    """Opens a WebSocket, and returns what the agent says about the request."""
    with Asked(url, request(*fields, path=path, host=host)).answer() as client:
        assert client.status == 101
        told = json.loads(client.frame().payload)
        client.close_with(1000)
        client.frames()
    return told


def test_what_the_agent_sees_of_the_request(weir, servers):  # noqa: F811
    proxy = weir(servers("uvicorn").url)
    told = fields_of(
        proxy.url,
        "origin: https://app.test",
        "cookie: session=1",
        "authorization: Bearer k",
        "x-forwarded-for: 6.6.6.6",
        "x-request-id: mine-1",
        "connection: x-hop",
        "x-hop: removed",
    )
    assert (told["path"], told["query"]) == ("/fields", "a=1&b=%20")
    seen = dict(told["fields"])
    assert len(seen) == len(told["fields"]), "no field twice"
    expected = {
        "host": "chat.test",
        "origin": "https://app.test",
        "cookie": "session=1",
        "authorization": "Bearer k",
        "x-forwarded-for": "6.6.6.6, 127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "chat.test",
        "x-request-id": "mine-1",
        "sec-websocket-key": KEY,
        "sec-websocket-version": "13",
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert (seen["connection"].lower(), seen["upgrade"].lower()) == ("upgrade", "websocket")
    assert "x-hop" not in seen and "content-length" not in seen and "transfer-encoding" not in seen
    ended = proxy.ended(transport="websocket")
    assert (ended["request_id"], ended["path"]) == ("mine-1", "/fields")


def test_a_tunnel_in_numbers(weir, agent):  # noqa: F811
    proxy = weir(agent(echo).url)
    with tunnel(proxy.url) as client:
        assert proxy.metrics().value("weir_streams_active", transport="websocket") == 1
        for opcode, payload in ((TEXT, b"hello"), (BINARY, b"x" * 70_000), (PING, b"?")):
            client.send(opcode, payload)
            assert client.frame().payload == payload
        client.close_with(1000, "bye")
        assert [one.code for one in client.frames()] == [1000]
    proxy.outcomes(finished=1)
    metrics = proxy.metrics()
    assert metrics.value("weir_requests_total", kind="websocket", route="all") == 1
    sizes = {"in": 11 + 70_014 + 7 + 11, "out": 7 + 70_010 + 3 + 7}
    for direction, size in sizes.items():
        assert metrics.value("weir_websocket_frames_total", route="all", direction=direction) == 4
        assert metrics.value("weir_websocket_bytes_total", route="all", direction=direction) == size
    assert metrics.by("weir_websocket_closes_total", "code") == {"1000": 1}
    ended = proxy.ended(transport="websocket")
    assert (ended["route"], ended["outcome"], ended["path"], ended["status"]) == ("all", "finished", "/echo", 101)
    assert (ended["bytes_in"], ended["bytes_out"]) == (sizes["in"], sizes["out"])
    assert (ended["frames_in"], ended["frames_out"]) == (4, 4)
    assert (ended["close_code"], ended["closed_by"]) == (1000, "client")
    assert ended["stream_id"] and ended["duration_ms"] > 0


def test_off_means_off(weir, agent):  # noqa: F811
    server = agent(echo)
    with Asked(weir(server.url, defaults={"websocket": "off"}).url).answer() as client:
        assert (client.status, json.loads(client.body())["code"]) == (501, "upgrade_not_supported")
    assert server.accepted == 0


def secured(weir, url, authority, folder):
    """Starts a Weir that listens with TLS, and returns its address and the file of the authority."""
    files = authority.issue(folder)
    proxy = weir(url, listen={"address": "127.0.0.1:0", "tls": {"cert": files.cert, "key": files.key}})
    return proxy.url.replace("http", "https", 1), authority.file(folder)


@pytest.mark.parametrize("client", ALL)
def test_clients_with_tls(weir, servers, authority, tmp_path, client):  # noqa: F811
    """Chromium loads the page over HTTP/2, and may open the WebSocket on the same connection (RFC 8441)."""
    url, ca = secured(weir, servers("uvicorn").url, authority, tmp_path)
    more = {"ssl": authority.client()} if client == "python" else {}
    assert talk(client, url, *STEPS, ["close", 4000, "done"], ca=ca, **more) == WHOLE


def test_a_browser_opens_websockets_on_its_http2_connection(weir, servers, authority, tmp_path):  # noqa: F811
    """RFC 8441: the page came over HTTP/2, and its WebSocket is a stream of the same connection."""
    files = authority.issue(tmp_path)
    listen = {"address": "127.0.0.1:0", "tls": {"cert": files.cert, "key": files.key}}
    proxy = weir(servers("uvicorn").url, listen=listen)
    url = proxy.url.replace("http", "https", 1)
    assert talk("chromium", url, *STEPS, ["close", 4000, "done"]) == WHOLE
    ended = proxy.ended(transport="websocket")
    # Over HTTP/1.1 it would be a 101.
    assert (ended["status"], ended["outcome"], ended["close_code"]) == (200, "finished", 4000)


@pytest.mark.parametrize("where", ["TLS", "a Unix socket"])
def test_agents_behind(weir, authority, tmp_path, where):
    if where == "TLS":
        files = authority.issue(tmp_path)
        server = Backend(python("-m", "backends.websocket_server", "--tls", files.cert, files.key), PORT)
        agents = {"endpoints": [server.url.replace("http", "https")], "tls": {"ca_file": authority.file(tmp_path)}}
    else:
        path = str(tmp_path / "agent.sock")
        server = Backend(python("-m", "backends.websocket_server", "--unix", path), PORT)
        agents = {"endpoints": [f"unix:{path}"]}
    try:
        proxy = weir(upstreams={"agent": agents})
        assert talk("python", proxy.url, *STEPS, ["close", 4000, "done"]) == WHOLE
    finally:
        server.close()


def test_clients_on_a_unix_socket(weir, agent, tmp_path):  # noqa: F811
    listener = f"unix:{tmp_path}/weir.sock"
    weir(agent(echo).url, listen=["127.0.0.1:0", listener])
    with tunnel(listener) as client:
        client.send(TEXT, b"hello")
        assert client.frame() == Frame(TEXT, b"hello")


@pytest.mark.parametrize("kind", KINDS)
def test_through_another_proxy(weir, servers, hop, name, kind):  # noqa: F811
    """Configured as docs/intermediaries.md says. A client that leaves is heard by the agent."""
    proxy, run = weir(servers("uvicorn").url), name()
    front = hop(kind, proxy)
    assert talk("python", front.url, *STEPS, ["close", 4000, "done"]) == WHOLE
    told = dict(fields_of(front.url, "origin: https://app.test", host=front.url.removeprefix("http://"))["fields"])
    assert told["origin"] == "https://app.test" and told["host"].startswith("127.0.0.1")
    assert told["x-forwarded-for"].endswith("127.0.0.1") and told["x-forwarded-proto"] == "http"
    client = tunnel(front.url, path=f"/echo?run={run}")
    servers("uvicorn").becomes(run, "open")
    client.reset()
    until("the agent hears of it", lambda: servers("uvicorn").seen(run)["state"] == "closed", within=1.5)


def test_plain_requests_go_on_beside_a_tunnel(weir, servers):  # noqa: F811
    proxy = weir(servers("uvicorn").url)
    with tunnel(proxy.url) as client:
        with Raw(proxy.url) as other:
            for _ in range(3):
                assert other.get("/page").status == 200
                other.read_body()
        client.send(TEXT, b"still here")
        assert client.frame().payload == b"still here"


VOICE = ["session.created", "session.updated", "input_audio_buffer.committed", "response.created"]
VOICE += ["response.output_audio_transcript.delta", "response.output_audio.delta"] * len(realtime.WORDS)
VOICE += ["response.output_audio.done", "response.output_audio_transcript.done", "response.done"]


def test_a_voice_model_with_openai_for_python(weir, servers):  # noqa: F811
    proxy = weir(servers("websockets").url)
    base = f"{proxy.address}/v1"
    client = OpenAI(api_key="k", base_url=f"http://{base}", websocket_base_url=f"ws://{base}")
    kinds, text = [], ""
    with client.realtime.connect(model="voice") as connection:
        kinds.append(connection.recv().type)
        connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        kinds.append(connection.recv().type)
        connection.input_audio_buffer.append(audio="AAAA" * 1200)
        connection.input_audio_buffer.commit()
        connection.response.create()
        for event in connection:
            kinds.append(event.type)
            if event.type == "response.output_audio_transcript.delta":
                text += event.delta
            if event.type == "response.done":
                break
    assert kinds == VOICE and text == "".join(realtime.WORDS)
    proxy.outcomes(finished=1)
    assert proxy.ended(transport="websocket")["path"] == "/v1/realtime"


def test_a_voice_model_with_openai_for_node(weir, servers, authority, tmp_path):  # noqa: F811
    url, ca = secured(weir, servers("websockets").url, authority, tmp_path)
    heard = realtime_node(url, ca)
    audio = len(realtime.AUDIO) * len(realtime.WORDS)
    assert heard == {"kinds": VOICE, "text": "".join(realtime.WORDS), "audio": audio, "error": None}
