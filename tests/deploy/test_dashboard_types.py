"""Checks the dashboard against Grafana's own TypeScript types."""

from pathlib import Path

import pytest

from conftest import DEPLOY, fails, run

NODE = Path(__file__).parent / "node"
COMPILER = [NODE / "node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext",
            "--moduleResolution", "nodenext"]  # fmt: skip


IMPORT = 'import { type Dashboard, ThresholdsMode } from "@grafana/schema";\n'


@pytest.fixture
def typed():
    """`typed(json)` writes a file that declares the JSON to be a dashboard, next to the library with the types."""
    file = NODE / "dashboard.check.ts"

    def write(text):
        # The library declares this value as an enumeration, which does not accept a string.
        text = text.replace('"mode": "absolute"', '"mode": ThresholdsMode.Absolute')
        file.write_text(f'{IMPORT}export const it: Partial<Dashboard> = {text};\n')
        return file

    yield write
    file.unlink()


def test_it_is_a_dashboard(typed):
    run(*COMPILER, typed((DEPLOY / "grafana/weir.json").read_text()))


def test_the_types_notice_what_is_not_one(typed):
    wrong = (DEPLOY / "grafana/weir.json").read_text().replace('"gridPos"', '"gridpos"', 1)
    assert "gridpos" in fails(*COMPILER, typed(wrong))
