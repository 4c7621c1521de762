"""Tests of the package deploy/js/weir-client: its own tests, its size, and what it ships."""

import gzip
import json
import re
import subprocess

from support.process import ROOT

PACKAGE = ROOT / "deploy/js/weir-client"
# What its README promises.
LARGEST = 3_000


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass():
    files = sorted(str(path) for path in PACKAGE.glob("test/*.test.js"))
    said = run("node", "--test", "--test-reporter=tap", *files)
    passed = re.search(r"^# pass (\d+)$", said, re.MULTILINE)
    assert passed and int(passed[1]) >= 50, said


def test_it_is_small():
    assert len(gzip.compress((PACKAGE / "index.js").read_bytes(), 9)) < LARGEST


def test_it_ships_what_is_needed_and_nothing_else():
    [packed] = json.loads(run("npm", "pack", "--dry-run", "--json"))
    assert {file["path"] for file in packed["files"]} == {
        "LICENSE",
        "README.md",
        "index.d.ts",
        "index.js",
        "package.json",
    }


def test_the_types_name_what_is_exported():
    names = run("node", "--input-type=module", "--eval", 'console.log(Object.keys(await import("weir-client")).join())')
    typed = re.findall(r"^export function (\w+)", (PACKAGE / "index.d.ts").read_text(), re.MULTILINE)
    assert sorted(names.strip().split(",")) == sorted(typed)


def test_its_version_and_licence_are_those_of_weir():
    package = json.loads((PACKAGE / "package.json").read_text())
    cargo = (ROOT / "Cargo.toml").read_text()
    for key in ("version", "license"):
        wanted = re.search(rf'^{key} = "(.*)"$', cargo, re.MULTILINE)
        assert wanted and package[key] == wanted[1], key
    assert (PACKAGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "dependencies" not in package
