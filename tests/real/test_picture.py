"""Tests that docs/images/make takes a picture of the running demo, and fails if the page shows no tokens."""

import json
import os
import re
import struct
import subprocess
import zlib
from pathlib import Path

from support.process import ROOT
from support.weir import BINARY

PICTURE = ROOT / "docs/images/demo.png"
PAGE = ROOT / "src/demo/page"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def take(out: Path, program: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WEIR_BIN": str(program)}
    return subprocess.run(
        [ROOT / "docs/images/make", out], env=environment, capture_output=True, text=True, timeout=90
    )


def assert_shows_something(picture: Path) -> None:
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunks[kind] = chunks.get(kind, b"") + data[at + 8 : at + 8 + length]
        at += 12 + length
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (width, depth) == (1200, 8)
    pixels = zlib.decompress(chunks[b"IDAT"])
    row = 1 + width * {2: 3, 6: 4}[colour]
    assert len(pixels) == row * height
    # The lines of a blank picture are all alike.
    assert len({pixels[at : at + row] for at in range(0, len(pixels), row)}) > 200


def test_a_picture_of_the_demo_is_taken(tmp_path):
    out = tmp_path / "demo.png"
    done = take(out, BINARY)
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"(\d+) words", done.stdout)[1]) >= 20 and "checks failed" in done.stdout
    assert_shows_something(out)


def test_a_page_without_tokens_is_a_failure(tmp_path, upstream):
    """The real page, behind a program that says what the demo says and whose streams end at once."""

    def agent(connection):
        def answer(kind: str, body: bytes) -> None:
            connection.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n")
            connection.send(body)

        nothing = dict.fromkeys(("active", "words", "for_nobody"), 0) | {"run": None}
        while True:
            path = connection.request().line.split()[1].split("?")[0]
            if path == "/":
                answer("text/html", (PAGE / "index.html").read_bytes())
            elif path == "/demo/stats":
                answer("application/json", json.dumps({"left": nothing, "right": nothing}).encode())
            elif path.startswith("/demo/") and (file := PAGE / path.removeprefix("/demo/")).is_file():
                answer(KINDS[file.suffix], file.read_bytes())
            else:
                connection.head()
                connection.chunk("data: [DONE]\n\n")
                connection.end()

    program, out = tmp_path / "weir", tmp_path / "demo.png"
    program.write_text(f"#!/bin/sh\necho '  watch tokens arrive   {upstream(agent).url}/'\n")
    program.chmod(0o755)
    done = take(out, program)
    assert done.returncode != 0
    assert "the page shows 0 words" in done.stderr
    assert not out.exists()


def test_the_picture_of_the_readme_is_there_and_small():
    assert 'src="docs/images/demo.png"' in (ROOT / "README.md").read_text()
    assert_shows_something(PICTURE)
    assert PICTURE.stat().st_size < 300_000
