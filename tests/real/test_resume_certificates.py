"""Tests that a stream belongs to the client certificate that its first request came with (mutual TLS)."""

import pytest

from backends import wire
from backends.resumable import Agent
from support import sse
from support.h2 import H2
from support.raw import Raw
from support.resume import RESUME, numbers, stream_path

COUNT = 20
HOLD = 5
UNKNOWN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def contexts(authority, tmp_path):
    """Two clients, each with a certificate that the listener trusts."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(authority.client("http/1.1", own=authority.issue(tmp_path / name)))
    return made


@pytest.fixture
def start(weir, upstream, authority, tmp_path):
    """`start(agent)` starts a Weir that asks its clients for certificates."""

    def run(agent: Agent, **resume):
        (tmp_path / "own").mkdir()
        files = authority.issue(tmp_path / "own")
        tls = {"cert": files.cert, "key": files.key, "client_ca": authority.file(tmp_path)}
        listen = {"address": "127.0.0.1:0", "tls": tls}
        return weir(upstream(agent).url, listen=listen, defaults={**RESUME, "resume": resume})

    return run


def ask(url, context, path, method="GET", **headers):
    """Sends a request over a connection of its own, and returns its answer, read to the end."""
    with Raw(url, tls=context) as client:
        client.send(method, path, **headers).read_head()
        client.read_body()
        return client


def test_a_stream_comes_back_only_for_its_certificate(start, contexts):
    one, two = contexts
    agent = Agent(COUNT, hold=HOLD)
    proxy = start(agent)
    with Raw(proxy.url, tls=one).post("/agent") as client:
        stream = client.headers["weir-stream-id"]
        first = client.until_events(HOLD)
    path = stream_path(stream)

    unknown = ask(proxy.url, two, stream_path(UNKNOWN))
    assert unknown.status == 404
    for method, asked, headers in (
        ("GET", path, {}),
        ("GET", path, {"accept": "application/json"}),
        ("DELETE", path, {}),
        ("GET", "/agent", {"last_event_id": f"{stream}.{HOLD}"}),
        ("POST", "/agent", {"last_event_id": f"{stream}.{HOLD}"}),
    ):
        refused = ask(proxy.url, two, asked, method, **headers)
        assert (refused.status, refused.body) == (404, unknown.body), (method, asked)

    agent.go.set()
    after = numbers(first[-1:], stream)[0]
    again = ask(proxy.url, one, f"{path}?after={after}")
    assert again.status == 200
    events = first + sse.events(again.body.decode())
    assert "".join(map(sse.content, events)) == wire.text_of(COUNT)
    seen = numbers(events, stream)
    assert seen == sorted(set(seen)) and events[-1].name == "done"
    assert len(agent.runs) == 1, "nobody started a second run"


def test_a_certificate_counts_over_http2_too(start, authority, contexts, tmp_path):
    one, _ = contexts
    proxy = start(Agent(COUNT))
    stream = ask(proxy.url, one, "/agent", "POST").headers["weir-stream-id"]
    for name, status in (("one", 200), ("two", 404)):
        context = authority.client("h2")
        context.load_cert_chain(str(tmp_path / name / "cert.pem"), str(tmp_path / name / "key.pem"))
        with H2(proxy.url, tls=context) as client:
            assert client.get(stream_path(stream)).status == status


def test_a_chat_is_looked_for_among_those_of_the_certificate(start, contexts):
    one, two = contexts
    agent = Agent(COUNT, hold=HOLD)
    proxy = start(agent, chats={"path": "/api/chat/{id}/stream"})
    with Raw(proxy.url, tls=one).post("/api/chat", b'{"id":"c1"}') as client:
        client.until_events(HOLD)
    assert ask(proxy.url, two, "/api/chat/c1/stream").status == 204
    # It still runs: when it is over, nobody gets it.
    with Raw(proxy.url, tls=one).get("/api/chat/c1/stream") as again:
        assert again.status == 200
        agent.go.set()
        assert again.read_body().endswith(b"data: [DONE]\n\n")


def test_what_is_bound_to_counts_alone(start, contexts):
    """A proxy in front of Weir may have the certificate, and say who the user is."""
    one, two = contexts
    proxy = start(Agent(COUNT), bind="header:x-user")
    stream = ask(proxy.url, one, "/agent", "POST", x_user="u").headers["weir-stream-id"]
    assert ask(proxy.url, two, stream_path(stream), x_user="u").status == 200
    assert ask(proxy.url, one, stream_path(stream), x_user="v").status == 404
