"""Builds the Dockerfile's images without a daemon: runs its steps in an empty folder and assembles the file system."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT, WEIR, run

DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
# The packages of distroless/cc that a Rust program can need. The others are left out, which makes the test stricter.
PACKAGES = ("base-files", "libc6", "libgcc-s1")
USER = 65532
# The images are built to see that they can be, and that the program runs in them. How fast it is does not matter here,
# and optimising it would take minutes.
UNOPTIMISED = {
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "256",
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
}




def allocator(program: Path | None) -> dict[str, str]:
    """Returns how to link the allocator that was compiled for the release build: to compile it takes minutes."""
    if program is None:
        return {}
    built = program.parent.glob("build/tikv-jemalloc-sys-*/out/lib/libjemalloc_pic.a")
    return {"JEMALLOC_OVERRIDE": str(newest)} if (newest := max(built, key=os.path.getmtime, default=None)) else {}


class Step(NamedTuple):
    word: str
    rest: str


class Stage(NamedTuple):
    base: str
    steps: list[Step]


def stages() -> dict[str, Stage]:
    """Returns the stages of the Dockerfile by name, in order."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.M).replace("\\\n", " ")
    found: dict[str, Stage] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = steps = Stage(base, [])
        elif found:
            steps.steps.append(Step(word, rest.strip()))
    return found


def context(into: Path) -> None:
    """Copies the build context: .dockerignore excludes everything and then includes some files again."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    kept = [line[1:] for line in lines[1:] if line.startswith("!")]
    gone = [ROOT / line for line in lines[1:] if not line.startswith("!")]
    ignored = lambda folder, names: [name for name in names if Path(folder) / name in gone]
    for name in kept:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, into / name, ignore=ignored)
        else:
            shutil.copy(source, into / name)


def build(stage: str, work: Path, target: Path, program: Path | None = None) -> Path:
    """Runs the steps of a stage and of the stages it is based on. Returns the folder that is /src in the image.

    With a `program` nothing is compiled: it takes the place of what the stage would compile.
    """
    sent, source = work / "context", work / "src"
    sent.mkdir()
    source.mkdir()
    context(sent)
    chain, name = [], stage
    while name in stages():
        chain.insert(0, name)
        name = stages()[name].base
    for step in (step for name in chain for step in stages()[name].steps):
        match step.word:
            case "WORKDIR":
                assert step.rest == "/src"
            case "COPY":
                *sources, to = step.rest.split()
                for one in sources:
                    if (sent / one).is_dir():
                        shutil.copytree(sent / one, source / to)
                    else:
                        shutil.copy(sent / one, source / to)
            case "RUN" if program:
                (source / "target/release").mkdir(parents=True)
                shutil.copy(program, source / "target/release/weir")
            case "RUN":
                # Keep what was compiled for the next time, apart from optimised builds.
                (target / "images").mkdir(parents=True, exist_ok=True)
                (source / "target").symlink_to(target / "images")
                run("bash", "-euc", step.rest, cwd=source, env=os.environ | UNOPTIMISED | allocator(WEIR))
            case other:
                raise AssertionError(f"a step of an unknown kind: {other}")
    return source


def libraries(into: Path, cache: Path) -> None:
    """Unpacks the packages of the base image."""
    cache.mkdir(parents=True, exist_ok=True)
    if not all(list(cache.glob(f"{name}_*.deb")) for name in PACKAGES):
        run("apt-get", "-qq", "download", *PACKAGES, cwd=cache)
    for name in PACKAGES:
        run("dpkg-deb", "-x", *cache.glob(f"{name}_*.deb"), into)


def file_system(stage: str, source: Path, into: Path) -> Path:
    """Assembles the root file system of an image as its last stage says."""
    final = stages()[stage]
    if final.base != "scratch":
        libraries(into, ROOT / ".cache/image")
        (into / "etc/passwd").write_text(f"nonroot:x:{USER}:{USER}::/home/nonroot:/sbin/nologin\n")
        (into / "tmp").mkdir(exist_ok=True)
    for step in final.steps:
        if step.word == "COPY":
            _, found, to = step.rest.split()
            place = into / to.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            # The builder image's own files exist on this machine, too.
            shutil.copy(source / found.removeprefix("/src/") if found.startswith("/src/") else found, place)
    (into / "proc").mkdir(exist_ok=True)
    return into


def inside(root: Path, *arguments: str) -> list[str]:
    """Returns the command that runs the image's entry point as in a container: its user, and its files, read-only."""
    words = dict(stages()["weir"].steps)
    assert words["USER"] == f"{USER}:{USER}"
    [entry] = re.findall(r'"([^"]+)"', words["ENTRYPOINT"])
    place = shlex.quote(str(root))
    script = (
        f"mount --bind {place} {place} && mount -o remount,ro,bind {place} && mount -t proc proc {place}/proc && "
        f"exec chroot --userspec={USER}:{USER} {place} {entry} {shlex.join(arguments)}"
    )
    return [*([] if subprocess.os.getuid() == 0 else ["sudo"]), "unshare", "--mount", "sh", "-euc", script]
