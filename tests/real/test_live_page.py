"""Tests of the live page of the admin listener in a real browser: what it shows, finds, stops, and how it looks."""

import re
import threading
import time
from contextlib import ExitStack

import pytest

from backends import wire
from support.browser import Browser
from support.raw import Raw
from support.wait import until
from support.weir import config_for

CHAT = "/v1/chat/completions"
EVENTS = list(wire.openai(6))
# How long the agent thinks before its first token.
THINKS = 0.4


class Agent:
    """A scripted agent: its streams begin with some tokens, and end when the test says so."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def __call__(self, connection) -> None:
        connection.request()
        connection.head()
        time.sleep(THINKS)
        connection.chunk("".join(EVENTS[:3]))
        self.go_on.wait(60)
        connection.chunk("".join(EVENTS[3:]))
        connection.end()


@pytest.fixture
def agent():
    one = Agent()
    yield one
    one.go_on.set()


@pytest.fixture
def proxy(weir, upstream, agent):
    url = upstream(agent).url
    routes = [
        {"name": "second", "upstream": "agent", "match": {"path_prefix": "/second"}},
        {"name": "all", "upstream": "agent"},
    ]
    return weir(config={**config_for(url), "routes": routes})


@pytest.fixture
def streams(proxy):
    """`streams(path, ...)` begins one stream for each path. Returns their clients, once each has its first token."""
    with ExitStack() as stack:

        def begin(*paths: str) -> list[Raw]:
            clients = [stack.enter_context(Raw(proxy.url)) for _ in paths]
            for client, path in zip(clients, paths):
                client.post(path, x_request_id=f"request-of-{path.strip('/').replace('/', '-')}")
            for client in clients:
                client.until_events(2)
            return clients

        yield begin


def page_of(proxy, **how) -> Browser:
    return Browser(f"http://{proxy.admin}/", **how)


def test_streams_appear_with_their_figures_and_move_to_the_ended_ones(proxy, streams, agent):
    with page_of(proxy) as page:
        until("connected", lambda: page.text("#link") == "Connected")
        assert page.rows("streams") == [] and page.text("#past-more") == "None yet."
        (client,) = streams(CHAT)
        page.until_rows("streams", 1)
        until("the first token is shown", lambda: page.rows("streams")[0]["TTFT"] != "–")
        (row,) = page.rows("streams")
        assert row["route"] == "all" and row["path"] == f"POST {CHAT}"
        assert row["client"] == "127.0.0.1" and row["dialect"] == "openai_chat"
        assert row["stream, request"] == f"{client.headers['weir-stream-id']} {client.headers['x-request-id']}"
        ttft = re.fullmatch(r"([\d.]+) (ms|s)", row["TTFT"])
        assert ttft, row
        seconds = float(ttft[1]) / (1000 if ttft[2] == "ms" else 1)
        assert THINKS * 0.9 <= seconds < THINKS + 5
        # The agent now says nothing, and the page says since when.
        until("silence is shown", lambda: page.rows("streams")[0]["state"].startswith("silent"))
        agent.go_on.set()
        client.read_body()
        page.until_rows("streams", 0)
        (row,) = page.until_rows("ended", 1)
        assert (row["outcome"], row["status"], row["route"]) == ("finished", "200", "all")
        assert row["TTFT"] == ttft[0] and int(row["tokens"]) > 0
        assert client.headers["x-request-id"] in row["stream, request"]
        until("the chart", lambda: "finished 1" in page.text("#reasons"))
        assert page.value("document.querySelectorAll('#ttft polyline').length") > 0
        assert page.do("problems") == []
        host = f"http://{proxy.admin}/"
        assert all(url.startswith((host, "data:")) for url in page.do("asked")), "nothing of others is loaded"


def test_the_search_finds_streams_and_the_order_is_chosen(proxy, streams):
    streams(CHAT, "/second/one", "/second/two")
    with page_of(proxy) as page:
        page.until_rows("streams", 3)
        page.fill("#search", "SECOND two")
        (row,) = page.until_rows("streams", 1)
        assert row["path"] == "POST /second/two"
        page.fill("#search", "request-of-second")
        page.until_rows("streams", 2)
        page.fill("#search", "nothing like this")
        page.until_rows("streams", 0)
        assert page.text("#more") == "No live stream matches."
        page.fill("#search", "")
        page.until_rows("streams", 3)
        page.do("select", ["#sort", "route"])
        assert [row["route"] for row in page.rows("streams")] == ["second", "second", "all"]
        page.click("#down")
        assert [row["route"] for row in page.rows("streams")] == ["all", "second", "second"]
        page.do("select", ["#flow", "stalled"])
        page.until_rows("streams", 0)


def test_a_paused_page_holds_still_even_if_it_is_searched(proxy, streams):
    streams(CHAT)
    with page_of(proxy) as page:
        page.until_rows("streams", 1)
        page.click("#pause")
        streams("/second/one")
        until("the second stream has come", lambda: page.value("received.told.active") == 2)
        page.fill("#search", "post")
        assert len(page.rows("streams")) == 1 and page.text("#active") == "1"
        assert page.text("#link") == "Paused"
        page.click("#pause")
        page.until_rows("streams", 2)


def test_a_stream_is_stopped_and_its_client_is_told_why(proxy, streams):
    stopped, other = streams("/second/stop", "/second/keep")
    id = stopped.headers["weir-stream-id"]
    with page_of(proxy) as page:
        page.until_rows("streams", 2)
        button = f'button[aria-label="Stop stream {id} on route second"]'
        page.click(button)
        assert id in page.text("#stop-what")
        # The safe answer has the focus, and keeps the stream.
        assert page.value("document.activeElement.id") == "stop-no"
        page.do("press", "Enter")
        until("closed", lambda: not page.value("document.getElementById('stop').open"))
        assert len(proxy.streams()) == 2
        page.click(button)
        page.click("#stop-yes")
        assert b"stopped" in stopped.read_body()
        assert proxy.ended(stream_id=id)["outcome"] == "stopped"
        (row,) = page.until_rows("ended", 1)
        assert row["outcome"] == "stopped" and id in row["stream, request"]
        (row,) = page.until_rows("streams", 1)
        assert other.headers["weir-stream-id"] in row["stream, request"]
        # Its button is gone, but the keyboard stays near.
        assert page.value("document.activeElement.id") == "live"
        assert page.do("problems") == []


def test_a_token_is_asked_for_where_one_is_needed(weir, upstream, agent, tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    proxy = weir(upstream(agent).url, admin={"listen": "127.0.0.1:0", "token": f"file:{token}"})
    with Raw(proxy.url).post(CHAT) as client, page_of(proxy) as page:
        client.until_events(2)
        page.until_rows("streams", 1)
        page.click("button.stop")
        page.click("#stop-yes")
        until("the token is asked for", lambda: "admin.token" in page.text("#stop-said"))
        page.fill("#token", "wrong")
        page.click("#stop-yes")
        until("it is refused", lambda: "not the one" in page.text("#stop-said"))
        assert len(proxy.streams()) == 1
        page.fill("#token", "s3cret")
        page.click("#stop-yes")
        assert b"stopped" in client.read_body()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(proxy, streams, scheme):
    streams(CHAT, "/second/" + "a-long-path-" * 12)
    with page_of(proxy, width=360, height=740, scheme=scheme) as page:
        page.until_rows("streams", 2)
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.value(wide) == 0
        box = "(() => { const b = document.querySelector('button.stop').getBoundingClientRect(); return [b.left, b.right, b.height]; })()"
        left, right, height = page.value(box)
        assert left >= 0 and right <= 360 and height >= 24
        # As cards, the rows still are a table to a screen reader.
        assert page.value("document.querySelector('#streams').getAttribute('role')") == "table"


def test_the_page_survives_a_weir_that_starts_again(proxy, streams, weir, agent):
    streams(CHAT)
    with page_of(proxy) as page:
        page.until_rows("streams", 1)
        agent.go_on.set()
        page.until_rows("ended", 1)
        port = proxy.admin.rpartition(":")[2]
        proxy.close()
        until("the loss is told", lambda: "No connection" in page.text("#link"))
        weir(config={**config_for("http://127.0.0.1:9"), "admin": {"listen": f"127.0.0.1:{port}"}})
        until("connected again", lambda: page.text("#link") == "Connected", within=40)
        page.until_rows("ended", 0)


# What a Weir with so many streams tells. Only the page is tested with it.
CROWD = """
(count) => {
  const one = { ...latest.streams[0] };
  latest = { ...latest, active: count, streams: Array.from({ length: count }, (_, at) => ({
    ...one, id: at.toString(16).padStart(32, '0'), route: at % 100 ? 'chat' : 'rare', age_ms: at })) };
  const before = performance.now();
  show();
  return performance.now() - before;
}
"""


def test_two_thousand_streams_are_found_and_drawn_fast(proxy, streams):
    streams(CHAT)
    with page_of(proxy) as page:
        page.until_rows("streams", 1)
        # Nothing of the real Weir comes in between.
        page.value("source.close(), (connect = () => {}), null")
        page.value(f"({CROWD})(2000)")
        again = page.value(f"({CROWD})(2000)")
        assert len(page.rows("streams")) == 200
        assert page.text("#more") == "and 1,800 more; filter to see them"
        assert again < 1500, f"{again} ms to draw"
        page.fill("#search", "rare")
        assert len(page.rows("streams")) == 20 and page.text("#more") == ""
