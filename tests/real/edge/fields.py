"""Headers and trailers of a request: their syntax, and which of them Weir removes."""

from edge.case import HOST, SMUGGLED, Case, Cut, Passes, Refused, chunked, head, post

NAMES = {
    "empty": ": y",
    "a space before the colon": "x : y",
    "a tab before the colon": "x\t: y",
    "a space in it": "x y: z",
    "a space in front": " x: y",
    "no colon": "x y",
    "nothing but a name": "x",
    "a NUL": "x\0: y",
    "a CR": "x\ry: z",
    "a DEL": "x\x7f: y",
    "an escape": "x\x1b: y",
    "an umlaut": "\xe4: y",
    "200,000 letters": f"{'x' * 200_000}: y",
} | {f"a {character}": f"x{character}y: z" for character in '()<>@,;\\"/[]?={}'}

VALUES = {
    "a NUL": "x: a\0b",
    "a CR": "x: a\rb",
    "a CR at its end": "x: a\r\r",
    "a backspace": "x: a\bb",
    "a vertical tab": "x: a\x0bb",
    "an escape": "x: a\x1b[2Jb",
    "a DEL": "x: a\x7fb",
    "folded": "x: a\r\n b",
    "folded by a tab": "x: a\r\n\tb",
    "folded to nothing": "x: a\r\n ",
    "200,000 letters": f"x: {'y' * 200_000}",
}

PLAIN = {
    "empty": ("x:", ""),
    "white space around": ("x: \t y \t ", "y"),
    "no white space": ("x:y", "y"),
    "a tab in it": ("x: a\tb", "a\tb"),
    "a colon": ("x: a:b", "a:b"),
    "quotes": ('x: "a, b"', '"a, b"'),
    "beyond ASCII": ("x: \xe4\xff", "\xe4\xff"),
    "an encoded line end": ("x: a%0d%0ay: b", "a%0d%0ay: b"),
    "a name in capitals": ("X: y", "y"),
}

# Weir removes hop-by-hop headers, and the headers that `Connection` names.
ENDING = {
    "named": (["connection: x", "x: y"], "x"),
    "named among others": (["connection: close, x", "x: y"], "x"),
    "named in capitals": (["connection: X", "x: y"], "x"),
    "named in a second field": (["connection: close", "connection: x", "x: y"], "x"),
    "named behind commas": (["connection: ,, x ,", "x: y"], "x"),
    "named with a tab": (["connection: close,\tx", "x: y"], "x"),
    "named, and there twice": (["connection: x", "x: y", "x: z"], "x"),
    "named beside what is no name": (["connection: a b, x", "x: y"], "x"),
    "a secret": (["connection: close, x-secret", "x-secret: y"], "x-secret"),
    "Connection": (["connection: close"], "connection"),
    "Keep-Alive": (["keep-alive: timeout=5"], "keep-alive"),
    "Proxy-Connection": (["proxy-connection: keep-alive"], "proxy-connection"),
    "TE": (["te: gzip"], "te"),
    "TE, named": (["connection: te", "te: gzip"], "te"),
    "HTTP2-Settings": (["connection: http2-settings", "http2-settings: AAMAAABk"], "http2-settings"),
    "Trailer, named": (["connection: trailer", "trailer: x"], "trailer"),
    "an offer of h2c": (["connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk"], "upgrade"),
    "an offer of h2c alone": (["upgrade: h2c"], "upgrade"),
}

# These headers frame or address the request, so naming them in `Connection` does not remove them.
STAYING = {
    "Host": (["connection: host"], "host", "h.test"),
    "Host, among others": (["connection: close, Host"], "host", "h.test"),
    "Content-Length": (["connection: content-length", "content-length: 5"], "content-length", "5"),
}

UPGRADES = {
    "WebSocket": ["connection: upgrade", "upgrade: websocket"],
    "WebSocket and another": ["connection: upgrade", "upgrade: websocket, foo"],
    "WebSocket without Connection": ["upgrade: websocket"],
    "another": ["connection: upgrade", "upgrade: foo"],
    "TLS": ["connection: upgrade", "upgrade: TLS/1.2"],
    "h2c and WebSocket": ["connection: upgrade", "upgrade: h2c, websocket"],
    "WebSocket in a second field": ["connection: upgrade", "upgrade: h2c", "upgrade: websocket"],
}

TRAILERS = ["content-length: 5", "transfer-encoding: chunked", "host: evil", "authorization: x", "cookie: x", "te: x"]
TRAILERS += ["connection: close", "content-type: x", "x-forwarded-for: 1.2.3.4", "trailer: x", "set-cookie: a=b"]
BAD_TRAILERS = {"no colon": "x", "a space before the colon": "x : y", "a NUL": "x: \0", "folded": "x: y\r\n z", "a CR": "x: a\rb"}


def syntax():
    for name, field in NAMES.items():
        yield Case(f"name, {name}", head("GET /case HTTP/1.1", field) + SMUGGLED, Refused((400, 431)))
    for name, field in VALUES.items():
        yield Case(f"value, {name}", head("GET /case HTTP/1.1", field) + SMUGGLED, Refused((400, 431)))
    for name, (field, value) in PLAIN.items():
        yield Case(f"value, {name}", head("GET /case HTTP/1.1", field), Passes(fields={"x": value}))
    yield Case("fields, a space in front of the first", head("GET /case HTTP/1.1", host=f" {HOST}") + SMUGGLED, Refused())
    yield Case("fields, 99", head("GET /case HTTP/1.1", *["x: y"] * 98), Passes(fields={"x": "y"}))
    yield Case("fields, 20,000", head("GET /case HTTP/1.1", *["x: y"] * 20_000), Refused((400, 431)))
    yield Case("fields, 8 MiB", head("GET /case HTTP/1.1", *[f"x: {'y' * 8000}"] * 1000), Refused((400, 431)))
    # A single LF is accepted as a line end (RFC 9112, 2.2) and forwarded as CRLF.
    bare = b"GET /case HTTP/1.1\nhost: h.test\nx: y\n\n"
    yield Case("fields, line ends of LF", bare, Passes(fields={"x": "y"}))
    yield Case("fields, line ends of CR", b"GET /case HTTP/1.1\rhost: h.test\r\r" + SMUGGLED, Refused())


def hop_by_hop():
    for name, (fields, gone) in ENDING.items():
        yield Case(f"hop, {name}", head("GET /case HTTP/1.1", *fields), Passes(fields={gone: None, "host": "h.test"}))
    for name, (fields, kept, value) in STAYING.items():
        body = "hello" if kept == "content-length" else ""
        yield Case(f"hop, {name} stays", post(*fields, body=body), Passes(fields={kept: value}, body=body.encode()))
    named = post("connection: transfer-encoding", "transfer-encoding: chunked", body="5\r\nhello\r\n0\r\n\r\n")
    yield Case("hop, chunks stay", named, Passes(body=b"hello"))
    yield Case("hop, keep-alive", head("GET /case HTTP/1.1", "connection: keep-alive"), Passes(closes=False))
    yield Case("hop, close", head("GET /case HTTP/1.1", "connection: close"), Passes(closes=True))
    yield Case("hop, close among others", head("GET /case HTTP/1.1", "connection: x, Close"), Passes(closes=True))
    for name, fields in UPGRADES.items():
        words = head("GET /case HTTP/1.1", *fields) + b"\x81\x85\0\0\0\0hello"
        yield Case(f"upgrade, {name}", words, Refused((400, 501), may_go_on=True))
    expect = "100-continue"
    yield Case("expect, with its body", post(f"expect: {expect}", "content-length: 5", body="hello"), Passes(body=b"hello"))
    for value in ("", "100-Continue", "100-continue,"):
        words = post(f"expect: {value}", "content-length: 5", body="hello")
        yield Case(f"expect, {value or 'nothing'}", words, Passes(body=b"hello"))
    for value in ("y 100-continue", "100-continue, x", "x", "100-continu"):
        words = post(f"expect: {value}", "content-length: 5", body="hello")
        yield Case(f"expect, {value}", words + SMUGGLED, Refused((417, 400)))


def trailers():
    """Trailers that frame, route or authorise a request are removed. A malformed trailer cuts the body off."""
    for trailer in TRAILERS:
        name = trailer.partition(":")[0]
        words = chunked(f"5\r\nhello\r\n0\r\n{trailer}\r\n\r\n")
        yield Case(f"trailer, {name}", words, Passes(fields={f"trailer:{name}": None}, body=b"hello"))
    announced = chunked("5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n", "trailer: x-sum", "te: trailers")
    yield Case("trailer, one of its own", announced, Passes(fields={"trailer:x-sum": "1"}, body=b"hello"))
    for name, trailer in BAD_TRAILERS.items():
        yield Case(f"trailer, {name}", chunked(f"5\r\nhello\r\n0\r\n{trailer}\r\n\r\n") + SMUGGLED, Cut())


def cases():
    yield from syntax()
    yield from hop_by_hop()
    yield from trailers()
