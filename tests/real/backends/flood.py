"""A flood that no client can keep up with: megabytes of short tokens, with a tool call every so often."""

import json
from collections.abc import Iterator

from backends import wire
from backends.scripted import Connection

WORD = "drizzle "


def _delta(delta: dict[str, object]) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return wire.sse({**base, "choices": [choice]})


TOKEN = _delta({"content": WORD})


def tool_call(number: int) -> str:
    function = {"name": "wx", "arguments": json.dumps({"n": number})}
    call = {"index": number, "id": f"t{number}", "type": "function", "function": function}
    return _delta({"tool_calls": [call]})


def blocks(size: int, tools_every: int = 0) -> Iterator[str]:
    """Yields about `size` bytes of stream, with a tool call after every `tools_every` tokens, then the regular end."""
    tokens = TOKEN * (tools_every or 100)
    for number in range(size // len(tokens)):
        yield tokens + (tool_call(number) if tools_every else "")
    yield wire.sse("[DONE]")


def whole(size: int, tools_every: int = 0) -> bytes:
    return "".join(blocks(size, tools_every)).encode()


def pour(connection: Connection, size: int, tools_every: int) -> None:
    connection.head()
    for block in blocks(size, tools_every):
        connection.chunk(block)
    connection.end()
