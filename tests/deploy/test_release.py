"""Checks that a release would be complete: the package for crates.io, the workflows, and the scripts for the rest."""

import json
import re
import subprocess

import pytest

from conftest import DEPLOY, ROOT, run, tool

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
SCRIPTS = [
    path
    for path in map(ROOT.joinpath, subprocess.check_output(["git", "ls-files"], text=True, cwd=ROOT).splitlines())
    if path.is_file() and path.read_bytes().startswith((b"#!/usr/bin/env bash", b"#!/bin/bash", b"#!/bin/sh"))
]


def test_the_package_is_whole_and_says_nothing_to_worry_about(tmp_path):
    command = ["cargo", "package", "--locked", "--no-verify", "--allow-dirty", "--target-dir", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    [crate] = tmp_path.glob("package/*.crate")
    assert crate.stat().st_size < 10_000_000, "crates.io takes no more"
    names = run("tar", "-tzf", crate).splitlines()
    inside = {name.split("/", 1)[1] for name in names}
    assert {"src/main.rs", "README.md", "LICENSE", "Cargo.lock", "docs/configuration.md", "deploy/weir.schema.json"} <= inside
    assert not any(name.startswith((".", "target", "tests/real", "tests/deploy")) for name in inside - {".cargo_vcs_info.json"})


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_is_one(file):
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", file)


def test_workflows_run_the_stages_that_there_are():
    defined = set(re.findall(r"^(\w+)\(\) \{", (ROOT / "tests/run").read_text(), re.M))
    listed = {word for file in WORKFLOWS for line in re.findall(r"stage: \[(.*)\]", file.read_text()) for word in re.split(r"[, ]+", line)}
    assert listed <= defined
    for group in ("all", "publish"):
        every = re.search(rf"^{group}=\(([\w ]+)\)$", (ROOT / "tests/run").read_text(), re.M)[1].split()
        assert set(every) <= listed, "whatever runs at home runs for each change"
    for script in re.findall(r"deploy/[\w/]+/build", "".join(file.read_text() for file in WORKFLOWS)):
        assert (ROOT / script).stat().st_mode & 0o111


def test_the_compose_file_is_one():
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose/compose.yaml")


def test_scripts_have_no_pitfalls():
    assert len(SCRIPTS) > 5
    run("shellcheck", *SCRIPTS)


def test_what_was_not_checked_is_the_last_that_a_run_says(tmp_path):
    """A stand-in for cargo has no network: the stage `deny` checks the rest, and the end of the run says so again."""
    for name, words in {"cargo": '[ "$2" != fetch ]', "cargo-deny": "true", "cargo-cyclonedx": "true", "make": "true"}.items():
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\n{words}\n")
        file.chmod(0o755)
    copy = tmp_path / "project/tests/run"
    copy.parent.mkdir(parents=True)
    copy.write_text((ROOT / "tests/run").read_text())
    said = run("bash", copy, "deny", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    times, _, last = said.partition("\n== time\n")[2].partition("\n\n")
    assert times.startswith("deny ") and "total" in times
    first, warning, end = last.splitlines()
    assert set(first) == set(end) == {"!"} and warning.startswith("!! NOT CHECKED: known vulnerabilities (advisories)")


def test_a_release_has_no_deliberate_defects():
    """Debug builds panic where a test asks for it (src/tasks/rehearsal.rs)."""
    program = run(ROOT / "deploy/release/program").strip().splitlines()[-1]
    assert b"WEIR_TEST_PANICS" not in (ROOT / program).read_bytes()


def test_versions_of_what_is_published_agree():
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    assert json.loads(run("cargo", "metadata", "--no-deps", "--format-version", "1", cwd=ROOT))["packages"][0]["version"] == version
    assert f"newTag: {version}" in (DEPLOY / "kustomize/example/kustomization.yaml").read_text()
    assert f"image: weir:{version}" in (DEPLOY / "kubernetes/fleet.yaml").read_text()
