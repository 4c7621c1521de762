"""The result of a client: what it saw of a stream."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Result:
    """The events as the client library shows them, their text, and how the stream ended."""

    events: list[Any] = field(default_factory=list)
    text: str = ""
    # The error that the library raised or reported, with its type, code and message in one string.
    error: str | None = None
    # The time just before the client was told to disconnect, on the clock that the backends use.
    left_at: float | None = None
