"""HTTP/2 connections of clients, frame by frame (RFC 9113): well-formed, malformed, or an attack."""

import struct
from dataclasses import dataclass, field

from hpack import Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY, ACK = 1, 4, 8, 32, 1


@dataclass(frozen=True)
class Refused:
    """The stream is reset or gets an error status, or the connection ends. The upstream gets nothing."""


@dataclass(frozen=True)
class Ends:
    """The connection ends, either with a GOAWAY that has an error code or without a GOAWAY."""


@dataclass(frozen=True)
class Broken:
    """The stream breaks off: the upstream may get the beginning of the request, but never its end."""


@dataclass(frozen=True)
class Passes:
    """The response is a 200, and the upstream got these headers (`None`: not present) and this body."""

    fields: dict[str, str | None] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Talk:
    name: str
    words: bytes
    outcome: Refused | Ends | Broken | Passes
    stream: int = 1
    # Whether the bytes are the whole connection, so that the test adds no preface and no SETTINGS.
    bare: bool = False


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return size.to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def block(fields: list[tuple[str, str]]) -> bytes:
    """Returns a header block of literals (HPACK), which does not depend on the connection's dynamic table."""
    out = b""
    for name, value in fields:
        out += b"\x00" + text(name) + text(value)
    return out


def text(words: str) -> bytes:
    data = words.encode("latin-1")
    size = bytes((len(data),)) if len(data) < 127 else b"\x7f" + varint(len(data) - 127)
    return size + data


def varint(number: int) -> bytes:
    out = b""
    while number >= 128:
        out, number = out + bytes((number % 128 + 128,)), number // 128
    return out + bytes((number,))


METHOD, SCHEME, AUTHORITY, PATH = (":method", "GET"), (":scheme", "http"), (":authority", "h.test"), (":path", "/case")
GET = [METHOD, SCHEME, AUTHORITY, PATH]
POST = [(":method", "POST"), SCHEME, AUTHORITY, PATH]


def request(*fields: tuple[str, str], head: list[tuple[str, str]] = GET, stream: int = 1, flags: int = END_STREAM) -> bytes:
    return frame(HEADERS, END_HEADERS | flags, stream, block([*head, *fields]))


def post(*fields: tuple[str, str], stream: int = 1) -> bytes:
    return request(*fields, head=POST, stream=stream, flags=0)


def data(payload: bytes, stream: int = 1, flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream, payload)


HEADS = {
    "no method": [SCHEME, AUTHORITY, PATH],
    "no scheme": [METHOD, AUTHORITY, PATH],
    "no path": [METHOD, SCHEME, AUTHORITY],
    "no host at all": [METHOD, SCHEME, PATH],
    "nothing": [],
    "an empty path": [METHOD, SCHEME, AUTHORITY, (":path", "")],
    "an empty method": [(":method", ""), SCHEME, AUTHORITY, PATH],
    "an empty scheme": [METHOD, (":scheme", ""), AUTHORITY, PATH],
    "an empty authority": [METHOD, SCHEME, (":authority", ""), PATH],
    "two methods": [METHOD, METHOD, SCHEME, AUTHORITY, PATH],
    "two paths": [METHOD, SCHEME, AUTHORITY, PATH, (":path", "/b")],
    "two schemes": [METHOD, SCHEME, SCHEME, AUTHORITY, PATH],
    "two authorities": [METHOD, SCHEME, AUTHORITY, (":authority", "b"), PATH],
    "an unknown pseudo field": [*GET, (":x", "y")],
    "a status": [*GET, (":status", "200")],
    "a protocol": [*GET, (":protocol", "websocket")],
    "a pseudo field behind a field": [METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH],
    "a relative path": [METHOD, SCHEME, AUTHORITY, (":path", "case")],
    "a star": [METHOD, SCHEME, AUTHORITY, (":path", "*")],
    "a whole URI for a path": [METHOD, SCHEME, AUTHORITY, (":path", "http://evil.test/case")],
    "a space in the path": [METHOD, SCHEME, AUTHORITY, (":path", "/a b")],
    "a line end in the path": [METHOD, SCHEME, AUTHORITY, (":path", "/a\r\nx: y")],
    "a request in the path": [METHOD, SCHEME, AUTHORITY, (":path", "/ HTTP/1.1\r\n\r\nGET /smuggled")],
    "a NUL in the path": [METHOD, SCHEME, AUTHORITY, (":path", "/a\0")],
    "a space in the method": [(":method", "GET /x"), SCHEME, AUTHORITY, PATH],
    "a line end in the method": [(":method", "GET\r\n"), SCHEME, AUTHORITY, PATH],
    "a line end in the scheme": [METHOD, (":scheme", "http\r\n"), AUTHORITY, PATH],
    "a user in the authority": [METHOD, SCHEME, (":authority", "u@h.test"), PATH],
    "a path in the authority": [METHOD, SCHEME, (":authority", "h.test/x"), PATH],
    "a list in the authority": [METHOD, SCHEME, (":authority", "a,b"), PATH],
    "a bad port in the authority": [METHOD, SCHEME, (":authority", "h:80x"), PATH],
    "a line end in the authority": [METHOD, SCHEME, (":authority", "h\r\nx: y"), PATH],
    "another scheme": [METHOD, (":scheme", "ftp"), AUTHORITY, PATH],
    "CONNECT": [(":method", "CONNECT"), (":authority", "h.test:80")],
    "CONNECT with a path": [(":method", "CONNECT"), SCHEME, AUTHORITY, PATH],
    "CONNECT in another protocol": [(":method", "CONNECT"), (":protocol", "connect-udp"), SCHEME, AUTHORITY, PATH],
}

FIELDS = {
    "capitals": ("X", "y"),
    "an empty name": ("", "y"),
    "a space in the name": ("x y", "z"),
    "a colon in the name": ("x:y", "z"),
    "a line end in the name": ("x\r\ny", "z"),
    "a NUL in the name": ("x\0", "y"),
    "an umlaut in the name": ("\xe4", "y"),
    "a CR in the value": ("x", "a\rb"),
    "a LF in the value": ("x", "a\nb"),
    "a line end in the value": ("x", "a\r\ny: z"),
    "a NUL in the value": ("x", "a\0b"),
    "Connection": ("connection", "close"),
    "Keep-Alive": ("keep-alive", "timeout=5"),
    "Proxy-Connection": ("proxy-connection", "close"),
    "Transfer-Encoding": ("transfer-encoding", "chunked"),
    "Upgrade": ("upgrade", "websocket"),
    "TE other than trailers": ("te", "gzip"),
    "another host": ("host", "evil.test"),
    "a bad host": ("host", "h evil"),
    "a bad expectation": ("expect", "x"),
}

LENGTHS = ["+5", "-5", "0x5", "5, 6", "", "5x", "18446744073709551621"]


def heads():
    for name, head in HEADS.items():
        yield Talk(f"head, {name}", request(head=head), Refused())
    for name, one in FIELDS.items():
        yield Talk(f"field, {name}", request(one), Refused())
    yield Talk("field, a line end at the end of a value", request(("x", "y\r\n")), Refused())
    yield Talk("field, 20,000", many_fields(20_000, "y"), Refused())
    yield Talk("field, 1 MiB", many_fields(128, "y" * 8192), Refused())
    yield Talk("field, two hosts", request(("host", "h.test"), ("host", "h.test")), Refused())
    yield Talk("head, as it should be", request(("x", "y")), Passes({"x": "y", "host": "h.test"}))
    yield Talk("head, a host for an authority", request(("host", "h.test"), head=[METHOD, SCHEME, PATH]), Passes({"host": "h.test"}))
    yield Talk("head, https", request(head=[METHOD, (":scheme", "https"), AUTHORITY, PATH]), Passes())
    yield Talk("field, TE of trailers", request(("te", "trailers")), Passes({"te": "trailers"}))
    yield Talk("field, cookies in pieces", request(("cookie", "a=1"), ("cookie", "b=2")), Passes({"cookie": "a=1; b=2"}))
    yield Talk("field, beyond ASCII", request(("x", "\xe4")), Passes({"x": "\xe4"}))


def many_fields(number: int, value: str) -> bytes:
    whole = block([*GET, *[("x", value)] * number])
    first, rest = whole[:16384], whole[16384:]
    out = frame(HEADERS, END_STREAM, 1, first)
    while rest:
        part, rest = rest[:16384], rest[16384:]
        out += frame(CONTINUATION, 0 if rest else END_HEADERS, 1, part)
    return out


def lengths():
    for length in LENGTHS:
        yield Talk(f"length, {length or 'empty'}", post(("content-length", length)) + data(b"hello"), Broken())
    two = (("content-length", "5"), ("content-length", "6"))
    yield Talk("length, two that differ", post(*two) + data(b"hello"), Broken())
    yield Talk("length, shorter than the body", post(("content-length", "3")) + data(b"hello"), Broken())
    yield Talk("length, longer than the body", post(("content-length", "50")) + data(b"hello"), Broken())
    yield Talk("length, without a body", request(("content-length", "50"), head=POST), Broken())
    yield Talk("length, right", post(("content-length", "5")) + data(b"hello"), Passes(body=b"hello"))
    yield Talk("length, none", post() + data(b"hello"), Passes(body=b"hello"))
    yield Talk("length, in many frames", post() + data(b"h", flags=0) * 5 + data(b""), Passes(body=b"hhhhh"))
    padded = frame(DATA, PADDED | END_STREAM, 1, b"\x05hello" + b"\0" * 5)
    yield Talk("length, padded", post(("content-length", "5")) + padded, Passes(body=b"hello"))
    for name, one in {"capitals": ("X", "y"), "a line end": ("x", "a\r\nb")}.items():
        trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, block([one]))
        yield Talk(f"trailers, {name}", post() + data(b"hello", flags=0) + trailers, Broken())
    endless = frame(HEADERS, END_HEADERS, 1, block([("x", "y")]))
    yield Talk("trailers, without an end", post() + data(b"hello", flags=0) + endless, Broken())
    for name in ("content-length", "host", "authorization", "cookie"):
        trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, block([(name, "5")]))
        words = post(("trailer", name)) + data(b"hello", flags=0) + trailers
        yield Talk(f"trailers, {name} goes no further", words, Passes({f"trailer:{name}": None}, b"hello"))


def ping() -> bytes:
    return frame(PING, 0, 0, b"12345678")


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


MALFORMED = {
    "DATA for the connection": data(b"x", stream=0),
    "HEADERS for the connection": request(stream=0),
    "HEADERS of an even stream": request(stream=2),
    "HEADERS of a lower stream": request(stream=5) + request(stream=3),
    "DATA of a stream that is not there": data(b"x", stream=7),
    "RST_STREAM of a stream that is not there": frame(RST_STREAM, 0, 7, struct.pack(">I", 8)),
    "RST_STREAM for the connection": frame(RST_STREAM, 0, 0, struct.pack(">I", 8)),
    "RST_STREAM of three bytes": request() + frame(RST_STREAM, 0, 1, b"\0\0\0"),
    "WINDOW_UPDATE of a stream that is not there": frame(WINDOW_UPDATE, 0, 7, struct.pack(">I", 1)),
    "WINDOW_UPDATE of nothing": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0)),
    "WINDOW_UPDATE of too much": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1)),
    "WINDOW_UPDATE of three bytes": frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"),
    "SETTINGS of a stream": frame(SETTINGS, 0, 1),
    "SETTINGS of five bytes": frame(SETTINGS, 0, 0, b"\0\1\0\0\0"),
    "SETTINGS acknowledged with words": frame(SETTINGS, ACK, 0, struct.pack(">HI", 3, 1)),
    "SETTINGS of a window too large": settings((4, 2**31)),
    "SETTINGS of frames too small": settings((5, 16383)),
    "SETTINGS of frames too large": settings((5, 2**24)),
    "SETTINGS of a push that is neither": settings((2, 2)),
    "PING of seven bytes": frame(PING, 0, 0, b"1234567"),
    "PING of a stream": frame(PING, 0, 1, b"12345678"),
    "GOAWAY of a stream": frame(GOAWAY, 0, 1, b"\0" * 8),
    "GOAWAY of seven bytes": frame(GOAWAY, 0, 0, b"\0" * 7),
    "PUSH_PROMISE of a client": request(stream=1) + frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + block(GET)),
    "CONTINUATION without HEADERS": frame(CONTINUATION, END_HEADERS, 1, block(GET)),
    "CONTINUATION of another stream": frame(HEADERS, END_STREAM, 1, block(GET)) + frame(CONTINUATION, END_HEADERS, 3),
    "PING amid a head": frame(HEADERS, END_STREAM, 1, block(GET)) + ping(),
    "an unknown frame amid a head": frame(HEADERS, END_STREAM, 1, block(GET)) + frame(99, 0, 0),
    "DATA larger than agreed": post() + frame(DATA, END_STREAM, 1, b"x" * 16385),
    "HEADERS larger than agreed": frame(HEADERS, END_HEADERS | END_STREAM, 1, block([*GET, ("x", "y" * 16384)])),
    "DATA padded beyond its end": post() + frame(DATA, PADDED | END_STREAM, 1, b"\x0ahello"),
    "HEADERS padded beyond their end": frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 1, b"\xff" + block(GET)),
    "an index that is not there": frame(HEADERS, END_HEADERS | END_STREAM, 1, block(GET) + b"\xff\xff\xff\x7f"),
    "an index of zero": frame(HEADERS, END_HEADERS | END_STREAM, 1, block(GET) + b"\x80"),
    "a table larger than agreed": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe1\xff\x7f" + block(GET)),
    "a block that ends early": frame(HEADERS, END_HEADERS | END_STREAM, 1, block(GET)[:-3]),
    "a number without end": frame(HEADERS, END_HEADERS | END_STREAM, 1, block(GET) + b"\xff" * 20),
    "Huffman padding that is none": frame(HEADERS, END_HEADERS | END_STREAM, 1, block(GET) + b"\x00\x01x\x81\x00"),
}

IGNORED = {
    "an unknown frame": frame(99, 255, 0, b"hello"),
    "an unknown frame of a stream": frame(99, 255, 1, b"hello"),
    "unknown flags": frame(PING, 0xFE, 0, b"12345678"),
    "unknown settings": settings((99, 1), (0xFFFF, 0)),
    "a PING": ping(),
    "a PRIORITY": frame(PRIORITY, 0, 3, struct.pack(">IB", 0, 16)),
    "an empty SETTINGS": settings(),
    "a window": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1000)),
    "a reserved bit": frame(PING, 0, 2**31, b"12345678"),
}


def connections():
    for name, words in MALFORMED.items():
        yield Talk(f"frame, {name}", words, Ends())
    for name, words in IGNORED.items():
        yield Talk(f"frame, {name} is overlooked", words + request(), Passes())
    late = request() + data(b"x")
    yield Talk("frame, DATA behind the end of a stream", late, Ends())
    own = frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 16))
    yield Talk("frame, a stream that depends on itself", own + request(stream=3), Passes(), stream=3)
    halved = block(GET)
    split = frame(HEADERS, END_STREAM, 1, halved[:5]) + frame(CONTINUATION, END_HEADERS, 1, halved[5:])
    yield Talk("frame, a head in two", split, Passes())
    padded = frame(HEADERS, PADDED | WITH_PRIORITY | END_HEADERS | END_STREAM, 1, b"\x03" + b"\0\0\0\0\x10" + block(GET) + b"\0" * 3)
    yield Talk("frame, a head with padding and priority", padded, Passes())
    nothing = frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 0))
    # Each frame is valid, but no client needs so many at once.
    for name, one in {"PING": frame(PING, 0, 0, bytes(8)), "SETTINGS": frame(SETTINGS, 0, 0), "PRIORITY": frame(PRIORITY, 0, 3, bytes(5))}.items():
        yield Talk(f"frame, a flood of {name}", one * 5_000, Ends())
    yield Talk("frame, WINDOW_UPDATE of nothing for a stream", post() + nothing, Broken())
    much = frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 2**31 - 1))
    yield Talk("frame, WINDOW_UPDATE of too much for a stream", post() + much, Broken())
    indexed = frame(HEADERS, END_HEADERS | END_STREAM, 1, Encoder().encode([*GET, ("user-agent", "x" * 100)]))
    yield Talk("frame, a block by the table", indexed, Passes({"user-agent": "x" * 100}))
    for name, words in {
        "another preface": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + settings() + request(),
        "the preface twice": PREFACE + PREFACE + settings() + request(),
        "SETTINGS acknowledged first": PREFACE + frame(SETTINGS, ACK, 0) + request(),
        "HTTP/1.1 behind the preface": PREFACE + b"GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n",
    }.items():
        yield Talk(f"preface, {name}", words, Ends(), bare=True)


def cases():
    yield from heads()
    yield from lengths()
    yield from connections()
