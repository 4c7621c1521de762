"""One message to a proxy, and what a proxy that lets nobody be misled makes of it."""

from dataclasses import dataclass, field

HOST = "host: h.test"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: h.test\r\n\r\n"


@dataclass(frozen=True)
class Refused:
    """An answer with one of these statuses. The upstream hears nothing, and nothing behind it is served."""

    statuses: tuple[int, ...] = (400,)
    # Whether the connection may go on: where the message's end is certain.
    may_go_on: bool = False


@dataclass(frozen=True)
class Passes:
    """Forwarded in the one spelling that everyone reads alike."""

    line: str = ""
    fields: dict[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    # The connection closes behind the answer.
    closes: bool | None = None


@dataclass(frozen=True)
class Cut:
    """The body breaks: the upstream may see a beginning, and never an end."""


Outcome = Refused | Passes | Cut


@dataclass(frozen=True)
class Case:
    name: str
    words: bytes
    outcome: Outcome
    # The client says no more: FIN behind the words.
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
