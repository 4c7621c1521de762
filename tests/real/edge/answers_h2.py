"""HTTP/2 responses of upstreams, frame by frame.

Each is passed on, becomes a 502, or fails in a way that the client can see.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge.answers import EVENT, Bad, Broken, Good, Torn
from edge.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
)

OK = (":status", "200")
PLAIN = ("content-type", "text/plain")
SSE = ("content-type", "text/event-stream")
LAST = END_HEADERS | END_STREAM
# A placeholder for the stream id. `numbered` replaces it.
STREAM = 0x7FFFFFFF
EVENTS = EVENT.encode()


@dataclass(frozen=True)
class Frames:
    name: str
    words: Callable[[int], bytes]
    outcome: Bad | Good | Torn | Broken
    method: str = "GET"
    # Whether the other streams on the same connection continue.
    lives: bool = True


def head(*fields: tuple[str, str], flags: int = END_HEADERS, stream: int = STREAM) -> bytes:
    return frame(HEADERS, flags, stream, block(list(fields)))


def data(content: bytes, flags: int = 0, stream: int = STREAM) -> bytes:
    return frame(DATA, flags, stream, content)


def numbered(words: bytes) -> Callable[[int], bytes]:
    return lambda stream: words.replace(STREAM.to_bytes(4), stream.to_bytes(4))


WHOLE = head(OK, PLAIN) + data(b"ok", END_STREAM)
STARTED = head(OK, SSE) + data(EVENTS)

GOOD = {
    "a plain answer": (WHOLE, Good(200, b"ok")),
    "an empty one": (head(OK, flags=LAST), Good(200, b"")),
    "the end in a frame of its own": (head(OK, PLAIN) + data(b"ok") + data(b"", END_STREAM), Good(200, b"ok")),
    "empty frames in between": (head(OK) + data(b"") + data(b"ok") + data(b"") + data(b"", END_STREAM), Good(200, b"ok")),
    "padding": (head(OK) + data(b"\x03ok\0\0\0", END_STREAM | PADDED), Good(200, b"ok")),
    "a length that fits": (head(OK, ("content-length", "2")) + data(b"ok", END_STREAM), Good(200, b"ok", {"content-length": "2"})),
    "the same length twice": (
        head(OK, ("content-length", "2"), ("content-length", "2")) + data(b"ok", END_STREAM),
        Good(200, b"ok", {"content-length": "2"}),
    ),
    "a head in pieces": (
        frame(HEADERS, 0, STREAM, block([OK])) + frame(CONTINUATION, END_HEADERS, STREAM, block([PLAIN])) + data(b"ok", END_STREAM),
        Good(200, b"ok"),
    ),
    "early hints first": (head((":status", "103"), ("link", "</a>")) + WHOLE, Good(200, b"ok")),
    "continue nobody waits for": (head((":status", "100")) + WHOLE, Good(200, b"ok")),
    "a frame of unknown kind": (frame(0xB7, 0, STREAM, b"what") + WHOLE, Good(200, b"ok")),
    "an unknown setting": (frame(SETTINGS, 0, 0, b"\x7f\x7f\0\0\0\1") + WHOLE, Good(200, b"ok")),
    "a redirect": (head((":status", "307"), ("location", "http://127.0.0.1:1/"), flags=LAST), Good(307, b"", {"location": "http://127.0.0.1:1/"})),
    "an error of its own": (head((":status", "429"), ("retry-after", "7")) + data(b"slow", END_STREAM), Good(429, b"slow", {"retry-after": "7"})),
    "a reset behind the end": (WHOLE + frame(RST_STREAM, 0, STREAM, bytes(4)), Good(200, b"ok")),
    # The HTTP/2 library drops this pseudo-header.
    "a path in an answer": (head(OK, (":path", "/"), flags=LAST), Good(200, b"", {":path": None})),
    "no content": (head((":status", "204"), flags=LAST), Good(204, b"")),
    "text with high bytes": (head(OK, ("x-text", "caf\u00e9")) + data(b"ok", END_STREAM), Good(200, b"ok")),
}

BAD = {
    "no status": head(PLAIN) + data(b"evil", END_STREAM),
    "two statuses": head(OK, (":status", "204"), flags=LAST),
    "a status behind fields": head(PLAIN, OK, flags=LAST),
    "a status of two digits": head((":status", "20"), flags=LAST),
    "a status of four digits": head((":status", "2000"), flags=LAST),
    "a status of 99": head((":status", "099"), flags=LAST),
    "a status in letters": head((":status", "abc"), flags=LAST),
    "a status with a sign": head((":status", "+20"), flags=LAST),
    "an empty status": head((":status", ""), flags=LAST),
    "switching protocols": head((":status", "101"), ("upgrade", "websocket"), flags=LAST),
    "an unknown pseudo field": head(OK, (":evil", "1"), flags=LAST),
    "a name with capitals": head(OK, ("X-Own", "1"), flags=LAST),
    "a name with a space": head(OK, ("x own", "1"), flags=LAST),
    "a name with a colon": head(OK, ("x:own", "1"), flags=LAST),
    "an empty name": head(OK, ("", "1"), flags=LAST),
    "a name with a line end": head(OK, ("x\r\nevil: 1", "1"), flags=LAST),
    "a value with a line end": head(OK, ("x-own", "1\r\nevil: 1"), flags=LAST),
    "a value with LF": head(OK, ("x-own", "1\nevil: 1"), flags=LAST),
    "a value with NUL": head(OK, ("x-own", "1\0"), flags=LAST),
    "Connection": head(OK, ("connection", "close"), flags=LAST),
    "Keep-Alive": head(OK, ("keep-alive", "1"), flags=LAST),
    "Proxy-Connection": head(OK, ("proxy-connection", "close"), flags=LAST),
    "Upgrade": head(OK, ("upgrade", "h2c"), flags=LAST),
    "Transfer-Encoding": head(OK, ("transfer-encoding", "chunked")) + data(b"4\r\nevil\r\n0\r\n\r\n", END_STREAM),
    "two lengths": head(OK, ("content-length", "2"), ("content-length", "4")) + data(b"ok", END_STREAM),
    "two lengths in one": head(OK, ("content-length", "2, 4")) + data(b"ok", END_STREAM),
    "a length with a sign": head(OK, ("content-length", "+2")) + data(b"ok", END_STREAM),
    "a length in hexadecimal": head(OK, ("content-length", "0x2")) + data(b"ok", END_STREAM),
    "an empty length": head(OK, ("content-length", "")) + data(b"ok", END_STREAM),
    "a length with an empty answer": head(OK, ("content-length", "2"), flags=LAST),
    "an end without the final head": head((":status", "103"), flags=LAST),
    "a reset": frame(RST_STREAM, 0, STREAM, (2).to_bytes(4)),
    "a reset behind early hints": head((":status", "103")) + frame(RST_STREAM, 0, STREAM, (2).to_bytes(4)),
}

# The HTTP/2 library treats these as connection errors, as RFC 9113 allows.
FATAL = {
    "a status of two digits",
    "a status of four digits",
    "a status of 99",
    "a status with a sign",
    "an empty status",
    "a name with a space",
    "a name with a line end",
    "a value with a line end",
    "a value with LF",
    "a value with NUL",
    "a status in letters",
    "an unknown pseudo field",
    "an empty name",
    "a name with a colon",
    "a name with capitals",
    "trailers with capitals",
    "a window of nothing",
}

# Connection errors: they end every stream on the connection.
ENDS = {
    "data before the head": data(b"evil", END_STREAM),
    "data on no stream": data(b"evil", END_STREAM, stream=0),
    "a head on no stream": head(OK, flags=LAST, stream=0),
    "a head on a stream nobody opened": head(OK, flags=LAST, stream=2),
    "a promise nobody wants": frame(PUSH_PROMISE, END_HEADERS, STREAM, (2).to_bytes(4) + block([OK])),
    "a block that is none": frame(HEADERS, LAST, STREAM, b"\xff\xff\xff\xff\xff"),
    "an index that is none": frame(HEADERS, LAST, STREAM, b"\xc0"),
    "a continuation of nothing": frame(CONTINUATION, END_HEADERS, STREAM, block([OK])),
    "a frame inside a head": frame(HEADERS, 0, STREAM, block([OK])) + frame(PING, 0, 0, bytes(8)),
    "a frame beyond the limit": frame(DATA, 0, STREAM, bytes(20_000)),
    "more padding than data": frame(DATA, PADDED, STREAM, b"\x09ok"),
    "settings of five bytes": frame(SETTINGS, 0, 0, bytes(5)),
    "settings on a stream": frame(SETTINGS, 0, STREAM, b""),
    "an acknowledgement with content": frame(SETTINGS, ACK, 0, bytes(6)),
    "a window that is too large": frame(SETTINGS, 0, 0, b"\x00\x04\xff\xff\xff\xff"),
    "a frame size that is too small": frame(SETTINGS, 0, 0, b"\x00\x05\x00\x00\x00\x01"),
    "a ping of seven bytes": frame(PING, 0, 0, bytes(7)),
    "a window of nothing for all": frame(WINDOW_UPDATE, 0, 0, bytes(4)),
    "a window beyond 2^31": frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xf0") * 2,
    "a reset of no stream": frame(RST_STREAM, 0, 0, bytes(4)),
    "a flood of pings": frame(PING, 0, 0, bytes(8)) * 5_000,
    "a flood of settings": frame(SETTINGS, 0, 0) * 5_000,
    "a goodbye with an error": frame(GOAWAY, 0, 0, (0).to_bytes(4) + (2).to_bytes(4)),
    "a goodbye that is cut": frame(GOAWAY, 0, 0, bytes(3)),
    "HTTP/1.1": b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
}

BROKEN = {
    "a reset": (frame(RST_STREAM, 0, STREAM, (2).to_bytes(4)), ("upstream_reset",)),
    "a cancellation": (frame(RST_STREAM, 0, STREAM, (8).to_bytes(4)), ("upstream_reset",)),
    "a reset without a reason": (frame(RST_STREAM, 0, STREAM, bytes(4)), ("truncated",)),
    "an early end": (data(b"", END_STREAM), ("truncated",)),
    "half an event at the end": (data(b"data: half", END_STREAM), ("truncated",)),
    "trailers with a status": (head(OK, flags=LAST), ("upstream_reset", "truncated")),
    "trailers that do not end it": (head(("x-own", "1")), ("upstream_reset",)),
    "trailers with capitals": (head(("X-Own", "1"), flags=LAST), ("upstream_reset",)),
    "a second head": (head(OK, SSE), ("upstream_reset",)),
    "a window of nothing": (frame(WINDOW_UPDATE, 0, STREAM, bytes(4)), ("upstream_reset",)),
}

TORN = {
    "more than its length": head(OK, ("content-length", "2")) + data(b"hello", END_STREAM),
    "less than its length": head(OK, ("content-length", "9")) + data(b"hello", END_STREAM),
    "a reset in the middle": head(OK, ("content-length", "9")) + data(b"hello") + frame(RST_STREAM, 0, STREAM, (2).to_bytes(4)),
    "a reset without a length": head(OK, PLAIN) + data(b"hello") + frame(RST_STREAM, 0, STREAM, (2).to_bytes(4)),
}


def cases() -> Iterator[Frames]:
    for name, (words, good) in GOOD.items():
        yield Frames(name, numbered(words), good)
    yield Frames("the length of what HEAD does not get", numbered(head(OK, ("content-length", "9"), flags=LAST)), Good(200, b"", {"content-length": "9"}), "HEAD")
    yield Frames("data for HEAD", numbered(head(OK) + data(b"evil", END_STREAM)), Good(200, b""), "HEAD")
    for name, words in BAD.items():
        yield Frames(f"bad: {name}", numbered(words), Bad(), lives=name not in FATAL)
    yield Frames("bad: 2,000 fields", numbered(large_head(2_000, 10)), Bad())
    yield Frames("bad: a head of 512 KiB", numbered(large_head(64, 8_000)), Bad(), lives=False)
    for name, words in ENDS.items():
        yield Frames(f"ends: {name}", numbered(words), Bad(), lives=False)
        if "head" not in name and name != "HTTP/1.1":
            broken = Broken(("upstream_reset", "upstream_error", "truncated"))
            yield Frames(f"ends amid a stream: {name}", numbered(STARTED + words), broken, lives=False)
    for name, (words, outcomes) in BROKEN.items():
        yield Frames(f"broken: {name}", numbered(STARTED + words), Broken(outcomes), lives=name not in FATAL)
    for name, words in TORN.items():
        yield Frames(f"torn: {name}", numbered(words), Torn())


def large_head(fields: int, size: int) -> bytes:
    content = block([OK, *((f"x-{number}", "v" * size) for number in range(fields))])
    pieces = [content[at : at + 16_000] for at in range(0, len(content), 16_000)]
    kinds = [HEADERS] + [CONTINUATION] * (len(pieces) - 1)
    last = len(pieces) - 1
    return b"".join(
        frame(kind, (END_STREAM if not at else 0) | (END_HEADERS if at == last else 0), STREAM, piece)
        for at, (kind, piece) in enumerate(zip(kinds, pieces))
    )
