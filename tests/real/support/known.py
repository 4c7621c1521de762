"""Starts and queries the agent whose events are known (`backends/known.py`)."""

import json
from urllib.request import Request, urlopen

from support.backend import Backend
from support.process import python


class Known(Backend):
    """The agent, in a process of its own."""

    def __init__(self) -> None:
        super().__init__(python("-m", "backends.known"), r'"port": (\d+)')

    def go(self) -> None:
        """Lets all runs go on that wait (`hold`)."""
        with urlopen(Request(f"{self.url}/_go", method="POST"), timeout=30):
            pass

    def runs(self) -> dict[str, int]:
        """Returns how many runs have started, and how many of these have finished."""
        with urlopen(f"{self.url}/_runs", timeout=30) as response:
            return json.load(response)
