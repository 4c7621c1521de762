"""What the tests of several Weir processes with one store share."""

import json
import signal
from typing import Any

from backends import wire
from support import sse
from support.raw import Raw
from support.resume import numbers, rest
from support.wait import PATIENCE, until
from support.weir import Weir


def is_up(proxy: Weir) -> bool:
    """Reports whether Weir can use its store."""
    return proxy.metrics().value("weir_resume_store_up") == 1


def ready(*fleet: Weir, within: float = PATIENCE) -> None:
    """Waits until all of them can use their store."""
    until("the store is up", lambda: all(map(is_up, fleet)), within)


def state(proxy: Weir, stream: str, **headers: str) -> dict[str, Any]:
    """Returns the state of a stream; nothing if this instance does not know it."""
    with rest(proxy.url, stream, accept="application/json", **headers) as again:
        said = again.read_body()
        return json.loads(said) if again.status == 200 else {}


def known(proxy: Weir, stream: str, last: int, **headers: str) -> None:
    """Waits until this instance knows so many events of a stream: what another one stores takes a moment."""
    until(f"event {last} is known", lambda: state(proxy, stream, **headers).get("last", 0) >= last)


def over(proxy: Weir, stream: str, **headers: str) -> dict[str, Any]:
    """Waits until this instance knows the end of a stream. Returns its state."""

    def ended() -> dict[str, Any]:
        now = state(proxy, stream, **headers)
        return now if now.get("state") == "ended" else {}

    return until("the end is known", ended)


def text(events: list[sse.Event]) -> str:
    return "".join(map(sse.content, events))


def whole(events: list[sse.Event], stream: str, count: int) -> None:
    """Fails unless these are all events of the stream, each once and in order. Neighbours may have come as one."""
    assert text(events) == wire.text_of(count)
    seen = numbers(events, stream)
    assert seen == sorted(set(seen)), seen
    assert events[-1].name == "done"


def truthful(events: list[sse.Event], stream: str, count: int) -> None:
    """Fails unless these are all events of the stream, or its first ones and then an error."""
    if events and events[-1].name == "error":
        *events, _ = events
        assert wire.text_of(count).startswith(text(events))
        seen = numbers(events, stream)
        assert seen == sorted(set(seen)), seen
    else:
        whole(events, stream, count)


def run(proxy: Weir, count: int, **headers: str) -> str:
    """Runs an agent that says `count` words to its end, and returns the id of the stream."""
    with Raw(proxy.url).post("/agent", **headers) as client:
        stream = client.headers["weir-stream-id"]
        assert text(sse.events(client.read_body())) == wire.text_of(count)
    return stream


def read(proxy: Weir, stream: str, after: int | None = None, **headers: str) -> list[sse.Event]:
    """Returns what this instance has of a stream after event `after`, to its end."""
    with rest(proxy.url, stream, after, **headers) as again:
        assert again.status == 200, (again.status, again.read_body())
        return sse.events(again.read_body())


def kill(proxy: Weir) -> None:
    """Ends a process without a word to anybody."""
    proxy.child.signal(signal.SIGKILL)
    proxy.code = proxy.child.wait(5)
