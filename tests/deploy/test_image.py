"""Checks that the image builds from its context, and that Weir streams in it, unprivileged, without writable files."""

import os
import re
import subprocess
from urllib.request import Request, urlopen

import pytest

from conftest import ROOT, WEIR, run, tool
from image import DOCKERFILE, USER, build, file_system, inside, stages

# The static image compiles all libraries again, which takes minutes. The other one gets the published program: its
# stage runs the same command in the same context.
STATIC = pytest.mark.skipif(not os.environ.get("WEIR_IMAGE_STATIC"), reason="`tests/run image` does it")
IMAGES = [("weir", "build"), pytest.param(("static", "build-static"), marks=STATIC)]


def test_the_linter_has_nothing_to_say():
    assert run(tool("hadolint"), DOCKERFILE) == ""


def test_both_images_compile_the_same():
    runs = [step.rest for name in ("build", "build-static") for step in stages()[name].steps if step.word == "RUN"]
    assert len(runs) == 2 and all("cargo build --locked --release --features otel,redis --bin weir" in run for run in runs)
    assert stages()["build"].base == stages()["build-static"].base


def test_every_image_runs_as_nobody_and_looks_after_itself():
    for name in ("weir", "static"):
        words = dict(stages()[name].steps)
        assert words["USER"] == "65532:65532" and words["EXPOSE"] == "8080 9464"
        assert words["HEALTHCHECK"].endswith('CMD ["/usr/bin/weir", "healthcheck"]')
    assert list(stages())[-1] == "weir", "what is built if nothing else is asked for"


def test_the_build_needs_the_rust_that_the_project_names():
    [said] = [line for line in DOCKERFILE.read_text().splitlines() if line.startswith("ARG RUST=")]
    assert f'rust-version = "{said.removeprefix("ARG RUST=")}"' in (ROOT / "Cargo.toml").read_text()


@pytest.fixture(params=IMAGES, ids=lambda names: names[0], scope="module")
def image(request, tmp_path_factory):
    final, builder = request.param
    target = (ROOT / os.environ.get("CARGO_TARGET_DIR", "target")).resolve()
    program = WEIR if final == "weir" else None
    source = build(builder, tmp_path_factory.mktemp("build"), target, program)
    root = file_system(final, source, tmp_path_factory.mktemp("root"))
    root.chmod(0o755)
    return root


@pytest.mark.timeout(900)
def test_it_streams_out_of_the_image(image):
    command = inside(image, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as weir:
        try:
            said = ""
            while "curl" not in said:
                line = weir.stdout.readline()
                assert line, f"it ended: {said}"
                said += line
            traffic, admin = (url.rstrip("/") for url in re.findall(r"http://127\.0\.0\.1:\d+/", said)[:2])
            status = dict(line.split(":\t") for line in open(f"/proc/{weir.pid}/status") if ":\t" in line)
            assert status["Uid"].split() == [str(USER)] * 4 and not status["CapEff"].strip("0\n")
            body = b'{"stream":true}'
            question = Request(f"{traffic}/v1/chat/completions", body, {"content-type": "application/json"})
            with urlopen(question, timeout=30) as answer:
                events = answer.read().decode().split("\n\n")
            assert events[-2].startswith("data: [DONE]") and len(events) > 5
            asked = inside(image, "healthcheck", "--url", f"{admin}/healthz")
            assert subprocess.run(asked, timeout=30).returncode == 0
        finally:
            weir.terminate()
        weir.stdout.read()
        assert weir.wait(30) == 0


@pytest.mark.timeout(900)
def test_there_is_nothing_in_it_that_is_not_needed(image):
    files = {str(path.relative_to(image)) for path in image.rglob("*") if path.is_file() and "proc" not in path.parts}
    assert "usr/bin/weir" in files
    assert not {"bin/sh", "usr/bin/sh", "bin/bash"} & files
