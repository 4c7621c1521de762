"""An independent SSE parser, to compare bodies by their events, whatever their framing."""

import json
import re
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One SSE block: its name, its joined data lines, its id. Absent fields are None."""

    name: str | None
    data: str | None
    id: str | None = None

    def json(self) -> Any:
        return json.loads(self.data or "null")


def blocks(text: str) -> tuple[list[str], str]:
    """Returns the complete blocks, with line ends normalised to LF, and the rest after the last one."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    *whole, rest = text.split("\n\n")
    return whole, rest


def parse(block: str) -> Event | None:
    """Returns None for a block of comments only. A block without data is an event: LangServe ends with one."""
    fields: dict[str, list[str]] = {}
    for line in block.split("\n"):
        if not line or line.startswith(":"):
            continue
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.removeprefix(" "))
    if not fields.keys() & {"event", "data"}:
        return None
    data = "\n".join(fields["data"]) if "data" in fields else None
    return Event(fields.get("event", [None])[-1], data, fields.get("id", [None])[-1])


def events(body: bytes | str) -> list[Event]:
    """Returns all complete events of a body."""
    text = body.decode() if isinstance(body, bytes) else body
    whole, _ = blocks(text)
    return [event for event in map(parse, whole) if event]


def comments(body: bytes) -> list[str]:
    return re.findall(r"^:(.*)$", body.decode(), re.MULTILINE)


def content(event: Event) -> str:
    """Returns the text of an event in the convention dialect or in OpenAI's, or an empty string."""
    if event.data is None or not event.data.startswith("{"):
        return ""
    data = event.json()
    if "choices" in data:
        return "".join(choice["delta"].get("content") or "" for choice in data["choices"])
    return data.get("content", "") if data.get("type") == "token" else ""
