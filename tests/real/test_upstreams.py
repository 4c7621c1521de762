"""Tests which endpoint gets a request, which is ejected, and when it returns."""

import socket
import threading

import pytest

from backends import wire
from backends.scripted import Upstream
from support.raw import Raw
from support.wait import until
from support.weir import config_for

EVENT = list(wire.openai(2))[1]
OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def answering(connection):
    while True:
        connection.request()
        connection.send(OK)


def several(*urls: str, **settings) -> dict:
    config = config_for(urls[0], workers=1)
    config["upstreams"]["agent"] = {"endpoints": list(urls), **settings}
    return config


def left_out(proxy) -> float:
    return proxy.metrics().value("weir_upstream_endpoints_ejected", upstream="agent")


def refused_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_streams_go_where_the_fewest_are(weir, upstream):
    def streaming(connection):
        connection.request()
        connection.head()
        connection.chunk(EVENT)
        connection.gone()

    servers = [upstream(streaming) for _ in range(3)]
    proxy = weir(config=several(*(server.url for server in servers)))
    clients = [Raw(proxy.url).post("/v1/chat/completions") for _ in range(9)]
    for client in clients:
        client.until_events(1)
    assert [len(server.requests()) for server in servers] == [3, 3, 3]
    for client in clients:
        client.close()


def test_an_endpoint_that_refuses_is_passed_over_and_left_out(weir, upstream):
    good = upstream(answering)
    bad = f"http://127.0.0.1:{refused_port()}"
    proxy = weir(config=several(bad, good.url, eject={"failures": 2, "for": "1m"}))
    with Raw(proxy.url) as client:
        for _ in range(6):
            assert client.get("/").read_body() == b"ok", "no request fails for it"
    assert len(good.requests()) == 6
    assert left_out(proxy) == 1


@pytest.mark.parametrize("fault", ["silent", "broken"])
def test_an_endpoint_whose_streams_fail_is_left_out(weir, upstream, fault):
    """A response head alone is no success: what counts is how the stream ends."""

    def failing(connection):
        while True:
            connection.request()
            connection.head()
            if fault == "broken":
                connection.reset()
            else:
                connection.gone()

    def streaming(connection):
        while True:
            connection.request()
            connection.head()
            connection.chunk('data: {"type":"token","content":"a"}\n\n')
            connection.end()

    bad, good = upstream(failing), upstream(streaming)
    config = several(bad.url, good.url, eject={"failures": 2, "for": "1m"})
    proxy = weir(config={**config, "defaults": {"deadlines": {"first_event": "200ms"}}})
    for _ in range(8):
        with Raw(proxy.url).get("/agent") as client:
            client.read_body()
    assert len(bad.requests()) == 2
    assert left_out(proxy) == 1
    assert proxy.logged("an endpoint is left out for a while")["endpoint"] in bad.url


def test_the_last_endpoint_is_never_left_out(weir):
    proxy = weir(config=several(f"http://127.0.0.1:{refused_port()}", eject={"failures": 1, "for": "1m"}))
    with Raw(proxy.url) as client:
        for _ in range(4):
            assert client.get("/").status == 502
            client.read_body()
    assert left_out(proxy) == 0


def test_an_agent_that_starts_late_is_waited_for(weir):
    port = refused_port()
    proxy = weir(config=several(f"http://127.0.0.1:{port}", connect_budget="10s"))
    with Raw(proxy.url) as client:
        client.send("POST", "/", b"once")
        until("the first try", lambda: proxy.metrics().value("weir_connections_total") == 1)
        late = Upstream(answering, port=port)
        try:
            assert client.read_head().read_body() == b"ok"
            assert [request.body for request in late.requests()] == [b"once"]
        finally:
            late.close()


def test_checks_leave_an_endpoint_out_and_take_it_back(weir, upstream):
    sick = threading.Event()
    checks = []

    def script(connection):
        while True:
            request = connection.request()
            if request.line.startswith("GET /health "):
                checks.append(request)
                status = "503 Sick" if sick.is_set() else "204 Well"
                connection.send(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
            else:
                connection.send(OK)

    checked, other = upstream(script), upstream(answering)
    health = {"path": "/health", "interval": "100ms"}
    proxy = weir(config=several(checked.url, other.url, health=health))
    until("checks", lambda: len(checks) >= 2)
    # The other endpoint answers all requests, health checks included.
    assert left_out(proxy) == 0
    sick.set()
    until("left out", lambda: left_out(proxy) == 1)
    with Raw(proxy.url) as client:
        for _ in range(4):
            client.get("/work").read_body()
    assert not [r for r in checked.requests() if "/work" in r.line]
    sick.clear()
    until("taken back", lambda: left_out(proxy) == 0)
    with Raw(proxy.url) as client:
        for _ in range(4):
            client.get("/work").read_body()
    assert [r for r in checked.requests() if "/work" in r.line]
    assert checks[0].headers["connection"] == "close"


def test_checks_end_with_the_configuration_that_asked_for_them(weir, upstream):
    first, second = upstream(answering), upstream(answering)
    health = {"path": "/health", "interval": "100ms"}
    proxy = weir(config=several(first.url, health=health))
    until("a check", first.requests)
    proxy.reload(several(second.url, health=health))
    seen = len(first.requests())
    until("checks of the other", lambda: len(second.requests()) >= 4)
    assert len(first.requests()) - seen <= 1, "at most the one under way"


def test_connections_are_spread_over_the_workers(weir, upstream, tmp_path):
    """A Unix socket has one accept queue, which one worker empties. Without a hand-over that worker would serve
    everything."""

    def streaming(connection):
        connection.request()
        connection.head()
        connection.chunk(EVENT)
        connection.gone()

    server, path = upstream(streaming), tmp_path / "weir.sock"
    config = config_for(server.url, workers=2)
    config["listen"] = [config["listen"], f"unix:{path}"]
    proxy = weir(config=config)
    clients = []
    for _ in range(30):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        received = b""
        while EVENT.strip().encode() not in received:
            received += client.recv(65536)
        clients.append(client)
    metrics = proxy.metrics()
    loads = [metrics.value("weir_worker_load", worker=str(worker)) for worker in (0, 1)]
    assert sum(loads) == 60, "a connection and a request each"
    assert max(loads) - min(loads) <= 10
    for client in clients:
        client.close()
    proxy.outcomes(client_gone=30)
