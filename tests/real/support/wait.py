"""Waits for conditions, each with a time limit. Tests never sleep for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# The longest time that a step may take on a busy machine, in seconds.
PATIENCE = 15.0


def until(what: str, condition: Callable[[], T], within: float = PATIENCE) -> T:
    """Returns the first true value of `condition`. Fails, and names `what`, if there is none in time."""
    limit = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < limit, f"not within {within} s: {what}"
        time.sleep(0.005)


def settled(what: str, number: Callable[[], int], for_s: float = 0.4) -> int:
    """Returns `number` once it has not changed for `for_s` seconds."""
    last, since = number(), time.monotonic()
    limit = since + PATIENCE
    while time.monotonic() - since < for_s:
        current = number()
        if current != last:
            last, since = current, time.monotonic()
        assert time.monotonic() < limit, f"never settled: {what}"
        time.sleep(0.01)
    return last
