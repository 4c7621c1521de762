"""Starts the backend programs, and controls and queries them."""

import json
import re
import time
from typing import Any
from urllib.request import Request, urlopen

from support.process import Child, python
from support.wait import until


class Backend:
    """A backend process. Tests reach its side channel directly, never through Weir."""

    def __init__(self, command: list[str], ready: str):
        self.child = Child(command)
        line = self.child.line("the port", lambda line: re.search(ready, line) is not None)
        match = re.search(ready, line)
        assert match
        self.url = f"http://127.0.0.1:{match[1]}"

    @classmethod
    def uvicorn(cls, module: str) -> "Backend":
        return cls(python("-m", "backends.serve", module), r'"port": (\d+)')

    @classmethod
    def gunicorn(cls, app: str, *flags: str) -> "Backend":
        command = ["-m", "gunicorn", "--bind", "127.0.0.1:0", "--graceful-timeout", "1", *flags, app]
        return cls(python(*command), r"Listening at: http://127\.0\.0\.1:(\d+)")

    def open(self, run: str, number: int = 1) -> None:
        """Lets `run` send `number` more events."""
        request = Request(f"{self.url}/_open?run={run}&n={number}", method="POST")
        with urlopen(request, timeout=10) as response:
            assert response.status == 200

    def seen(self, run: str) -> dict[str, Any]:
        """Returns the state of the newest stream named `run`, or an empty dictionary if there is none."""
        with urlopen(f"{self.url}/_seen", timeout=10) as response:
            mine = [one for one in json.load(response) if one["name"] == run]
        return mine[-1] if mine else {}

    def becomes(self, run: str, state: str) -> dict[str, Any]:
        """Waits until `run` is in `state`, and returns its record."""
        return until(f"{run} is {state}", lambda: self._in(run, state))

    def _in(self, run: str, state: str) -> dict[str, Any] | None:
        seen = self.seen(run)
        return seen if seen.get("state") == state else None

    def close(self) -> None:
        self.child.stop()


class Names:
    """Names for runs, unique within the test session."""

    def __init__(self) -> None:
        self._next = 0
        self._session = int(time.time())

    def __call__(self) -> str:
        self._next += 1
        return f"run{self._session}-{self._next}"
