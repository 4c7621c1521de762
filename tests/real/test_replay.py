"""Tests recordings: those of each dialect's fixtures replayed through Weir, what `--explain` says of them, a recording of a
tap, and the examples for the tests of applications."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from support.process import REAL, ROOT, Child
from support.raw import Closed, Raw
from support.weir import BINARY

DATA = ROOT / "tests/data"
EXAMPLES = ROOT / "deploy/examples/testing"
DIALECTS = sorted(folder.name for folder in DATA.iterdir() if folder.is_dir())
# What announces the framing of a fixture, by the ending of its name. The last two need a route with the dialect, too.
TYPES = {
    ".sse": "text/event-stream",
    ".ndjson": "application/x-ndjson",
    ".lines": "text/plain",
    ".json": "application/json",
}
FIXED = (".lines", ".json")
# The facts of a log line that do not depend on the time.
FACTS = ("outcome", "code", "dialect", "announced", "framing", "tokens", "tokens_source", "tool_faults", "events_in")
# The queue must not merge events: then what a client gets would depend on the time.
AS_SENT = {"queue": {"merge": False}}


def fixtures(dialect: str) -> list[Path]:
    return sorted(path for path in (DATA / dialect).iterdir() if path.suffix in TYPES)


def all_of(client: Raw) -> bytes:
    """Returns the body, also of a stream that is cut because its dialect has no words for that."""
    with suppress(Closed):
        client.read_body()
    return bytes(client.body)


def path_of(fixture: Path) -> str:
    """Returns the path of the request for a fixture. It says nothing about the dialect to Weir."""
    return f"/{'fixed' if fixture.suffix in FIXED else 'auto'}/{fixture.name}"


def pieces(data: bytes) -> list[bytes]:
    """Cuts a stream into reads of odd sizes, also within characters and events."""
    cut, at = [], 0
    while at < len(data):
        size = 17 + 23 * (len(cut) % 7)
        cut.append(data[at : at + size])
        at += size
    return cut


def recorded(all: list[Path]) -> str:
    """Returns a recording in which each fixture is an exchange, with a read every 5 ms."""
    lines: list[dict[str, Any]] = [{"weir_recording": 1}]
    for number, fixture in enumerate(all, 1):
        headers = [["content-type", TYPES[fixture.suffix]], ["transfer-encoding", "chunked"]]
        lines.append({"type": "request", "exchange": number, "method": "POST", "target": path_of(fixture)})
        lines.append({"type": "response", "exchange": number, "at_us": 5000, "status": 200, "headers": headers})
        at = 5000
        for piece in pieces(fixture.read_bytes()):
            at += 5000
            try:
                body = {"text": piece.decode()}
            except UnicodeDecodeError:
                body = {"base64": b64encode(piece).decode()}
            lines.append({"type": "read", "exchange": number, "at_us": at, **body})
        lines.append({"type": "end", "exchange": number, "at_us": at, "end": "clean"})
    return "".join(json.dumps(line) + "\n" for line in lines)


def direct(all: list[Path]):
    """Returns a script that plays the fixtures themselves."""
    found = {path_of(fixture): fixture for fixture in all}

    def script(connection):
        while True:
            fixture = found[connection.request().line.split()[1]]
            connection.head(TYPES[fixture.suffix])
            for piece in pieces(fixture.read_bytes()):
                connection.chunk(piece)
            connection.end()

    return script


@pytest.fixture
def replay():
    """`replay(file, *flags)` starts a replay, and returns its URL."""
    running: list[Child] = []

    def start(file: Path, *flags: str) -> str:
        running.append(Child([str(BINARY), "replay", str(file), "--listen", "127.0.0.1:0", *flags]))
        return running[-1].line("the URL", lambda line: line.startswith("http://"))

    yield start
    for child in running:
        child.stop()


def explained(file: Path) -> list[dict[str, Any]]:
    command = [str(BINARY), "replay", "--explain", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["exchanges"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_fixture_gives_the_same_events_when_it_is_replayed(weir, upstream, replay, tmp_path, dialect):
    all = fixtures(dialect)
    file = tmp_path / "fixtures.weir.jsonl"
    file.write_text(recorded(all))

    def config() -> dict[str, Any]:
        fixed = {"name": "fixed", "match": {"path_prefix": "/fixed"}, "upstream": "agent", "dialect": dialect}
        routes = [fixed, {"name": "auto", "upstream": "agent"}]
        return {"routes": routes if dialect in ("gemini", "vercel_v4") else routes[1:], "defaults": AS_SENT}

    def seen(agent: str) -> dict[str, tuple[bytes, dict[str, Any]]]:
        proxy, found = weir(agent, **config()), {}
        for fixture in all:
            path = path_of(fixture)
            with Raw(proxy.url).post(path, b"{}") as client:
                body = all_of(client)
            ended = proxy.ended(path=path)
            found[path] = (body, {fact: ended.get(fact) for fact in FACTS})
        return found

    expected = seen(upstream(direct(all)).url)
    assert seen(replay(file, "--speed", "10")) == expected
    for exchange in explained(file):
        path = exchange["target"]
        if not path.startswith("/fixed"):
            ended, stream = expected[path][1], exchange["stream"]
            said = {fact: stream[fact] for fact in ("dialect", "framing", "tokens", "tokens_source")}
            assert said == {fact: ended[fact] for fact in said}, path
            assert stream["end"] == ended["outcome"], path
            assert stream["tools"]["incomplete"] == ended["tool_faults"], path
            events = stream["events"]
            assert sum(events.values()) - events.get("heartbeat", 0) == ended["events_in"], path


def test_what_is_recorded_through_a_tap_replays_as_it_was(weir, fastapi, replay, tmp_path):
    file = tmp_path / "tap.weir.jsonl"
    tap = Child([str(BINARY), "record", "--listen", "127.0.0.1:0", "--upstream", fastapi.url, "-o", str(file)])
    said = tap.line("the address", lambda line: "listens on" in line)
    url = said.partition("listens on ")[2].partition(",")[0]
    paths = ["/v1/chat/completions", "/ui/v4"]
    try:
        bodies = []
        for path in paths:
            with Raw(url).post(path) as client:
                bodies.append(client.read_body())
    finally:
        tap.stop()
    assert tap.exited() == 0, tap.lines
    for exchange, path in zip(explained(file), paths, strict=True):
        assert exchange["target"] == path and exchange["recorded_end"] == "clean"
    again = replay(file, "--speed", "max", "--fault", "split=3")
    for path, body in zip(paths, bodies, strict=True):
        with Raw(again).post(path) as client:
            assert client.read_body() == body


def test_an_agent_with_tls_is_recorded(upstream, authority, tmp_path):
    def script(connection):
        connection.request()
        connection.head()
        connection.chunk("data: secure\n\n")
        connection.end()

    agent = upstream(script, tls=authority.server(authority.issue(tmp_path)))
    file = tmp_path / "tls.weir.jsonl"
    url = f"{agent.url}/chat".replace("127.0.0.1", "localhost")
    command = [str(BINARY), "record", url, "--ca-file", authority.file(tmp_path), "-o", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (exchange,) = explained(file)
    assert (exchange["recorded_end"], exchange["bytes"]) == ("clean", len("data: secure\n\n"))


def test_a_stalled_replay_ends_as_an_idle_timeout(weir, replay):
    proxy = weir(
        replay(EXAMPLES / "chat.weir.jsonl", "--speed", "max", "--fault", "stall@600B"),
        defaults={"deadlines": {"idle": "300ms"}},
    )
    with Raw(proxy.url).post("/v1/chat/completions") as client:
        assert b"idle_timeout" in client.read_body()
    assert proxy.ended()["outcome"] == "idle_timeout"


def test_a_client_that_leaves_ends_a_loop(weir, replay):
    agent = replay(EXAMPLES / "chat.weir.jsonl", "--speed", "100", "--loop")
    with Raw(agent).post("/v1/chat/completions") as client:
        while client.body.count(b"[DONE]") < 3:
            client.read_chunk()
    # Others are served as before.
    with Raw(agent).post("/v1/chat/completions") as client:
        client.until_bytes(b"low dam")


ENVIRONMENT = {**os.environ, "WEIR_BIN": str(BINARY), "NO_COLOR": "1"}


def test_the_pytest_example_works():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "test_chat.py")]
    done = subprocess.run(command, cwd=EXAMPLES, env=ENVIRONMENT, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_the_vitest_example_works(tmp_path):
    for file in EXAMPLES.glob("chat.*"):
        shutil.copy(file, tmp_path)
    (tmp_path / "node_modules").symlink_to(REAL / "node/node_modules")
    command = ["node", str(REAL / "node/node_modules/vitest/vitest.mjs"), "run", "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout, done.stdout


def test_the_guide_shows_the_examples_as_they_are():
    guide = (ROOT / "docs/recordings.md").read_text()
    command = [str(BINARY), "replay", "--explain", str(EXAMPLES / "chat.weir.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and f"```\n{done.stdout}```" in guide, done.stdout
    for file in ("chat.weir.jsonl", "test_chat.py", "chat.test.mjs"):
        assert f"(../deploy/examples/testing/{file})" in guide
