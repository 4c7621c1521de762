"""Tests certificates that expire or change while streams run."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from support.faults import (
    CHAT,
    DONE,
    PATHS,
    STREAMS,
    Agent,
    Running,
    chats,
    errors,
    nothing_is_left,
    only,
    plain,
    refused,
    token,
)
from support.h2 import H2
from support.raw import Raw
from support.wait import until


@pytest.mark.parametrize("tickets", [0, 2], ids=["whole handshakes", "resumed sessions"])
def test_an_agent_whose_certificate_expires_is_a_502_until_it_has_a_good_one(weir, upstream, authority, tmp_path, tickets):
    """With session tickets, the default of servers, a resumed session does not show the certificate again. Weir must
    still notice that it has expired."""
    expires = datetime.now(UTC) + timedelta(seconds=2)
    context = authority.server(authority.issue(tmp_path, until=expires))
    context.num_tickets = tickets
    agent = Agent(upstream, tls=context)
    proxy = weir(upstreams=only(agent.server.url, tls={"ca_file": authority.file(tmp_path)}))
    with nothing_is_left(proxy):
        running = Running(agent, chats(proxy))
        assert plain(proxy) == b"agent"
        asked = agent.server.heads()
        # Certificates count in whole seconds.
        until("it expires", lambda: datetime.now(UTC) > expires + timedelta(seconds=1))
        assert "expired" in refused(proxy, 502, "upstream_tls")
        assert agent.server.heads() == asked, "no request left before the certificate was checked"
        assert errors(proxy) == {"upstream_tls": 1}
        running.go_on()
        files = authority.issue(tmp_path)
        context.load_cert_chain(files.cert, files.key)
        assert plain(proxy) == b"agent"
        running.go_on()
        running.finish()
        proxy.outcomes(finished=STREAMS)
    assert errors(proxy) == {"upstream_tls": 1}


def test_the_certificate_of_a_listener_changes_under_traffic(weir, upstream, authority, tmp_path):
    """Running streams continue with the old certificate. Every new connection is answered, at some point with the new
    one."""
    files = authority.issue(tmp_path)
    agent = Agent(upstream)
    listen = {"address": "127.0.0.1:0", "tls": {"cert": files.cert, "key": files.key}}
    proxy = weir(listen=listen, upstreams=only(agent.server.url))
    shown: list[str] = []
    stop = threading.Event()

    def connecting(_) -> None:
        while not stop.wait(0.02):
            with Raw(proxy.url, tls=authority.client()) as client:
                shown.append(client.socket.getpeercert()["serialNumber"])
                assert client.get("/plain").read_body() == b"agent"

    def expires() -> float:
        return proxy.metrics().value("weir_tls_certificate_not_after_seconds")

    with nothing_is_left(proxy):
        running = Running(agent, [Raw(proxy.url, tls=authority.client()).post(path) for path in PATHS[:STREAMS]])
        with ThreadPoolExecutor(2) as pool, H2(proxy.url, authority.client("h2")) as connection:
            stream = connection.post(f"{CHAT}?h2")
            try:
                load = pool.map(connecting, range(2))
                old = until("connections", lambda: len(shown) > 10 and shown[0])
                until_old = expires()
                authority.issue(tmp_path, until=datetime.now(UTC) + timedelta(days=1))
                until("new connections see another", lambda: old not in shown[-10:])
                running.go_on()
            finally:
                stop.set()
            # None of their connections failed.
            list(load)
            assert len(set(shown)) == 2
            assert expires() < until_old
            running.finish()
            assert stream.read_body().decode() == "".join(map(token, range(agent.sent[f"{CHAT}?h2"]))) + DONE
        proxy.outcomes(finished=STREAMS + 1)
    assert proxy.metrics().by("weir_requests_total", "code") == {"200": len(shown) + STREAMS + 1}
    assert errors(proxy) == {}
