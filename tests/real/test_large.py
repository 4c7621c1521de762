"""Tests that large bodies pass in both directions, byte for byte and without being kept in memory."""

import hashlib
import json
import subprocess

import pytest

from backends.fastapi_app import noise

SIZE = 20 * 1024 * 1024
SMALL = 8 * 1024 * 1024


def curl(*arguments: str) -> bytes:
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "60", *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.parametrize("framing", ["length=true", "length=false"])
def test_a_download(weir, fastapi, framing):
    proxy = weir(fastapi.url)
    curl(f"{proxy.url}/json")
    before = proxy.rss()
    body = curl(f"{proxy.url}/download?size={SIZE}&{framing}")
    assert len(body) == SIZE
    assert hashlib.sha256(body).digest() == hashlib.sha256(b"".join(noise(SIZE))).digest()
    assert proxy.rss() - before < SMALL


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_an_upload(weir, fastapi, tmp_path, framing):
    proxy = weir(fastapi.url)
    curl(f"{proxy.url}/json")
    before = proxy.rss()
    file = tmp_path / "body"
    file.write_bytes(b"".join(noise(SIZE)))
    extra = ["--header", "Transfer-Encoding: chunked"] if framing == "chunked" else []
    answer = curl("--data-binary", f"@{file}", *extra, f"{proxy.url}/upload")
    assert json.loads(answer) == {
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "size": SIZE,
    }
    assert proxy.rss() - before < SMALL


def test_an_upload_beyond_the_limit_is_refused(weir, fastapi, tmp_path):
    proxy = weir(fastapi.url, defaults={"max_request_bytes": "1MiB"})
    file = tmp_path / "body"
    file.write_bytes(b"x" * 2 * 1024 * 1024)
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]
    run = subprocess.run(
        [*command, "--data-binary", f"@{file}", f"{proxy.url}/upload"], capture_output=True, text=True
    )
    assert run.stdout == "413"
