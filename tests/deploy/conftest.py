"""Fixtures that check the files in deploy/ with the real tools."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/weir"
WEIR = Path(os.environ.get("WEIR_BIN") or ROOT / "target/debug/weir").resolve()
KUSTOMIZE = os.environ.get("KUSTOMIZE") or ROOT / ".cache/kustomize/usr/bin/kustomize"
# The oldest version with native sidecars, and the newest version that the validator knows.
VERSIONS = ("1.29.0", kubernetes_validate.latest_version())
# The API group of the Prometheus operator, which the Kubernetes validator does not know.
OPERATOR = "monitoring.coreos.com/v1"

Object = dict[str, Any]


def tool(name: str) -> str:
    """Returns the path of a program installed next to this Python."""
    return str(Path(sys.executable).with_name(name))


def run(*command: str | Path, stdin: str | None = None, **settings: Any) -> str:
    """Runs a command and returns its standard output. A failure raises an error with all of its output."""
    done = subprocess.run([str(part) for part in command], input=stdin, capture_output=True, text=True, **settings)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}"
    return done.stdout


def fails(*command: str | Path) -> str:
    """Runs a command that must fail, and returns its output."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def objects(text: str) -> list[Object]:
    return [one for one in yaml.safe_load_all(text) if one]


def only(found: list[Object], kind: str, name: str | None = None) -> Object:
    [one] = [one for one in found if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    return one


def kinds(found: list[Object]) -> list[str]:
    return sorted(one["kind"] for one in found)


def valid(found: list[Object]) -> None:
    """Validates objects against the schemas of Kubernetes and of the Prometheus operator."""
    for one in found:
        for version in VERSIONS if one["apiVersion"] != OPERATOR else ():
            kubernetes_validate.validate(one, version, strict=True)
    if theirs := [one for one in found if one["apiVersion"] == OPERATOR]:
        run("node", Path(__file__).parent / "node/operator.mjs", stdin=json.dumps(theirs))


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """`checked(weir.yaml)` returns the output of `weir check`."""

    def check(config: str) -> str:
        file = tmp_path_factory.mktemp("config") / "weir.yaml"
        file.write_text(config)
        return run(WEIR, "check", file)

    return check


@pytest.fixture(scope="session")
def template() -> Callable[..., list[Object]]:
    """`template(values)` returns the objects that Helm renders from the chart."""

    def render(values: Object, *flags: str) -> list[Object]:
        return objects(run(*helm_template(values), *flags))

    return render


def helm_template(values: Object, release: str = "weir") -> list[str | Path]:
    # Passed value by value as JSON, because `--values -` would occupy standard input.
    sets = [part for key, value in values.items() for part in ("--set-json", f"{key}={json.dumps(value)}")]
    return [tool("helm"), "template", release, CHART, *sets]
