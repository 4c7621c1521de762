"""Tests that each event reaches the client before its backend may send the next one.

Lock-step: before every event the backend waits for a permit, which is given only once the previous event has arrived. A
proxy that holds anything back stops the stream forever, however fast the machine is.
"""

import threading
import zlib

import pytest

from backends import wire
from support import sse
from support.raw import Raw


def lockstep(client: Raw, open_next, number: int, wanted: bytes) -> None:
    """Opens one event after the other and checks that `wanted` has arrived exactly that many times.

    The first event is already on its way, because WSGI servers send no head without it.
    """
    for count in range(1, number + 1):
        if count > 1:
            open_next()
        while client.body.count(wanted) < count:
            client.read_chunk()
        assert client.body.count(wanted) == count


@pytest.mark.parametrize("backend", ["fastapi", "sse_starlette", "gthread", "uvicorn_worker"])
def test_server_sent_events(request, weir, name, backend):
    """LF line ends from StreamingResponse, CRLF from sse-starlette, both gunicorn workers."""
    server, run = request.getfixturevalue(backend), name()
    server.open(run)
    with Raw(weir(server.url).url) as client:
        client.get(f"/agent?run={run}&step=1&endless=1")
        lockstep(client, lambda: server.open(run), 12, b"\n\n")
        assert len(client.events()) == 12


def test_gzip_flushed_per_event_is_decoded_as_it_comes(weir, gzip, name):
    run = name()
    gzip.open(run)
    with Raw(weir(gzip.url).url) as client:
        client.get(f"/agent?run={run}&step=1&endless=1", accept_encoding="gzip")
        assert "content-encoding" not in client.headers
        lockstep(client, lambda: gzip.open(run), 12, b"\n\n")


def test_a_compressing_middleware_is_asked_not_to(weir, gzip, name):
    """GZipMiddleware holds NDJSON back until its compressor is full, so Weir asks it not to compress."""
    run = name()
    gzip.open(run)
    with Raw(weir(gzip.url).url) as client:
        client.post(f"/api/chat?run={run}&step=1&endless=1", accept_encoding="gzip")
        assert client.headers["content-type"] == "application/x-ndjson"
        lockstep(client, lambda: gzip.open(run), 12, b"\n")


@pytest.mark.parametrize("framing", ["\n", "\r\n", "\r"])
def test_an_event_leaves_with_its_last_byte(weir, upstream, framing):
    """The upstream sends one byte per HTTP chunk, and nothing more once an event is complete."""
    events = [event.replace("\n", framing) for event in wire.convention(3)]

    def script(connection):
        connection.request()
        connection.head()
        for event in events:
            for byte in event.encode():
                connection.chunk(bytes([byte]))
            go_on.acquire()
        connection.end()

    go_on = threading.Semaphore(0)
    proxy = weir(upstream(script).url)
    with Raw(proxy.url).get("/agent") as client:
        for count in range(1, len(events) + 1):
            assert len(client.until_events(count)) == count
            go_on.release()
        client.read_body()
    assert client.body == "".join(wire.convention(3)).encode(), "LF framing, payload untouched"
    assert proxy.ended()["outcome"] == "finished"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_every_split_of_compressed_bytes(weir, upstream, coding):
    """A compressed response carries the same events as a plain one, wherever its bytes are cut."""
    whole = "".join(wire.openai(40))
    packer = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    packed = packer.compress(whole.encode()) + packer.flush()

    def script(connection):
        connection.request()
        connection.head("text/event-stream", "200 OK", f"content-encoding: {coding}")
        for byte in packed:
            connection.chunk(bytes([byte]))
        connection.end()

    with Raw(weir(upstream(script).url).url).post("/v1/chat/completions") as client:
        assert sse.events(client.read_body()) == sse.events(whole)


def test_events_that_arrive_together_stay_apart(weir, upstream):
    whole = "".join(wire.anthropic(200))

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(whole)
        connection.end()

    proxy = weir(upstream(script).url)
    with Raw(proxy.url).post("/v1/messages") as client:
        assert client.read_body() == whole.encode()
    ended = proxy.ended()
    assert (ended["events_in"], ended["dropped"]) == (len(sse.events(whole)), 0)
