"""Tests that agents can be reached over TLS and Unix sockets, and that no bad certificate is accepted."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from support.lockstep import CHAT, Agent
from support.raw import Raw
from support.tls import Authority


def test_an_upstream_on_a_unix_socket(weir, upstream, tmp_path):
    agent = Agent(upstream, path=tmp_path / "agent.sock")
    proxy = weir(agent.server.url)
    with Raw(proxy.url).post(CHAT) as client:
        agent.lockstep(client)
    assert agent.server.requests()[0].headers["host"] == client.host
    client = Raw(proxy.url).post("/left")
    left = time.monotonic()
    client.close()
    assert agent.connection("/left").gone() - left < 1.0


def test_an_upstream_whose_unix_socket_is_missing_is_a_502(weir, tmp_path):
    with Raw(weir(f"unix:{tmp_path}/nobody.sock").url).post(CHAT) as client:
        assert client.status == 502
        assert json.loads(client.read_body())["error"]["code"] == "upstream_connect"


def tls_upstream(weir, url, **settings):
    return weir(upstreams={"agent": {"endpoints": [url], "tls": settings}})


@pytest.mark.parametrize("named", ["by its endpoint", "by server_name"])
def test_an_upstream_with_tls(weir, upstream, authority, tmp_path, named):
    own = named == "by its endpoint"
    files = authority.issue(tmp_path) if own else authority.issue(tmp_path, "agent.internal")
    agent = Agent(upstream, tls=authority.server(files))
    name = {} if own else {"server_name": "agent.internal"}
    proxy = tls_upstream(weir, agent.server.url, ca_file=authority.file(tmp_path), **name)
    with Raw(proxy.url).post(CHAT) as client:
        agent.lockstep(client)
    client = Raw(proxy.url).post("/left")
    left = time.monotonic()
    client.close()
    assert agent.connection("/left").gone() - left < 1.0


YESTERDAY = datetime.now(UTC) - timedelta(days=1)
# Names in the upstream's certificate, and whether Weir trusts its authority.
BAD_CERTIFICATES = {
    "of an unknown authority": ({}, False),
    "for another name": ({"names": ["other.internal"]}, True),
    "that expired": ({"names": ["127.0.0.1"], "until": YESTERDAY}, True),
}


@pytest.mark.parametrize("certificate", BAD_CERTIFICATES)
def test_an_upstream_with_a_bad_certificate_is_a_502(
    weir, upstream, authority, tmp_path, certificate
):
    made, trusted = BAD_CERTIFICATES[certificate]
    files = authority.issue(tmp_path, *made.get("names", ()), until=made.get("until"))
    server = upstream(lambda connection: connection.request(), tls=authority.server(files))
    known = authority if trusted else Authority()
    proxy = tls_upstream(weir, server.url, ca_file=known.file(tmp_path))
    with Raw(proxy.url).post(CHAT) as client:
        assert client.status == 502
        assert json.loads(client.read_body())["error"]["code"] == "upstream_tls"
    assert server.heads() == 0, "no request left before the certificate was checked"


def test_a_plain_upstream_behind_https_is_a_502(weir, upstream):
    def script(connection):
        connection.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        connection.gone()

    url = upstream(script).url.replace("http:", "https:")
    with Raw(weir(url).url).post(CHAT) as client:
        assert client.status == 502
        assert json.loads(client.read_body())["error"]["code"] == "upstream_tls"


def test_an_upstream_that_never_finishes_its_handshake_is_a_504(weir, upstream):
    server = upstream(lambda connection: connection.gone())
    url = server.url.replace("http:", "https:")
    proxy = weir(url, defaults={"deadlines": {"connect": "300ms"}})
    with Raw(proxy.url).post(CHAT) as client:
        assert client.status == 504
        assert json.loads(client.read_body())["error"]["code"] == "upstream_connect"
    assert server.connections[0].gone(1)


@pytest.mark.parametrize("shows", ["its certificate", "none"])
def test_an_upstream_that_asks_for_a_certificate(weir, upstream, authority, tmp_path, shows):
    files = authority.issue(tmp_path)
    agent = Agent(upstream, tls=authority.server(files, ask=True))
    own = {"cert": files.cert, "key": files.key} if shows == "its certificate" else {}
    proxy = tls_upstream(weir, agent.server.url, ca_file=authority.file(tmp_path), **own)
    with Raw(proxy.url).post(CHAT) as client:
        if own:
            agent.lockstep(client)
        else:
            assert client.status == 502
            assert agent.server.heads() == 0
