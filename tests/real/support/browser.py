"""A page in a real browser, which a test uses step by step."""

import json
import os
import subprocess
from types import TracebackType
from typing import Any

from support.process import REAL
from support.wait import until


class Browser:
    """A page. `with Browser(url) as page:` closes it at the end."""

    def __init__(self, url: str, width: int = 1200, height: int = 900, scheme: str = "light"):
        task = {"width": width, "height": height, "scheme": scheme}
        self._node = subprocess.Popen(
            ["node", "browse.mjs", json.dumps(task)],
            cwd=REAL / "node",
            env=dict(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.do("goto", url)

    def do(self, verb: str, given: Any = None) -> Any:
        assert self._node.stdin and self._node.stdout
        self._node.stdin.write(json.dumps([verb, given]) + "\n")
        self._node.stdin.flush()
        line = self._node.stdout.readline()
        assert line, f"the browser ended at `{verb}`"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def value(self, expression: str) -> Any:
        """Returns the value of an expression in the page."""
        return self.do("value", expression)

    def text(self, selector: str) -> str:
        return self.value(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    def rows(self, table: str) -> list[dict[str, str]]:
        """Returns the rows of a table, by the titles of its columns."""
        return self.value(
            f"[...document.querySelectorAll('#{table} tbody tr')].map((row) =>"
            " Object.fromEntries([...row.cells].map((cell) => [cell.dataset.label, cell.textContent])))"
        )

    def until_rows(self, table: str, count: int) -> list[dict[str, str]]:
        """Returns the rows of a table once there are so many."""
        until(f"{count} rows in {table}", lambda: len(self.rows(table)) == count)
        return self.rows(table)

    def click(self, selector: str) -> None:
        self.do("click", selector)

    def fill(self, selector: str, text: str) -> None:
        self.do("fill", [selector, text])

    def close(self) -> None:
        assert self._node.stdin
        self._node.stdin.close()
        try:
            self._node.wait(20)
        except subprocess.TimeoutExpired:
            self._node.kill()
            self._node.wait()

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
