"""What did a client see?"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Result:
    """The events as the client library shows them, their text, and how it ended."""

    events: list[Any] = field(default_factory=list)
    text: str = ""
    # What the library raised or reported: all its words, in one string.
    error: str | None = None
    # The moment just before the client was told to leave, on the clock that backends use.
    left_at: float | None = None
