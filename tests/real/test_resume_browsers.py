"""Tests that EventSource and fetch-event-source come back to their stream, and get each event once.

A relay between client and Weir cuts the connection ten times, anywhere in the events. The agent must not notice.
"""

import json
import random

import pytest

from backends.resumable import Agent
from support import sse
from support.clients import node
from support.clients.result import Result
from support.relay import Relay
from support.resume import RESUME, numbers
from support.sse import Event

CUTS = 10
# A browser discards what a page has not read when its connection breaks. Without an event the page has no id to come
# back with, so that many of them come before.
FIRST_CUT = 3000
WORDS = 100

NAMES = '["status", "token", "tool_call", "tool_result", "done", "message"]'
EVENT_SOURCE = f"""
const source = new EventSource("/agent");
for (const name of {NAMES}) source.addEventListener(name, (event) => {{
  console.log(JSON.stringify([event.type, event.data, event.lastEventId]));
}});
source.addEventListener("error", () => {{
  if (source.readyState === EventSource.CLOSED) console.log("over");
}});
"""
# `TAB` is what the page does at each event.
FETCH_EVENT_SOURCE = """
import { fetchEventSource } from "@microsoft/fetch-event-source";
let seen = 0;
await fetchEventSource("/agent", {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: "{}",
  onmessage({ event, data, id }) {
    // The library also calls this for an empty line.
    if (!event && !data) return;
    seen += 1;
    console.log(JSON.stringify([event || "message", data, id]));
    TAB
  },
});
console.log("over");
"""
# What the library sees when the user has gone to another tab and comes back.
SWITCH = """
    const tab = (hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    };
    // Each in a task of its own, as in a browser.
    if (seen === 5 || seen === 50) setTimeout(() => { tab(true); setTimeout(() => tab(false)); });
"""


def in_chromium(source: str):
    def run(base: str) -> Result:
        result = node.script("resume_page.mjs", source=source)(base, {})
        assert result.events.pop() == "over"
        result.events = [json.loads(line) for line in result.events]
        return result

    return run


CLIENTS = {
    "chromium-eventsource": in_chromium(EVENT_SOURCE),
    "eventsource-node": lambda base: node.script("resume_eventsource.mjs")(base, {}),
    "chromium-fetch-event-source": in_chromium(FETCH_EVENT_SOURCE.replace("TAB", "")),
}


def cuts(seed: int, number: int = CUTS) -> list[int]:
    chance = random.Random(seed)
    return [FIRST_CUT + chance.randrange(200), *(chance.randrange(1, 500) for _ in range(number - 1))]


def text(events: list[Event]) -> str:
    return "".join(map(sse.content, events))


def exact(result: Result, agent: Agent, stream: str) -> None:
    """Fails unless the client got what the agent said, each event once, in order."""
    assert result.error is None
    got = [Event(*event) for event in result.events]
    said = sse.events("".join(agent.events("/agent")))
    assert text(got) == text(said)
    # Pieces of text may have been joined, and nothing else.
    others = lambda events: [event[:2] for event in events if event.name != "token"]
    assert others(got) == others(said)
    seen = numbers(got, stream)
    assert seen == sorted(set(seen)) and seen[-1] == len(said)


# A browser that has no time to read loses what it has received, with the connection.
@pytest.mark.alone
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("client", CLIENTS)
def test_ten_cuts_lose_and_double_nothing(weir, upstream, client, seed):
    agent = Agent(WORDS, pace=0.005)
    proxy = weir(upstream(agent).url, defaults=RESUME)
    with Relay(proxy.url, cuts(seed)) as relay:
        result = CLIENTS[client](relay.url)
    ended = proxy.ended()
    exact(result, agent, ended["stream_id"])
    assert relay.cut == CUTS
    assert len(agent.runs) == 1 and ended["outcome"] == "finished"


@pytest.mark.parametrize("client", ["chromium-eventsource", "eventsource-node"])
def test_a_finished_stream_is_not_started_again(weir, upstream, client):
    """An EventSource asks again when its stream ends. It gets 204, which closes it."""
    agent = Agent()
    proxy = weir(upstream(agent).url, defaults=RESUME)
    result = CLIENTS[client](proxy.url)
    exact(result, agent, proxy.ended()["stream_id"])
    assert len(agent.runs) == 1
    metrics = proxy.metrics()
    assert metrics.value("weir_resume_requests_total", way="last_event_id", result="complete") == 1


def test_switching_tabs_does_not_start_a_second_run(weir, upstream):
    """fetch-event-source drops its request when the tab is hidden, and POSTs it again when the tab is shown."""
    agent = Agent(WORDS, pace=0.01)
    proxy = weir(upstream(agent).url, defaults=RESUME)
    result = in_chromium(FETCH_EVENT_SOURCE.replace("TAB", SWITCH))(proxy.url)
    exact(result, agent, proxy.ended()["stream_id"])
    assert len(agent.runs) == 1 and agent.runs[0].request.line.startswith("POST")
    assert proxy.metrics().value("weir_resume_requests_total", way="last_event_id") >= 1

