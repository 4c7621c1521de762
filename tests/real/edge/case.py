"""A request to a proxy, and what the proxy must do with it to prevent request smuggling."""

from dataclasses import dataclass, field

HOST = "host: h.test"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: h.test\r\n\r\n"


@dataclass(frozen=True)
class Refused:
    """The response has one of these statuses. The upstream gets nothing, and no request behind this one is served."""

    statuses: tuple[int, ...] = (400,)
    # Whether the connection may stay open, because it is certain where the request ends.
    may_go_on: bool = False


@dataclass(frozen=True)
class Passes:
    """The request is forwarded in a form that all servers parse alike."""

    line: str = ""
    fields: dict[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    # Whether the connection closes after the response; `None` if either is allowed.
    closes: bool | None = None


@dataclass(frozen=True)
class Cut:
    """The body is cut off: the upstream may get the beginning of the request, but never its end."""


Outcome = Refused | Passes | Cut


@dataclass(frozen=True)
class Case:
    name: str
    words: bytes
    outcome: Outcome
    # Whether the client closes its sending side after the bytes (FIN).
    leaves: bool = False


def bytes_of(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def head(line: str | bytes = "GET /case HTTP/1.1", *fields: str | bytes, host: str | bytes | None = HOST) -> bytes:
    lines = [line, *([host] if host is not None else []), *fields]
    return b"".join(bytes_of(one) + b"\r\n" for one in lines) + b"\r\n"


def post(*fields: str | bytes, body: bytes | str = b"", line: str = "POST /case HTTP/1.1") -> bytes:
    return head(line, *fields) + bytes_of(body)


def chunked(body: bytes | str, *fields: str | bytes) -> bytes:
    return post("transfer-encoding: chunked", *fields, body=body)
