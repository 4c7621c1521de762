"""Checks that a release would be complete: the package for crates.io, the workflows, and the scripts for the rest."""

import json
import re
import shutil
import subprocess

import pytest

from conftest import DEPLOY, ROOT, WEIR, run, tool

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
SCRIPTS = [
    path
    for path in map(ROOT.joinpath, subprocess.check_output(["git", "ls-files"], text=True, cwd=ROOT).splitlines())
    if path.is_file() and path.read_bytes().startswith((b"#!/usr/bin/env bash", b"#!/bin/bash", b"#!/bin/sh"))
]


def test_the_package_is_whole_and_says_nothing_to_worry_about(tmp_path):
    command = ["cargo", "package", "--locked", "--no-verify", "--allow-dirty", "--target-dir", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    # Nothing is published yet that could be linked to.
    known = "warning: manifest has no documentation, homepage or repository"
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning") and not line.startswith(known)]
    assert done.returncode == 0 and not warnings, done.stderr
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


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """What the tarball has in it."""
    folder = tmp_path_factory.mktemp("release")
    run(DEPLOY / "release/contents", WEIR, folder)
    return folder


# Links of Markdown, and of the HTML in it. Addresses elsewhere are not followed.
LINK = re.compile(r"""\]\(([^)\s]+)\)|\b(?:src|href)="([^"]+)\"""")


def anchors(page):
    """The anchors of a page, made from its headings as hosts of repositories make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain).lower().replace(" ", "-")
        again = 0
        while (name := f"{slug}-{again}" if again else slug) in found:
            again += 1
        found.add(name)
    return found


def test_every_link_in_the_tarball_leads_somewhere_in_it(release):
    pages = sorted(release.rglob("*.md"))
    assert {"README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"} <= {page.name for page in pages if page.parent == release}
    broken, followed = [], 0
    for page in pages:
        for match in LINK.finditer(re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)):
            link = match[1] or match[2]
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            inside = target.is_relative_to(release.resolve()) and target.exists()
            if not inside or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(release)}: {link}")
            followed += 1
    assert not broken and followed > 100, broken


def test_the_tarball_is_whole(release):
    for file in ("weir", "LICENSE", "deploy/systemd/weir.service", "deploy/weir.schema.json", "deploy/helm/weir/Chart.yaml"):
        assert (release / file).is_file(), file
    dangling = [path for path in release.rglob("*") if path.is_symlink() and not path.exists()]
    assert not dangling, dangling
    assert not [path for path in release.rglob("*") if path.name in ("node_modules", "target")]
    run(release / "weir", "check", release / "deploy/examples/minimal.yaml")


def test_nothing_links_to_what_is_not_published(release):
    """Addresses with a gap to fill in. Names under example.com and .example are nobody's."""
    gap = re.compile(r"(https?://|github\.com/)[^\s)\"]*(YOU|OWNER|ORG|CHANGEME|your-)\b")
    for page in [*release.rglob("*.md"), ROOT / "Cargo.toml", *(DEPLOY / "helm").rglob("Chart.yaml")]:
        assert not gap.search(page.read_text()), page
    manifest = json.loads(run("cargo", "metadata", "--no-deps", "--format-version", "1", cwd=ROOT))["packages"][0]
    assert [manifest[key] for key in ("documentation", "homepage", "repository")] == [None] * 3


def commands():
    """Commands by name, each with its long flags, as `weir --help` lists them."""
    listed = re.search(r"^Commands:\n(.*?)\n\n", run(WEIR, "--help"), re.M | re.S)[1]
    names = re.findall(r"^  ([a-z]+)\b", listed, re.M)
    flags = {name: re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", run(WEIR, name, "--help"), re.M) for name in names}
    assert {"check", "inject", "serve"} <= set(flags) and all("--help" in each for each in flags.values())
    return flags


SHELLS = {"weir.bash": ("bash", "-n"), "_weir": ("zsh", "-n"), "weir.fish": ("fish", "--no-execute")}


@pytest.mark.parametrize("file", SHELLS)
def test_completions_are_scripts_that_know_everything(release, file):
    script = (release / "completions" / file).read_text()
    for command, flags in commands().items():
        assert command in script
        for flag in flags:
            # fish writes a long flag as `-l NAME`.
            assert flag in script or f"-l {flag[2:]}" in script, f"{command} {flag}"
    shell = SHELLS[file]
    if not shutil.which(shell[0]):
        pytest.skip(f"without {shell[0]}, its syntax is not checked")
    run(*shell, release / "completions" / file)


def test_bash_completes_commands_and_flags(release):
    words = {
        "weir inj": "inject",
        "weir inject --adm": "--admin-port",
        "weir completions fi": "fish",
        "weir serve --log-format js": "json",
    }
    for line, wanted in words.items():
        script = f"""
            source {release / "completions/weir.bash"}
            COMP_WORDS=({line}) COMP_CWORD={line.count(" ")}
            _weir weir "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
            echo "${{COMPREPLY[@]}}"
        """
        assert run("bash", "-c", script).split() == [wanted]


def test_fish_completes_the_words_of_values(release):
    if not shutil.which("fish"):
        pytest.skip("without fish, its completions are not tried")
    for line, wanted in {"weir completions f": "fish", "weir serve --log-format js": "json"}.items():
        script = f"source {release / 'completions/weir.fish'}; complete -C '{line}'"
        assert run("fish", "-c", script).split() == [wanted]


def test_there_is_a_manual_page_for_each_command(release):
    pages = {page.name for page in (release / "man/man1").iterdir()}
    known = commands()
    assert pages == {"weir.1", *(f"weir-{command}.1" for command in known)}
    if not shutil.which("groff"):
        pytest.skip("without groff, pages are not rendered")
    for command, flags in known.items():
        page = release / f"man/man1/weir-{command}.1"
        done = subprocess.run(["groff", "-man", "-Tutf8", "-P-cbou", "-ww", page], capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr
        # Words are hyphenated at the ends of lines.
        text = re.sub(r"‐\n\s+", "", done.stdout)
        assert "NAME" in text and f"weir-{command}" in text
        assert all(flag in text for flag in flags), command
