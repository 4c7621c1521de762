"""Tests that a client cannot harm others with HTTP/2 frames, and that frames that contradict a request end it."""

import struct
import threading
import time

import pytest

from support.h2 import H2
from support.plain import plain, serves
from support.raw import Closed, Raw
from support.wait import until

CHAT = "/v1/chat/completions"
MIB = 1024 * 1024
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">IBBI", len(payload), kind, flags, stream)[1:] + payload


# Indexed headers of the static table: GET, http, /; the authority as a literal.
GET = b"\x82\x86\x84\x01\x01h"
DATA, HEADERS, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
ENDS, WHOLE = 1, 4
FLOODS = {
    "resets": [
        frame(HEADERS, ENDS | WHOLE, 2 * n + 1, GET) + frame(RESET, 0, 2 * n + 1, b"\0\0\0\x08")
        for n in range(10_000)
    ],
    "resets that the server must make": [
        frame(HEADERS, WHOLE, 2 * n + 1, GET) + frame(WINDOW, 0, 2 * n + 1, bytes(4))
        for n in range(10_000)
    ],
    "continuations": [frame(HEADERS, ENDS, 1, GET)] + [frame(CONTINUATION, 0, 1)] * 100_000,
    "empty data": [frame(HEADERS, WHOLE, 1, b"\x83\x86\x84\x01\x01h")] + [frame(DATA, 0, 1)] * 200_000,
    "settings": [frame(SETTINGS)] * 50_000,
    "pings": [frame(PING, 0, 0, bytes(8))] * 50_000,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_http2_frames_hurts_nobody_else(weir, plain, kind):
    """A flood is cut off or read to its end. Either way others are served and memory does not grow."""
    proxy = weir(plain.url)
    assert serves(proxy)
    before, asked, served = proxy.rss(), len(plain.requests()), 0
    end = b"the end!"
    with Raw(proxy.url).say(PREFACE + frame(SETTINGS)) as client:

        def pour():
            try:
                client.socket.sendall(b"".join(FLOODS[kind]) + frame(PING, 0, 0, end))
            except OSError:
                pass

        def answers():
            """Reads until the connection ends, or until the response to the last frame."""
            try:
                got = b"?"
                while got and end not in tail:
                    got = client.socket.recv(65536)
                    tail[:] = tail[-8:] + got
            except ConnectionError:
                pass

        tail = bytearray()
        threads = [threading.Thread(target=run, daemon=True) for run in (pour, answers)]
        for thread in threads:
            thread.start()
        limit = time.monotonic() + 10
        while threads[1].is_alive() or served < 3:
            assert serves(proxy) and time.monotonic() < limit
            served += 1
    assert proxy.rss() - before < 16 * MIB
    assert len(plain.requests()) - asked - served < 1000, "few of them reached the upstream"


def test_frames_by_hand_are_a_request(weir, plain):
    """Checks that the handmade frames of the floods form a valid request."""
    with Raw(weir(plain.url).url).say(PREFACE + frame(SETTINGS) + frame(HEADERS, ENDS | WHOLE, 1, GET)):
        until("the request", plain.requests)


@pytest.mark.parametrize("body", [b"short", b"x" * 60])
def test_an_http2_body_of_another_length_than_said_is_an_error(weir, plain, body):
    proxy = weir(plain.url)
    with H2(proxy.url) as client:
        client.h2.config.validate_outbound_headers = False
        stream = client.request("POST", CHAT, content_length="50")
        client.socket.sendall(frame(DATA, ENDS, stream.number, body))
        try:
            assert stream.read_head().status == 400
        except Closed:
            pass
    assert plain.requests() == []
    assert serves(proxy)
