"""The length of a request body: a request whose length is ambiguous is refused."""

from edge.case import SMUGGLED, Case, Cut, Passes, Refused, chunked, head, post

WHOLE = b"5\r\nhello\r\n0\r\n\r\n"

# Characters that attackers put around the name and the value of Transfer-Encoding (request smuggling).
CONTROLS = {"tab": "\t", "vertical tab": "\x0b", "form feed": "\x0c", "CR": "\r", "NUL": "\0", "backspace": "\b"}
CONTROLS |= {"escape": "\x1b", "unit separator": "\x1f", "DEL": "\x7f", "NEL": "\x85", "no-break space": "\xa0", "ff": "\xff"}
PLACES = {
    "before the colon": "transfer-encoding{}: chunked",
    "in front of the name": "{}transfer-encoding: chunked",
    "in the name": "transfer{}-encoding: chunked",
    "before the value": "transfer-encoding:{}chunked",
    "in the value": "transfer-encoding: chun{}ked",
    "behind the value": "transfer-encoding: chunked{}",
}
# A tab before or after a value is optional white space (RFC 9110, 5.5).
HARMLESS = {("tab", "before the value"), ("tab", "behind the value")}

CODINGS = {
    "another": "transfer-encoding: xchunked",
    "a longer one": "transfer-encoding: chunkedx",
    "identity": "transfer-encoding: identity",
    "gzip": "transfer-encoding: gzip",
    "gzip and chunked": "transfer-encoding: gzip, chunked",
    "chunked and identity": "transfer-encoding: chunked, identity",
    "identity and chunked": "transfer-encoding: identity, chunked",
    "chunked twice": "transfer-encoding: chunked, chunked",
    "chunked in two fields": "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "chunked and another field": "transfer-encoding: chunked\r\nTransfer-Encoding: x",
    "another field and chunked": "transfer-encoding: x\r\ntransfer-encoding: chunked",
    "an empty field and chunked": "transfer-encoding:\r\ntransfer-encoding: chunked",
    "a comma in front": "transfer-encoding: ,chunked",
    "a comma behind": "transfer-encoding: chunked,",
    "quotes": 'transfer-encoding: "chunked"',
    "single quotes": "transfer-encoding: 'chunked'",
    "a parameter": "transfer-encoding: chunked;q=1",
    "a semicolon": "transfer-encoding: chunked;",
    "empty": "transfer-encoding:",
    "cow": "transfer-encoding: cow",
    "folded": "transfer-encoding:\r\n chunked",
    "folded by a tab": "transfer-encoding:\r\n\tchunked",
    "folded behind": "transfer-encoding: chunked\r\n , identity",
    "folded from the field before": "x: y\r\n transfer-encoding: chunked",
    "hidden behind a CR": "x: y\rtransfer-encoding: chunked",
    "a space before the colon": "transfer-encoding : chunked",
    "no colon": "transfer-encoding chunked",
}

LENGTHS = {
    "a plus": "+5",
    "a minus": "-5",
    "minus zero": "-0",
    "hexadecimal": "0x5",
    "two words": "5 5",
    "a list": "5, 17",
    "a fraction": "5.0",
    "an exponent": "5e0",
    "an underscore": "5_0",
    "letters behind": "5x",
    "letters": "five",
    "empty": "",
    "a comma": ",",
    "a comma behind": "5,",
    "a comma in front": ",5",
    "a semicolon": "5;",
    "quotes": '"5"',
    "beyond 64 bits": "18446744073709551621",
    "sixty digits": "9" * 60,
    "a NUL behind": "5\0",
    "a vertical tab in front": "\x0b5",
    "a form feed behind": "5\x0c",
    "a no-break space": "\xa05",
    "a CR": "5\r6",
    "digits of another script": "\xb2",
}

DOUBLED = {
    "that differ": ("content-length: 5", "content-length: 6"),
    "of which one is empty": ("content-length:", "content-length: 5"),
    "of which the second is empty": ("content-length: 5", "content-length:"),
    "of which one has a plus": ("content-length: 5", "content-length: +5"),
    "far apart": ("content-length: 0", "x: y", "Content-Length: 5"),
}


def codings():
    for control, byte in CONTROLS.items():
        for place, form in PLACES.items():
            name = f"coding, a {control} {place}"
            if (control, place) in HARMLESS:
                yield Case(name, post(form.format(byte), body=WHOLE), Passes(body=b"hello"))
            else:
                # A server that ignores this header uses `Content-Length`, and finds another request after the body.
                yield Case(name, post(form.format(byte), "content-length: 5", body=WHOLE) + SMUGGLED, Refused((400, 501)))
    for name, field in CODINGS.items():
        yield Case(f"coding, {name}", post(field, body=WHOLE) + SMUGGLED, Refused((400, 501)))
    # This is a different header, which does not affect the length.
    yield Case("coding, an underscore", post("transfer_encoding: chunked"), Passes(body=b""))
    for line in ("POST", "GET", "OPTIONS", "HEAD", "DELETE"):
        field = "transfer-encoding: chunked"
        words = post(field, body=WHOLE, line=f"{line} /case HTTP/1.1")
        yield Case(f"coding, {line} with chunks", words, Passes(body=b"hello"))
    yield Case("coding, in capitals", post("TRANSFER-ENCODING: CHUNKED", body=WHOLE), Passes(body=b"hello"))
    yield Case("coding, in HTTP/1.0", post("transfer-encoding: chunked", body=WHOLE, line="POST /case HTTP/1.0"), Refused())


def lengths():
    for name, value in LENGTHS.items():
        yield Case(f"length, {name}", post(f"content-length: {value}", body="hello") + SMUGGLED, Refused())
    for name, fields in DOUBLED.items():
        yield Case(f"length, two {name}", post(*fields, body="hello") + SMUGGLED, Refused())
    yield Case("length, a space before the colon", post("content-length : 5", body="hello") + SMUGGLED, Refused())
    yield Case("length, folded", post("content-length:\r\n 5", body="hello") + SMUGGLED, Refused())
    yield Case("length, in the field before", post("x: y\r\n content-length: 5", body="hello") + SMUGGLED, Refused())
    # Longer than the part of a line that Weir examines. Refused if the line arrived in two parts, otherwise accepted.
    yield Case("length, 100 zeros in front", post(f"content-length: {'0' * 100}5", body="hello"), Passes(body=b"hello"))
    for zeros in ("05", "0000000005"):
        yield Case(f"length, {zeros}", post(f"content-length: {zeros}", body="hello"), Passes(body=b"hello"))
    # Two equal lengths may be accepted as one, or refused (RFC 9110, 8.6).
    alike = post("content-length: 5", "content-length: 5", body="hello")
    yield Case("length, two alike", alike, Passes(body=b"hello", fields={"content-length": "5"}))
    for method in ("POST", "GET", "OPTIONS", "HEAD", "DELETE", "PUT", "PATCH"):
        words = post("content-length: 5", body="hello", line=f"{method} /case HTTP/1.1")
        yield Case(f"length, {method} with a body", words, Passes(body=b"hello"))
        hidden = post(f"content-length: {len(SMUGGLED)}", body=SMUGGLED, line=f"{method} /case HTTP/1.1")
        yield Case(f"length, {method} with a request for a body", hidden, Passes(body=SMUGGLED))
    yield Case("length, zero", post("content-length: 0"), Passes(body=b""))
    yield Case("length, none", post(), Passes(body=b""))
    yield Case("length, HTTP/1.0", post("content-length: 5", body="hello", line="POST /case HTTP/1.0"), Passes(body=b"hello"))
    yield Case("length, the client leaves within", post("content-length: 9", body="hello"), Cut(), leaves=True)
    yield Case("length, the client leaves before the body", post("content-length: 9"), Cut(), leaves=True)


def both():
    """A length together with a transfer coding is refused (RFC 9112, 6.1), in either order and with any values."""
    coding = "transfer-encoding: chunked"
    for length in ("0", "5", "15", "100", "+5", "5, 6"):
        for order, fields in {"first": (f"content-length: {length}", coding), "last": (coding, f"content-length: {length}")}.items():
            yield Case(f"both, a length of {length} {order}", post(*fields, body=WHOLE) + SMUGGLED, Refused())
    yield Case("both, a hidden request in the chunks' tail", post("content-length: 5", coding, body=b"0\r\n\r\n" + SMUGGLED), Refused())
    for method in ("GET", "OPTIONS", "HEAD"):
        words = post("content-length: 5", coding, body=WHOLE, line=f"{method} /case HTTP/1.1")
        yield Case(f"both, {method}", words + SMUGGLED, Refused())
    yield Case("both, in HTTP/1.0", post("content-length: 5", coding, body=WHOLE, line="POST /case HTTP/1.0") + SMUGGLED, Refused())


SIZES = {
    "hexadecimal with a prefix": "0x5",
    "negative": "-5",
    "with a plus": "+5",
    "with a space in front": " 5",
    "with a tab in front": "\t5",
    "with a word behind": "5 x",
    "with an underscore": "0_5",
    "beyond 64 bits": "10000000000000005",
    "of 17 zeros and more": "F" * 20,
    "with a letter": "g",
    "empty": "",
    "with a dot": "5.0",
    "with a comma": "5,5",
    "with a NUL": "5\0",
    "with a CR": "5\r5",
    "with a vertical tab": "5\x0b",
    "with an h behind": "5h",
    "in quotes": '"5"',
}

EXTENSIONS = {
    "a LF in it": "5;x\nhello\r\n0\r\n\r\n",
    "a LF behind it": "5;\nhello\r\n0\r\n\r\n",
    "a CR in it": "5;x\ry\r\nhello\r\n0\r\n\r\n",
    "two CRs": "5\r\r;a\nhello\r\n0\r\n\r\n",
    "a NUL in it": "5;x\0\r\nhello\r\n0\r\n\r\n",
    "a CR before the semicolon": "5\r;x\r\nhello\r\n0\r\n\r\n",
}

ENDS = {
    "the data end with LF": "5\r\nhello\n0\r\n\r\n",
    "the data end with CR": "5\r\nhello\r0\r\n\r\n",
    "the data end with nothing": "5\r\nhello0\r\n\r\n",
    "the data end with a space": "5\r\nhello \r\n0\r\n\r\n",
    "the data are longer": "5\r\nhello!\r\n0\r\n\r\n",
    "the data are shorter": "6\r\nhello\r\n0\r\n\r\n",
    "the size ends with LF": "5\nhello\r\n0\r\n\r\n",
    "the size ends with CR": "5\rhello\r\n0\r\n\r\n",
    "the size ends with two CRs": "5\r\r\nhello\r\n0\r\n\r\n",
    "the last size ends with LF": "5\r\nhello\r\n0\n\r\n",
    "the body ends with LF": "5\r\nhello\r\n0\r\n\n",
    "all of it ends with LF": "5\nhello\n0\n\n",
    "the body ends with a CR and a letter": "5\r\nhello\r\n0\r\n\rX",
    "an empty line in front": "\r\n5\r\nhello\r\n0\r\n\r\n",
    "an empty line between": "5\r\nhello\r\n\r\n0\r\n\r\n",
}

LEAVES = {
    "before the first size": "",
    "within a size": "1",
    "behind a size": "5\r\n",
    "within the data": "5\r\nhel",
    "behind the data": "5\r\nhello",
    "behind a chunk": "5\r\nhello\r\n",
    "behind the last size": "5\r\nhello\r\n0\r\n",
    "within a trailer": "5\r\nhello\r\n0\r\nx: y",
    "behind a trailer": "5\r\nhello\r\n0\r\nx: y\r\n",
}

WHOLE_CHUNKS = {
    "one chunk": ("5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "several chunks": ("1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", b"hello"),
    "no chunk": ("0\r\n\r\n", b""),
    "zeros in front": ("0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    "capitals": ("A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "small letters": ("a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "an extension": ("5;x\r\nhello\r\n0\r\n\r\n", b"hello"),
    "an extension with a value": ('5;x="a b"\r\nhello\r\n0;y=1\r\n\r\n', b"hello"),
    "a semicolon alone": ("5;\r\nhello\r\n0\r\n\r\n", b"hello"),
    "a line end in the data": ("7\r\nhe\r\nllo\r\n0\r\n\r\n", b"he\r\nllo"),
    "a last chunk in the data": ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
}


def chunks():
    for name, (body, whole) in WHOLE_CHUNKS.items():
        yield Case(f"chunks, {name}", chunked(body), Passes(body=whole))
    for name, size in SIZES.items():
        yield Case(f"chunks, a size {name}", chunked(f"{size}\r\nhello\r\n0\r\n\r\n") + SMUGGLED, Cut())
    for name, body in EXTENSIONS.items():
        yield Case(f"chunks, an extension: {name}", chunked(body) + SMUGGLED, Cut())
    for name, body in ENDS.items():
        yield Case(f"chunks, {name}", chunked(body) + SMUGGLED, Cut())
    for name, body in LEAVES.items():
        yield Case(f"chunks, the client leaves {name}", chunked(body), Cut(), leaves=True)
    yield Case("chunks, an extension of 1 MiB", chunked(f"5;{'x' * 1048576}\r\nhello\r\n0\r\n\r\n"), Cut())
    many = "".join(f"1;{'y' * 20}\r\nx\r\n" for _ in range(5000))
    yield Case("chunks, an extension on each of 5,000", chunked(many + "0\r\n\r\n"), Cut())
    yield Case("chunks, 5,000 without", chunked("1\r\nx\r\n" * 5000 + "0\r\n\r\n"), Passes(body=b"x" * 5000))
    yield Case("chunks, 200 KiB of trailers", chunked("0\r\n" + "x: y\r\n" * 34_000 + "\r\n"), Cut())
    yield Case("chunks, a long trailer", chunked(f"0\r\nx: {'y' * 200_000}\r\n\r\n"), Cut())


def cases():
    yield from codings()
    yield from lengths()
    yield from both()
    yield from chunks()
    # No request behind a refused one is served.
    yield Case("behind a bad field", head("GET /case HTTP/1.1", "x\0: y") + SMUGGLED, Refused())
