"""Tests of `weir top` in a pseudo-terminal: what its screen shows, what its keys do, and that it leaves the terminal as it was."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from types import TracebackType

import pyte
import pytest

from backends import wire
from support.raw import Raw
from support.wait import until
from support.weir import BINARY, config_for

HELP = subprocess.run([BINARY, "--help"], capture_output=True, text=True, check=True).stdout
pytestmark = pytest.mark.skipif("\n  top " not in HELP, reason="this build has no `weir top` (feature top)")

CHAT = "/v1/chat/completions"
EVENTS = list(wire.openai(6))


class Terminal:
    """A program in a terminal. Its screen is what a user would see."""

    def __init__(self, *command: str, columns: int = 160, lines: int = 30):
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self.written = b""
        self._own, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(other)
        self._other = other
        self.child = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, start_new_session=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self._own, 65536)
            except OSError:
                return
            with self._lock:
                self.written += read
                self._stream.feed(read)

    def text(self) -> str:
        with self._lock:
            return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, *parts: str, within: float = 15.0) -> str:
        """Returns the screen once it shows all of these."""
        try:
            return until(f"{parts} on the screen", lambda: (t := self.text()) and all(p in t for p in parts) and t, within)
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.text()}") from None

    def until_gone(self, part: str) -> None:
        until(f"{part} is gone", lambda: part not in self.text())

    def press(self, keys: str) -> None:
        os.write(self._own, keys.encode())

    def ended(self) -> int:
        """Returns the exit code, once the program has ended. Its terminal must be as it was."""
        code = self.child.wait(15)
        assert termios.tcgetattr(self._other) == self.before, "echo and lines are back"
        until("the first screen is back", lambda: b"\x1b[?1049l" in self.written)
        return code

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self._other)
        self._reader.join(5)
        os.close(self._own)


@pytest.fixture
def go_on():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def agent(upstream, go_on):
    """The URL of an agent whose streams end when the test says so."""

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk("".join(EVENTS[:3]))
        go_on.wait(60)
        connection.chunk("".join(EVENTS[3:]))
        connection.end()

    return upstream(script).url


def top(proxy, *more: str, **size: int) -> Terminal:
    return Terminal(str(BINARY), "top", proxy.admin, *more, **size)


def test_streams_are_shown_filtered_and_listed_when_they_have_ended(weir, agent, go_on):
    proxy = weir(agent)
    with Raw(proxy.url).post("/first") as one, Raw(proxy.url).post("/second") as two, top(proxy) as terminal:
        one.until_events(2)
        two.until_events(2)
        shown = terminal.until("weir ", "2 live, 0 ended", "serving", "live: 2 of 2", "POST /first", "POST /second")
        assert one.headers["weir-stream-id"][:8] in shown and "openai_chat" in shown
        terminal.press("/second")
        terminal.until("/second_", "live: 1 of 2")
        terminal.press("\r")
        terminal.until('with "second"')
        assert "POST /first" not in terminal.text()
        # A terminal tells an escape by itself from the begin of a key by a pause, so the next key waits for its effect.
        terminal.press("\x1b")
        terminal.until("live: 2 of 2")
        go_on.set()
        one.read_body()
        two.read_body()
        terminal.until("live: 0 of 0", "0 live, 2 ended", "ended in 15 minutes:  finished 2")
        terminal.press("e")
        shown = terminal.until("ended: 2 of 2", "finished", "200 POST /first", "selected: request ")
        selected = shown.partition("selected: request ")[2].split(",")[0]
        assert selected in (one.headers["x-request-id"], two.headers["x-request-id"])
        terminal.press("q")
        assert terminal.ended() == 0


def test_a_stream_is_stopped_after_a_confirmation(weir, agent):
    proxy = weir(agent)
    with Raw(proxy.url).post(CHAT) as client, top(proxy) as terminal:
        client.until_events(2)
        id = client.headers["weir-stream-id"]
        terminal.until(id[:8])
        terminal.press("s")
        terminal.until("Stop this stream?", f"POST {CHAT} on route all", id)
        terminal.press("n")
        terminal.until_gone("Stop this stream?")
        assert len(proxy.streams()) == 1
        terminal.press("s")
        terminal.until("Stop this stream?")
        terminal.press("y")
        assert b"stopped" in client.read_body()
        terminal.until(f"stopping {id}", "0 live, 1 ended")
        assert proxy.ended(stream_id=id)["outcome"] == "stopped"


def test_a_stop_needs_the_token_where_there_is_one(weir, agent, tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    proxy = weir(agent, admin={"listen": "127.0.0.1:0", "token": f"file:{token}"})
    with Raw(proxy.url).post(CHAT) as client:
        client.until_events(2)
        for more, end in [((), "expected the token of admin.token"), (("--token", f"file:{token}"), "stopping")]:
            with top(proxy, *more) as terminal:
                terminal.until("live: 1 of 1")
                terminal.press("s")
                terminal.until("Stop this stream?")
                terminal.press("y")
                terminal.until(end)
        assert b"stopped" in client.read_body()


def test_a_weir_that_is_gone_is_told_and_found_again(weir, agent):
    proxy = weir(agent)
    with top(proxy, columns=100) as terminal:
        terminal.until("serving")
        proxy.close()
        terminal.until(f"no connection to {proxy.admin}", "trying again")
        weir(config={**config_for("http://127.0.0.1:9"), "admin": {"listen": proxy.admin}})
        terminal.until("serving")
        terminal.press("\x03")
        assert terminal.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(weir, agent, number):
    with top(weir(agent), columns=60, lines=12) as terminal:
        terminal.until("serving")
        terminal.child.send_signal(number)
        assert terminal.ended() == 0


def test_a_terminal_that_is_gone_ends_it(weir, agent):
    """As when a window is closed and no signal comes, for example because another process leads the session."""
    proxy = weir(agent)
    own, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = subprocess.Popen([str(BINARY), "top", proxy.admin], stdin=other, stdout=other, stderr=other, start_new_session=True)
    try:
        os.close(other)
        written = b""
        while b"serving" not in written:
            written += os.read(own, 65536)
        os.close(own)
        assert child.wait(15) == 0
    finally:
        child.kill()
        child.wait()


def test_without_a_terminal_it_says_what_to_use():
    run = subprocess.run([BINARY, "top", "127.0.0.1:1"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
    assert run.returncode == 2 and "http://127.0.0.1:1/streams" in run.stderr
