"""Starts, queries and stops the real binary."""

import json
import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from support.metrics import Metrics
from support.process import ROOT, Child
from support.wait import until

BINARY = Path(os.environ.get("WEIR_BIN") or ROOT / "target/release/weir").resolve()


def config_for(upstream: str, **sections: Any) -> dict[str, Any]:
    """Returns a complete configuration with one upstream and one route named `all`, plus `sections`."""
    return {
        "listen": "127.0.0.1:0",
        "admin": {"listen": "127.0.0.1:0"},
        "drain": {"delay": "0s", "limit": "2s"},
        "upstreams": {"agent": {"endpoints": [upstream]}},
        "routes": [{"name": "all", "upstream": "agent"}],
        **sections,
    }


class Weir:
    """A running Weir process."""

    def __init__(self, *flags: str, under: Sequence[str] = ()):
        """Starts the binary with `flags`; with `under`, by this command, which ends by executing it."""
        assert BINARY.exists(), f"{BINARY} is missing: `cargo build --release`, or set WEIR_BIN"
        self.child = Child([*under, str(BINARY), *flags])
        self.code: int | None = None
        self.file = Path()
        self.address = self._listening("traffic")
        self.admin = self._listening("admin")
        self.url = f"http://{self.address}"

    def _listening(self, listener: str) -> str:
        return self.logged("listening", listener=listener)["address"]

    def logs(self) -> list[dict[str, Any]]:
        """Returns all log lines so far. Fails if one is not JSON, such as a panic message."""
        return [json.loads(line) for line in list(self.child.lines)]

    def logged(self, message: str, **fields: Any) -> dict[str, Any]:
        """Returns the first log line, past or future, with this message and these fields."""
        wanted = {"message": message, **fields}

        def matches(line: str) -> bool:
            return wanted.items() <= json.loads(line).items()

        return json.loads(self.child.line(f"log line {wanted}", matches))

    def ended(self, **fields: Any) -> dict[str, Any]:
        """Returns the log line of a finished stream."""
        return self.logged("stream ended", **fields)

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Sends a request to the admin listener. Returns the status and the body."""
        request = Request(f"http://{self.admin}{path}", method=method)
        try:
            with urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self) -> Metrics:
        status, text = self.ask("/metrics")
        assert status == 200, text
        return Metrics(text)

    def streams(self) -> list[dict[str, Any]]:
        """Returns the live streams."""
        body = json.loads(self.ask("/streams")[1])
        return body["streams"] if isinstance(body, dict) else body

    def outcomes(self, **expected: int) -> None:
        """Waits until exactly these outcomes are counted, and no stream is active."""
        seen: list[Any] = []

        def equal() -> bool:
            metrics = self.metrics()
            seen[:] = [metrics.by("weir_streams_total", "outcome")]
            return seen[0] == expected and metrics.value("weir_streams_active") == 0

        try:
            until(f"outcomes {expected}", equal)
        except AssertionError as error:
            raise AssertionError(f"{error}; counted {seen}") from None

    def rss(self) -> int:
        """Returns the resident memory of the process in bytes."""
        return self._memory("VmRSS")

    def peak(self) -> int:
        """Returns the peak resident memory since `forget_peak`, in bytes."""
        return self._memory("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.child.pid}/clear_refs").write_text("5")

    def _memory(self, name: str) -> int:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        match = re.search(rf"{name}:\s+(\d+) kB", status)
        assert match
        return int(match[1]) * 1024

    def hang_up(self) -> None:
        self.child.signal(signal.SIGHUP)

    def reload(self, config: dict[str, Any]) -> None:
        """Replaces the configuration file atomically, and waits until the new configuration is in force."""
        before = self._reloads()
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(config))
        fresh.rename(self.file)
        self.hang_up()
        until("the new configuration", lambda: self._reloads() > before)

    def _reloads(self) -> float:
        return self.metrics().value("weir_config_reloads_total", result="ok")

    def terminate(self) -> None:
        self.child.signal(signal.SIGTERM)

    def stopped(self, within: float = 15.0) -> int:
        """Waits until the process ends, and returns its exit code."""
        if self.code is None:
            self.code = self.child.wait(within)
        return self.code

    def close(self) -> None:
        """Stops the process with SIGTERM, as an operator would, and fails unless it exits with 0."""
        if self.code is None:
            if self.child.exited() is None:
                self.terminate()
            try:
                assert self.stopped() == 0, f"exit code {self.code}"
            finally:
                print(*self.child.lines, sep="\n")
            self.logs()


Start = Callable[..., Weir]
