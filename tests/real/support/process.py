"""Starts another program, reads its output, and ends exactly that program."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from support.wait import until

REAL = Path(__file__).resolve().parents[1]
ROOT = REAL.parents[1]


class Child:
    """A child process whose output lines (stdout and stderr) are kept."""

    def __init__(self, command: Sequence[str], cwd: Path = REAL, env: dict[str, str] | None = None):
        self.lines: list[str] = []
        self._popen = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.lines.append(line.rstrip("\n"))

    def line(self, what: str, accept: Callable[[str], bool]) -> str:
        """Returns the first line, past or future, for which `accept` returns true."""

        def look() -> str | None:
            found = next((line for line in list(self.lines) if accept(line)), None)
            if found is None and self._popen.poll() is not None:
                self._reader.join(5)
                found = next((line for line in self.lines if accept(line)), None)
                tail = "\n".join(self.lines[-20:])
                assert found is not None, f"exited before {what}:\n{tail}"
            return found

        return until(what, look)

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def exited(self) -> int | None:
        return self._popen.poll()

    def wait(self, within: float) -> int:
        """Returns the exit code. If the process does not end in time, kills it and fails the test."""
        try:
            code = self._popen.wait(within)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
            raise AssertionError(f"pid {self.pid} still ran {within} s after it was told to stop")
        self._reader.join(5)
        return code

    def stop(self) -> None:
        """Ends a helper process whose exit code does not matter."""
        if self.exited() is None:
            self.signal(signal.SIGTERM)
            try:
                self._popen.wait(5)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()


def python(*args: str) -> list[str]:
    return [sys.executable, *args]
