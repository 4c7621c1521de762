"""Runs `weir doctor`, and reads its report."""

import json
import subprocess
from typing import Any, NamedTuple

from support.weir import BINARY

# A run of the probe takes 5 to 20 s by itself.
LIMIT = 110


class Report(NamedTuple):
    """What `weir doctor --json` has found."""

    code: int
    json: dict[str, Any]
    said: str

    def ids(self, hop: int = -1) -> set[str]:
        """Returns the findings at one URL, the last one unless said otherwise."""
        return {finding["id"] for finding in self.json["hops"][hop]["findings"]}

    def own(self, hop: int = -1) -> set[str]:
        """Returns the findings that the URL before does not have."""
        findings = self.json["hops"][hop]["findings"]
        return {finding["id"] for finding in findings if not finding["inherited"]}

    @property
    def fault(self) -> tuple[str, str] | None:
        """Returns the URL at fault, and the finding."""
        fault = self.json["fault"]
        return fault and (fault["url"], fault["finding"])


def run(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(BINARY), "doctor", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, input=stdin)


def doctor(*args: str) -> Report:
    """Runs the doctor, and checks what is true of every report."""
    done = run("--json", *args)
    assert done.returncode in (0, 1), (done.returncode, done.stdout, done.stderr)
    report = Report(done.returncode, json.loads(done.stdout), done.stderr)
    assert report.code == (0 if report.json["ok"] else 1), report.json
    assert (report.fault is None) == report.json["ok"]
    print(json.dumps(report.json, indent=1))
    return report
