"""HTTP/1.1 responses of upstreams. Each is passed on, becomes a 502, or fails in a way that the client can see."""

from dataclasses import dataclass, field

from edge.case import bytes_of

OK = "HTTP/1.1 200 OK"
EVENT = 'data: {"choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n'
CHUNK = f"{len(EVENT):x}\r\n{EVENT}\r\n"
END = "0\r\n\r\n"
STREAM = f"{OK}\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LATE = f"{OK}\r\ncontent-length: 4\r\n\r\nevil"


@dataclass(frozen=True)
class Bad:
    """The client gets a 502, and no part of the response."""


@dataclass(frozen=True)
class Good:
    """The client gets this status and body, and the next client gets its own response."""

    status: int = 200
    body: bytes = b""
    fields: dict[str, str | None] = field(default_factory=dict)
    # Whether another request uses the same connection; `None` if either is allowed.
    kept: bool | None = None


@dataclass(frozen=True)
class Torn:
    """A truncated plain body: the client must get a 502, or be able to see that the body is incomplete."""


@dataclass(frozen=True)
class Broken:
    """A stream that breaks off: the client gets the complete events, then an error event with one of these codes."""

    outcomes: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    name: str
    words: bytes
    outcome: Bad | Good | Torn | Broken
    method: str = "GET"
    # How the upstream ends the connection after the bytes: `fin` (FIN), `rst` (RST), or not at all.
    ends: str = ""


def answer(*fields: str, line: str = OK, body: str | bytes = "") -> bytes:
    head = "".join(f"{one}\r\n" for one in (line, *fields)) + "\r\n"
    return bytes_of(head) + bytes_of(body)


LINES = {
    "HTTP/0.9": "HTTP/0.9 200 OK",
    "HTTP/1.2": "HTTP/1.2 200 OK",
    "HTTP/2.0": "HTTP/2.0 200 OK",
    "HTTP/2": "HTTP/2 200 OK",
    "HTTP/3": "HTTP/3.0 200 OK",
    "no version": "200 OK",
    "no status": "HTTP/1.1",
    "no status, a space": "HTTP/1.1 ",
    "a version in small letters": "http/1.1 200 OK",
    "another protocol": "ICY 200 OK",
    "RTSP": "RTSP/1.0 200 OK",
    "a status of two digits": "HTTP/1.1 20 OK",
    "a status of four digits": "HTTP/1.1 2000 OK",
    "a status of 99": "HTTP/1.1 099 OK",
    "a status of 1000": "HTTP/1.1 1000 OK",
    "a status of 000": "HTTP/1.1 000 OK",
    "a status in letters": "HTTP/1.1 abc OK",
    "a negative status": "HTTP/1.1 -20 OK",
    "a status with a plus": "HTTP/1.1 +20 OK",
    "hexadecimal": "HTTP/1.1 0xC8 OK",
    "two spaces before the status": "HTTP/1.1  200 OK",
    "a tab before the status": "HTTP/1.1\t200 OK",
    "a space in front": " HTTP/1.1 200 OK",
    "a NUL in the reason": "HTTP/1.1 200 O\0K",
    "a CR in the reason": "HTTP/1.1 200 O\rK",
    "an escape in the reason": "HTTP/1.1 200 \x1b[2J",
    "garbage": "\x16\x03\x03\x00\x02\x02\x28",
    "a request": "GET / HTTP/1.1",
    "HTML": "<html>",
    "JSON": '{"ok":true}',
    "SSH": "SSH-2.0-OpenSSH_9.2",
    "a BOM": "\xef\xbb\xbfHTTP/1.1 200 OK",
}

GOOD_LINES = {
    "no reason": ("HTTP/1.1 200 ", 200),
    "nothing behind the status": ("HTTP/1.1 200", 200),
    "a reason of its own": ("HTTP/1.1 200 Fine, thanks", 200),
    "a reason beyond ASCII": ("HTTP/1.1 200 \xe4", 200),
    "HTTP/1.0": ("HTTP/1.0 200 OK", 200),
    "a status of its own": ("HTTP/1.1 299 Odd", 299),
    "a client's error": ("HTTP/1.1 404 Not Found", 404),
    "a server's error": ("HTTP/1.1 500 Oh", 500),
    "an unknown class": ("HTTP/1.1 700 Odd", 700),
}

LENGTHS = {
    "a plus": "+5",
    "a minus": "-5",
    "hexadecimal": "0x5",
    "two words": "5 5",
    "a list that differs": "5, 6",
    "a fraction": "5.0",
    "letters behind": "5x",
    "letters": "five",
    "empty": "",
    "a comma": ",",
    "a comma behind": "5,",
    "an underscore": "0_5",
    "quotes": '"5"',
    "beyond 64 bits": "18446744073709551621",
    "sixty digits": "9" * 60,
    "a NUL": "5\0",
    "a vertical tab": "\x0b5",
    "a no-break space": "\xa05",
}

CODINGS = {
    "another": ("transfer-encoding: x",),
    "gzip": ("transfer-encoding: gzip",),
    "identity": ("transfer-encoding: identity",),
    "gzip and chunked": ("transfer-encoding: gzip, chunked",),
    "chunked and identity": ("transfer-encoding: chunked, identity",),
    "chunked twice": ("transfer-encoding: chunked, chunked",),
    "two fields": ("transfer-encoding: chunked", "transfer-encoding: chunked"),
    "two fields that differ": ("transfer-encoding: x", "transfer-encoding: chunked"),
    "a comma behind": ("transfer-encoding: chunked,",),
    "quotes": ('transfer-encoding: "chunked"',),
    "a parameter": ("transfer-encoding: chunked;q=1",),
    "empty": ("transfer-encoding:",),
    "a space before the colon": ("transfer-encoding : chunked",),
    "a vertical tab": ("transfer-encoding: \x0bchunked",),
    "a NUL": ("transfer-encoding: chunked\0",),
    "a length in front": ("content-length: 5", "transfer-encoding: chunked"),
    "a length behind": ("transfer-encoding: chunked", "content-length: 5"),
    "a length of zero": ("transfer-encoding: chunked", "content-length: 0"),
}

FIELDS = {
    "no colon": "x",
    "an empty name": ": y",
    "a space before the colon": "x : y",
    "a space in the name": "x y: z",
    "a NUL in the name": "x\0: y",
    "a bracket in the name": "x(y: z",
    "an umlaut in the name": "\xe4: y",
    "a NUL in the value": "x: a\0b",
    "a CR in the value": "x: a\rb",
    "an escape in the value": "x: a\x1bb",
    "a DEL in the value": "x: a\x7fb",
    "folded": "x: a\r\n b",
    "folded by a tab": "x: a\r\n\tb",
    "a folded length": "content-length:\r\n 5",
}

# Invalid chunk sizes and invalid chunks, each sent after the first event of a stream.
SIZES = ["0x5", "-5", "+5", " 5", "5 x", "5_", "g", "5.0", "10000000000000005", "f" * 20, "5\0", "5\x0b", ""]
FRAMES = {
    "the size ends with LF": f"{len(EVENT):x}\n{EVENT}\r\n",
    "the size ends with CR": f"{len(EVENT):x}\r{EVENT}\r\n",
    "the data end with LF": f"{len(EVENT):x}\r\n{EVENT}\n0\r\n\r\n",
    "the data end with nothing": f"{len(EVENT):x}\r\n{EVENT}0\r\n\r\n",
    "the data are longer": f"{len(EVENT) - 1:x}\r\n{EVENT}\r\n",
    "an extension with LF": f"{len(EVENT):x};x\n{EVENT}\r\n",
    "an extension with NUL": f"{len(EVENT):x};\0\r\n{EVENT}\r\n",
    "an extension with CR": f"{len(EVENT):x};x\ry\r\n{EVENT}\r\n",
    "an extension of 1 MiB": f"5;{'x' * 1048576}\r\n",
    "a trailer without a colon": "0\r\nx\r\n\r\n",
    "a trailer with NUL": "0\r\nx: \0\r\n\r\n",
    "a trailer that ends with LF": "0\r\nx: y\n\n",
    "200 KiB of trailers": "0\r\n" + "x: y\r\n" * 34_000 + "\r\n",
    "the end with LF": "0\r\n\n",
}

TEARS = {
    "before a size": "",
    "within a size": "1",
    "behind a size": "5\r\n",
    "within an event": f"{len(EVENT):x}\r\n{EVENT[:20]}",
    "within a character": "3\r\n\xe2\x82",
    "behind the data": f"{len(EVENT):x}\r\n{EVENT}",
    "behind the last size": "0\r\n",
    "within a trailer": "0\r\nx: y",
}


def lines():
    for name, line in LINES.items():
        yield Answer(f"line, {name}", answer("content-length: 2", line=line, body="ok"), Bad(), ends="fin")
    for name, (line, status) in GOOD_LINES.items():
        yield Answer(f"line, {name}", answer("content-length: 2", line=line, body="ok"), Good(status, b"ok"))
    yield Answer("line, 300 KiB", answer(line=f"HTTP/1.1 200 {'x' * 307_200}"), Bad())
    # An upgrade that no client asked for, with data of the new protocol.
    for name in ("websocket", "h2c", "foo"):
        words = answer(f"upgrade: {name}", "connection: upgrade", line="HTTP/1.1 101 Switching Protocols", body="hello")
        yield Answer(f"line, 101 to {name}", words, Bad())
    yield Answer("line, 100 alone", answer(line="HTTP/1.1 100 Continue"), Bad(), ends="fin")
    for status in ("100 Continue", "102 Processing", "103 Early Hints", "199 Odd"):
        words = answer("x: y", line=f"HTTP/1.1 {status}") + answer("content-length: 2", body="ok")
        yield Answer(f"line, {status} in front", words, Good(200, b"ok"))
    many = answer(line="HTTP/1.1 103 Early Hints") * 1000 + answer("content-length: 2", body="ok")
    yield Answer("line, 1,000 interim ones in front", many, Good(200, b"ok"))
    bare = b"HTTP/1.1 200 OK\ncontent-length: 2\nx: y\n\nok"
    yield Answer("line, line ends of LF", bare, Good(200, b"ok", {"x": "y"}))


def ends():
    for end in ("fin", "rst"):
        for name, words in {
            "at once": "",
            "within the version": "HT",
            "within the status": "HTTP/1.1 2",
            "behind the status": "HTTP/1.1 200 OK\r\n",
            "within a field": "HTTP/1.1 200 OK\r\ncontent-le",
            "before the empty line": "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
        }.items():
            yield Answer(f"{end} {name}", words.encode(), Bad(), ends=end)
        for name, words in {
            "before the body": answer("content-length: 5"),
            "within the body": answer("content-length: 5", body="hel"),
            "before the first chunk": answer("transfer-encoding: chunked"),
            "within a chunk": answer("transfer-encoding: chunked", body="5\r\nhel"),
            "behind a chunk": answer("transfer-encoding: chunked", body="5\r\nhello\r\n"),
            "behind the last size": answer("transfer-encoding: chunked", body="5\r\nhello\r\n0\r\n"),
        }.items():
            yield Answer(f"{end} {name}", words, Torn(), ends=end)
        for name, tail in TEARS.items():
            words = (STREAM + CHUNK).encode() + tail.encode("latin-1")
            yield Answer(f"stream, {end} {name}", words, Broken(("truncated", "upstream_reset")), ends=end)
    yield Answer("a body up to the end", answer(body="all of it"), Good(200, b"all of it"), ends="fin")
    yield Answer("a body up to a reset", answer(body="all of it"), Torn(), ends="rst")


def lengths():
    for name, value in LENGTHS.items():
        yield Answer(f"length, {name}", answer(f"content-length: {value}", body="hello"), Bad())
    yield Answer("length, two that differ", answer("content-length: 5", "content-length: 6", body="hello"), Bad())
    yield Answer("length, two alike", answer("content-length: 5", "content-length: 5", body="hello"), Good(200, b"hello"))
    yield Answer("length, a list alike", answer("content-length: 5, 5", body="hello"), Good(200, b"hello"))
    yield Answer("length, zeros in front", answer("content-length: 005", body="hello"), Good(200, b"hello"))
    for name, fields in CODINGS.items():
        yield Answer(f"coding, {name}", answer(*fields, body="5\r\nhello\r\n" + END), Bad())
    in_old = answer("transfer-encoding: chunked", line="HTTP/1.0 200 OK", body="5\r\nhello\r\n" + END)
    yield Answer("coding, in HTTP/1.0", in_old, Bad())
    for name, field_line in FIELDS.items():
        yield Answer(f"field, {name}", answer(field_line, "content-length: 5", body="hello"), Bad())
    yield Answer("field, 20,000", answer(*["x: y"] * 20_000), Bad())
    yield Answer("field, 8 MiB", answer(*[f"x: {'y' * 8000}"] * 1000), Bad())
    yield Answer("field, 200", answer(*["x: y"] * 199, "content-length: 0"), Good(200, b""))


def bodies():
    """Body lengths, hop-by-hop headers, redirects. A connection with bytes after a response is not used again."""
    for method, status in (("GET", "204 No Content"), ("GET", "304 Not Modified"), ("HEAD", "200 OK")):
        for length in ("content-length: 4", "transfer-encoding: chunked", "x: y"):
            body = "4\r\nevil\r\n" + END if "chunked" in length else "evil"
            words = answer(length, line=f"HTTP/1.1 {status}", body=body)
            yield Answer(f"body, {method} {status}, {length}", words, Good(int(status[:3]), b"", kept=False), method)
    yield Answer("body, longer than its length", answer("content-length: 2", body="okevil"), Good(200, b"ok", kept=False))
    yield Answer("body, an answer behind it", answer("content-length: 2", body="ok") + LATE.encode(), Good(200, b"ok", kept=False))
    whole = answer("transfer-encoding: chunked", body="2\r\nok\r\n" + END)
    yield Answer("body, chunks", whole, Good(200, b"ok", kept=True))
    yield Answer("body, an answer behind chunks", whole + LATE.encode(), Good(200, b"ok", kept=False))
    yield Answer("body, garbage behind chunks", whole + b"\0", Good(200, b"ok", kept=False))
    yield Answer("body, of length 2", answer("content-length: 2", body="ok"), Good(200, b"ok", kept=True))
    closing = answer("content-length: 2", "connection: close", body="ok")
    yield Answer("body, the connection closes", closing, Good(200, b"ok", kept=False))
    old = answer("content-length: 2", line="HTTP/1.0 200 OK", body="ok")
    yield Answer("body, of HTTP/1.0", old, Good(200, b"ok", kept=False))
    for name in ("connection", "keep-alive", "proxy-connection", "te", "upgrade", "x-own"):
        value = "x-own" if name == "connection" else "x"
        words = answer("connection: x-own", f"{name}: {value}", "content-length: 2", body="ok")
        yield Answer(f"hop, {name} ends here", words, Good(200, b"ok", {name: None}))
    for status in ("301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"):
        words = answer("location: http://127.0.0.1:1/evil", "content-length: 2", line=f"HTTP/1.1 {status}", body="ok")
        location = {"location": "http://127.0.0.1:1/evil"}
        yield Answer(f"redirect, {status} is not followed", words, Good(int(status[:3]), b"ok", location))


def streams():
    for size in SIZES:
        words = STREAM + CHUNK + f"{size}\r\nhello\r\n{END}"
        yield Answer(f"stream, a size of {size!r}", words.encode("latin-1"), Broken(("upstream_error",)))
    for name, tail in FRAMES.items():
        yield Answer(f"stream, {name}", (STREAM + CHUNK + tail).encode("latin-1"), Broken(("upstream_error",)))


def cases():
    yield from lines()
    yield from ends()
    yield from lengths()
    yield from bodies()
    yield from streams()
