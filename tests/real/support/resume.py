"""What the tests of resume share: the configuration, the endpoint of a stream, and its ids."""

import re
from typing import Any

from support.raw import Raw
from support.sse import Event

# Long enough that no run ends because its client is away for a moment.
GRACE = {"grace": "30s"}
RESUME: dict[str, Any] = {"resume": {}, "on_disconnect": GRACE}


def stream_path(stream: str) -> str:
    return f"/.weir/streams/{stream}"


def rest(url: str, stream: str, after: int | str | None = None, **headers: str) -> Raw:
    """Asks for what follows event `after` of a stream."""
    query = "" if after is None else f"?after={after}"
    return Raw(url).get(stream_path(stream) + query, **headers)


def stop(url: str, stream: str, **headers: str) -> int:
    """Stops a stream, and returns the status of the answer."""
    with Raw(url).send("DELETE", stream_path(stream), **headers).read_head() as client:
        return client.status


def numbers(events: list[Event], stream: str) -> list[int]:
    """Returns the numbers in the ids of events. Fails if one has another form."""
    found = [re.fullmatch(rf"{stream}\.([1-9][0-9]*)", event.id or "") for event in events]
    assert all(found), [event.id for event in events]
    return [int(match[1]) for match in found if match]
