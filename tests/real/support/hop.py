"""Runs real proxies in front of Weir, with the configurations from the documentation."""

import glob
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from support.process import ROOT, Child
from support.wait import until
from support.weir import Weir

PAGE = ROOT / "docs/intermediaries.md"
PROGRAMS = ROOT / ".cache/hops"
# The ports in the documented configurations. The tests replace them by free ports.
TRAFFIC, ADMIN, PUBLIC = "8080", "9464", "8000"


def snippet(name: str) -> str:
    """Returns the fenced block of the page that follows `<!-- snippet: name -->`."""
    found = re.findall(rf"<!-- snippet: {re.escape(name)} -->\n+```\w*\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"{PAGE.name} has {len(found)} snippets named {name}"
    return found[0]


def program(name: str) -> str:
    """Returns the path of a proxy: from an unpacked Debian package (installing it would start a daemon), or on PATH."""
    places = [PROGRAMS / "usr/sbin" / name, PROGRAMS / "usr/bin" / name, PROGRAMS / "envoy/_bin" / name]
    found = next((str(place) for place in places if place.exists()), None) or shutil.which(name)
    assert found, f"no {name}: `tests/run real` installs it"
    return found


def libraries() -> dict[str, str]:
    return {"LD_LIBRARY_PATH": ":".join(glob.glob(str(PROGRAMS / "usr/lib/*-linux-gnu")))}


class Kind(NamedTuple):
    """One kind of proxy."""

    # Builds its configuration, which contains the snippet.
    file: Callable[[str, Path], str]
    command: Callable[[Path, Path], list[str]]
    # The listen address in the snippet, and the text that replaces it, with a placeholder for the port.
    listens: tuple[str, str]


def _nginx(text: str, folder: Path) -> str:
    # If the master runs as root, its workers run as another user by default, who cannot read the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off; {user} worker_processes 1; pid {folder}/nginx.pid; error_log stderr;"
        f"events {{}} http {{ access_log off; {places}\n{text}\n}}"
    )


def _caddy(text: str, folder: Path) -> str:
    return f"{{\n admin off\n auto_https off\n storage file_system {folder}\n}}\n{text}"


KINDS = {
    "nginx": Kind(
        _nginx,
        lambda file, folder: [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(file)],
        (f"listen {PUBLIC};", "listen 127.0.0.1:{};"),
    ),
    "envoy": Kind(
        lambda text, folder: text,
        lambda file, folder: [
            *(program("envoy"), "--config-path", str(file), "--concurrency", "1"),
            *("--disable-hot-restart", "--log-level", "warning"),
        ],
        (f"address: 0.0.0.0, port_value: {PUBLIC}", "address: 127.0.0.1, port_value: {}"),
    ),
    "haproxy": Kind(
        lambda text, folder: f"global\n    nbthread 1\n{text}",
        lambda file, folder: [program("haproxy"), "-db", "-f", str(file)],
        (f"bind :{PUBLIC}", "bind 127.0.0.1:{}"),
    ),
    "caddy": Kind(
        _caddy,
        lambda file, folder: [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(file)],
        (f":{PUBLIC} {{", "http://127.0.0.1:{} {{"),
    ),
}


def changed(text: str, changes: dict[str, str]) -> str:
    """Returns `text` with each key replaced. Fails if a key is not in it."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in\n{text}"
        text = text.replace(old, new)
    return text


class Hop:
    """The named proxy in front of `weir`, configured as on the page, after `changes` are made to that text."""

    def __init__(self, name: str, weir: Weir, folder: Path, changes: dict[str, str]):
        self.name = name
        kind = KINDS[name]
        traffic, admin = (address.rpartition(":")[2] for address in (weir.address, weir.admin))
        text = changed(snippet(name), changes)
        # The public port first, because another port that is put in may contain the same digits.
        text = text.replace(kind.listens[0], "@listen@").replace(ADMIN, admin).replace(TRAFFIC, traffic)
        assert "@listen@" in text and traffic in text, text
        folder.mkdir()
        for _ in range(5):
            # Another process may take the port before the proxy opens it. Then another port is tried.
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            file = folder / "config.yaml" if name == "envoy" else folder / "config"
            file.write_text(kind.file(text.replace("@listen@", kind.listens[1].format(port)), folder))
            home = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
            self.child = Child(kind.command(file, folder), env={**libraries(), **home})
            self.url = f"http://127.0.0.1:{port}"
            if self._opens(port):
                return
            self.child.stop()
            said = "\n".join(self.child.lines[-20:])
            assert "in use" in said.lower(), f"{name} does not start:\n{said}"
        raise AssertionError(f"no free port for {name}")

    def _opens(self, port: int) -> bool:
        def look() -> str:
            if self.child.exited() is not None or any("in use" in line.lower() for line in list(self.child.lines)):
                return "no"
            with socket.socket() as probe:
                return "yes" if probe.connect_ex(("127.0.0.1", port)) == 0 else ""

        return until(f"{self.name} listens", look) == "yes"

    def close(self) -> None:
        self.child.stop()
        print(*self.child.lines, sep="\n")


def version(name: str) -> tuple[int, ...]:
    """Returns the version of an installed proxy."""
    words = {"nginx": "-v", "haproxy": "-v", "envoy": "--version", "caddy": "version"}
    said = subprocess.run(
        [program(name), words[name]], capture_output=True, text=True, env={**os.environ, **libraries()}
    )
    found = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
    assert found, said
    return tuple(int(part) for part in found[0].split("."))
