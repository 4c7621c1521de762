"""Runs a real Prometheus on Weir's metrics, from Debian's package, which is unpacked but not installed."""

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from support.process import ROOT, Child
from support.wait import until

PROGRAMS = ROOT / ".cache/prometheus/usr/bin"


def promtool(*words: str) -> str:
    """Returns the output of promtool, which must succeed."""
    done = subprocess.run([PROGRAMS / "promtool", *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Prometheus:
    """A Prometheus that scrapes `address`, keeps exemplars, and evaluates the shipped rules every half second."""

    def __init__(self, folder: Path, address: str):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        config = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(ROOT / "deploy/prometheus/rules.yaml")],
            "scrape_configs": [{"job_name": "weir", "static_configs": [{"targets": [address], "labels": {"namespace": "test"}}]}],
        }
        file = folder / "prometheus.yml"
        file.write_text(json.dumps(config))
        self.child = Child(
            [
                str(PROGRAMS / "prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--enable-feature=exemplar-storage",
            ]
        )
        self.child.line("that it is ready", lambda line: "Server is ready to receive web requests" in line)

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Returns the samples of an instant query."""
        return self._ask("query", query=expr)["result"]

    def exemplars(self, expr: str) -> list[dict[str, Any]]:
        """Returns the exemplars of the series of a query, of the last minutes."""
        now = time.time()
        return self._ask("query_exemplars", query=expr, start=str(now - 600), end=str(now + 60))

    def targets(self) -> list[dict[str, Any]]:
        """Returns what is scraped, and how the last scrape went."""
        return self._ask("targets")["activeTargets"]

    def _ask(self, path: str, **parameters: str) -> Any:
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as response:
            said = json.load(response)
        assert said["status"] == "success", said
        return said["data"]

    def scraped(self, times: int) -> None:
        """Waits for this many further scrapes."""
        count = "sum(scrape_samples_scraped * 0 + count_over_time(up[1h]))"
        before = float((self.query(count) or [{"value": [0, "0"]}])[0]["value"][1])
        until("scrapes", lambda: float((self.query(count) or [{"value": [0, "0"]}])[0]["value"][1]) >= before + times)

    def close(self) -> None:
        self.child.stop()
