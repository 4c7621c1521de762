"""Tests that clients can reach Weir over HTTP/2, TLS and Unix sockets, and that nothing else is accepted."""

import json
import os
import signal
import socket
import ssl
import subprocess
import time

import pytest

from backends import wire
from support.h2 import H2
from support.lockstep import CHAT, EVENTS, Agent
from support.raw import Closed, Raw
from support.tls import Authority
from support.wait import until
from support.weir import BINARY, Weir, config_for

REFUSED = (ConnectionError, Closed, ssl.SSLError)


@pytest.fixture
def agent(upstream):
    return Agent(upstream)


def tls(files, **more):
    return {"address": "127.0.0.1:0", "tls": {"cert": files.cert, "key": files.key, **more}}


@pytest.fixture
def secure(weir, authority, tmp_path):
    """`secure(upstream)` starts a Weir that listens with TLS."""
    return lambda url, **more: weir(url, listen=tls(authority.issue(tmp_path)), **more)


@pytest.fixture(params=["prior knowledge", "alpn"])
def http2(request, weir, secure, authority):
    """`http2(upstream)` starts a Weir and opens an HTTP/2 connection to it."""

    def start(url):
        if request.param == "alpn":
            proxy = secure(url)
            return proxy, H2(proxy.url, authority.client("h2"))
        proxy = weir(url)
        return proxy, H2(proxy.url)

    return start


def test_an_http2_stream_arrives_event_by_event(http2, agent):
    proxy, client = http2(agent.server.url)
    with client:
        agent.lockstep(client.post(CHAT))
    proxy.outcomes(finished=1)


def test_a_reset_http2_stream_cancels_its_own_upstream_alone(http2, agent):
    proxy, client = http2(agent.server.url)
    with client:
        lost, kept = client.post("/lost"), client.post("/kept")
        for path, stream in (("/lost", lost), ("/kept", kept)):
            agent.go_on(path)
            stream.until_bytes(EVENTS[0])
        left = time.monotonic()
        lost.reset()
        assert agent.connection("/lost").gone() - left < 1.0
        agent.go_on("/kept", len(EVENTS) - 1)
        assert kept.read_body() == b"".join(EVENTS)
        agent.go_on("/next", len(EVENTS))
        assert client.post("/next").read_body() == b"".join(EVENTS)
    proxy.outcomes(finished=2, client_gone=1)


def test_a_closed_http2_connection_cancels_every_upstream(http2, agent):
    proxy, client = http2(agent.server.url)
    paths = [f"/{number}" for number in range(5)]
    for path in paths:
        client.post(path)
    left = time.monotonic()
    client.close()
    assert all(agent.connection(path).gone() - left < 1.0 for path in paths)
    proxy.outcomes(client_gone=5)


def test_an_http2_stream_that_is_not_read_does_not_hold_up_the_others(http2, upstream):
    """The stream's flow-control window fills up. The connection's window must not."""
    events = "".join(wire.openai(6)).removesuffix("data: [DONE]\n\n") * 200

    def script(connection):
        while True:
            connection.request()
            connection.head()
            connection.chunk(events)
            connection.chunk("data: [DONE]\n\n")
            connection.end()

    _, client = http2(upstream(script).url)
    with client:
        client.h2.increment_flow_control_window(2**24)
        unread = client.post("/unread")
        unread.read = False
        # Count the bytes that came with the head.
        taken = len(unread.body)
        assert client.post("/read").read_body().endswith(b"data: [DONE]\n\n")
        assert 0 < len(unread.body) <= taken + 65535 and not unread.ended


def test_trailers_over_http2(http2, upstream):
    def script(connection):
        connection.request()
        connection.head("application/grpc", "200 OK", "trailer: grpc-status")
        connection.chunk("payload")
        connection.end("grpc-status: 0\r\n")

    _, client = http2(upstream(script).url)
    with client:
        stream = client.request("GET", "/rpc", te="trailers")
        assert stream.read_body() == b"payload"
        assert stream.trailers == {"grpc-status": "0"}


@pytest.mark.parametrize("flags", [["--http2-prior-knowledge"], ["--http2"], ["--http1.1"]])
def test_curl(weir, authority, tmp_path, fastapi, flags):
    listen = ["127.0.0.1:0", tls(authority.issue(tmp_path))]
    proxy = weir(fastapi.url, listen=listen)
    plain, secured = traffic(proxy)
    url = f"http://{plain}/agent" if "prior" in flags[0] else f"https://{secured}/agent"
    command = ["curl", "--silent", "--show-error", "--no-buffer", "--max-time", "10"]
    command += ["--cacert", authority.file(tmp_path), "--write-out", "%{http_version}"]
    body = subprocess.run([*command, *flags, url], capture_output=True, text=True, check=True).stdout
    assert body == "".join(wire.convention(6)) + ("1.1" if flags == ["--http1.1"] else "2")


def test_http1_over_tls(secure, agent, authority):
    with Raw(secure(agent.server.url).url, tls=authority.client("http/1.1")).post(CHAT) as client:
        assert client.socket.selected_alpn_protocol() == "http/1.1"
        agent.lockstep(client)
    (request,) = agent.server.requests()
    assert request.headers["x-forwarded-proto"] == "https"


def test_a_client_that_closes_its_tls_connection_cancels_the_upstream(secure, agent, authority):
    client = Raw(secure(agent.server.url).url, tls=authority.client()).post(CHAT)
    left = time.monotonic()
    client.close()
    assert agent.connection().gone() - left < 1.0


def test_clients_that_confuse_tls_and_plain_text(weir, authority, tmp_path, fastapi):
    listen = ["127.0.0.1:0", tls(authority.issue(tmp_path))]
    proxy = weir(fastapi.url, listen=listen)
    plain, secured = (f"http://{address}" for address in traffic(proxy))
    with pytest.raises(ssl.SSLError):
        Raw(plain, tls=authority.client())
    with Raw(secured) as client:
        client.send("GET", "/json")
        with pytest.raises(REFUSED + (ValueError,)):
            client.read_head()
    with Raw(plain).get("/json") as one, Raw(secured, tls=authority.client()).get("/json") as two:
        assert (one.status, two.status) == (200, 200)


def traffic(proxy: Weir) -> list[str]:
    """Returns the addresses of the traffic listeners, in the order of the configuration."""
    lines = [line for line in proxy.logs() if line["message"] == "listening"]
    return [line["address"] for line in lines if line["listener"] == "traffic"]


def test_a_unix_socket_as_listener(weir, agent, tmp_path):
    proxy = weir(agent.server.url, listen=f"unix:{tmp_path}/weir.sock")
    with Raw(proxy.address).post(CHAT) as client:
        agent.lockstep(client)
    with H2(proxy.address) as client:
        stream = client.post("/h2")
        agent.lockstep(stream, "/h2")
    client = Raw(proxy.address).post("/left")
    left = time.monotonic()
    client.close()
    assert agent.connection("/left").gone() - left < 1.0
    proxy.outcomes(finished=2, client_gone=1)


def test_a_unix_socket_left_behind_is_replaced_one_in_use_is_not(weir, fastapi, tmp_path):
    address = f"unix:{tmp_path}/weir.sock"
    killed = Weir("--listen", address, "--upstream", fastapi.url, "--admin", "127.0.0.1:0")
    killed.child.signal(signal.SIGKILL)
    killed.child.wait(5)
    assert os.path.exists(f"{tmp_path}/weir.sock")
    proxy = weir(fastapi.url, listen=address)
    error = does_not_start(address, fastapi.url)
    assert address in error
    with Raw(proxy.address).get("/json") as client:
        assert client.status == 200


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path, fastapi):
    """A typing mistake in `listen` must not delete a file."""
    file = tmp_path / "notes"
    file.write_text("precious")
    does_not_start(f"unix:{file}", fastapi.url)
    assert file.read_text() == "precious"


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
@pytest.mark.parametrize("client_is", ["known", "anonymous", "of another authority"])
def test_client_certificates(weir, fastapi, authority, tmp_path, client_is, protocol):
    files = authority.issue(tmp_path)
    listen = tls(files, client_ca=authority.file(tmp_path))
    proxy = weir(fastapi.url, listen=listen)
    (tmp_path / "other").mkdir()
    own = {"known": files, "anonymous": None}.get(client_is, Authority().issue(tmp_path / "other"))
    context = authority.client(protocol, own=own)

    def status():
        client = (H2 if protocol == "h2" else Raw)(proxy.url, tls=context)
        with client:
            return client.get("/json").status

    if client_is == "known":
        assert status() == 200
        return
    with pytest.raises(REFUSED):
        status()
    assert proxy.metrics().by("weir_requests_total", "code") == {}


@pytest.mark.slow
def test_certificates_that_changed_on_disk_are_shown_to_new_connections(
    secure, agent, authority, tmp_path
):
    """Weir checks the files every five seconds, and ignores invalid ones."""
    proxy = secure(agent.server.url, defaults={"heartbeat": "off"})
    old = Raw(proxy.url, tls=authority.client()).post(CHAT)

    def shown():
        with Raw(proxy.url, tls=authority.client()) as client:
            return client.socket.getpeercert()["serialNumber"]

    def said(words):
        return any(line["message"].startswith(words) for line in proxy.logs())

    first, changed = shown(), time.monotonic()
    authority.issue(tmp_path)
    second = until("the new certificate", lambda: (now := shown()) != first and now)
    assert time.monotonic() - changed < 7
    (tmp_path / "cert.pem").write_text("no certificate at all")
    until("a complaint", lambda: shown() == second and said("changed certificates cannot be used"))
    assert shown() == second
    authority.issue(tmp_path)
    third = until("a good one again", lambda: (now := shown()) != second and now)
    assert third != first
    agent.lockstep(old)


def test_several_listeners_serve_at_once(weir, agent, authority, tmp_path):
    unix = f"unix:{tmp_path}/weir.sock"
    listen = ["127.0.0.1:0", {"address": "127.0.0.1:0"}, tls(authority.issue(tmp_path)), unix]
    proxy = weir(agent.server.url, listen=listen)
    one, two, secured, path = traffic(proxy)
    assert path == unix and len({one, two, secured}) == 3
    clients = {
        "/one": Raw(f"http://{one}"),
        "/two": Raw(f"http://{two}"),
        "/tls": Raw(f"http://{secured}", tls=authority.client()),
        "/unix": Raw(unix),
    }
    for path, client in clients.items():
        client.post(path)
    for path, client in clients.items():
        agent.lockstep(client, path)
        client.close()
    proxy.outcomes(finished=4)


def test_ipv6(weir, fastapi):
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    proxy = weir(fastapi.url, listen="[::]:0")
    port = proxy.address.rpartition(":")[2]
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, port), 5) as client:
            client.sendall(b"GET /json HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")


def does_not_start(listen: str, upstream: str, admin: str = "127.0.0.1:0") -> str:
    """Returns what Weir prints on stderr when it cannot start."""
    command = [BINARY, "--listen", listen, "--upstream", upstream, "--admin", admin]
    run = subprocess.run(command, capture_output=True, text=True, timeout=3)
    assert run.returncode in (1, 2)
    assert "panicked" not in run.stderr
    assert run.stdout == ""
    return run.stderr


def test_an_address_in_use_is_named(weir, fastapi):
    """The address is in use by another program, or by another Weir, whose sockets allow sharing."""
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        assert f"127.0.0.1:{port}" in does_not_start(f"127.0.0.1:{port}", fastapi.url)
    proxy = weir(fastapi.url)
    assert proxy.address in does_not_start(proxy.address, fastapi.url)
    assert proxy.admin in does_not_start("127.0.0.1:0", fastapi.url, proxy.admin)
    with Raw(proxy.url).get("/json") as client:
        assert client.status == 200


@pytest.mark.parametrize("broken", ["cert", "key", "client_ca"])
def test_unusable_tls_files_are_named_at_the_start(tmp_path, fastapi, authority, broken):
    files = authority.issue(tmp_path)
    listen = tls(files, client_ca=authority.file(tmp_path))
    listen["tls"][broken] = str(tmp_path / "rubbish.pem")
    (tmp_path / "rubbish.pem").write_text("rubbish")
    file = tmp_path / "weir.yaml"
    file.write_text(json.dumps(config_for(fastapi.url, listen=listen)))
    run = subprocess.run([BINARY, "--config", file], capture_output=True, text=True, timeout=3)
    assert run.returncode in (1, 2)
    assert "rubbish.pem" in run.stderr


def test_connections_beyond_the_limit_are_closed_and_counted(weir, fastapi):
    proxy = weir(fastapi.url, limits={"max_connections": 2})
    first, second = Raw(proxy.url).get("/json"), Raw(proxy.url).get("/json")
    with pytest.raises(REFUSED):
        Raw(proxy.url).get("/json")
    metrics = proxy.metrics()
    assert metrics.value("weir_connections_refused_total") == 1
    assert metrics.value("weir_connections_active") == 2
    first.close()
    until("a free place", lambda: proxy.metrics().value("weir_connections_active") == 1)
    with Raw(proxy.url).get("/json") as third:
        assert third.status == 200
    second.read_body()
    assert second.get("/json").status == 200, "open connections are not touched"
    second.close()
    until("no connection", lambda: proxy.metrics().value("weir_connections_active") == 0)
