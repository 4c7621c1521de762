"""Tests that a page with an EventSource shows what several agents say in one stream: docs/merge.md, native events."""

import json

import pytest

from support.clients import node

SSE = "text/event-stream"
PAGE = "<!doctype html><meta charset=utf-8><title>team</title>"

# Shows the text of each agent in a paragraph of its own, and reports what the page shows at the end of the run.
SHOW = """
const source = new EventSource("/team");
const failed = {};
const paragraph = (agent) =>
  document.getElementById(agent) ??
  document.body.appendChild(Object.assign(document.createElement("p"), { id: agent }));
const report = (agents) => {
  source.close();
  const shown = [...document.querySelectorAll("p")].map(({ id, textContent }) => [id, textContent]);
  console.log(JSON.stringify({ shown: Object.fromEntries(shown), failed, agents }));
  console.log("over");
};
source.addEventListener("token", ({ data }) => {
  const { agent, text } = JSON.parse(data);
  paragraph(agent[0]).textContent += text;
});
source.addEventListener("finish", ({ data }) => {
  const { scope, agents } = JSON.parse(data);
  if (scope === "run") report(agents);
});
source.addEventListener("error", ({ data }) => {
  // Without data, the connection is lost: the run would begin again.
  if (data === undefined) return report("lost");
  const { agent, code, terminal, agents } = JSON.parse(data);
  if (terminal) report(agents);
  else failed[agent[0]] = code;
});
"""

OPENAI = [
    {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": word}}]}
    for word in ("Rain ", "in ", "Oslo.")
]
ANTHROPIC = [
    {"type": "message_start", "message": {"id": "m1", "type": "message", "role": "assistant", "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    *(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
        for word in ("Once ", "upon ", "a time.")
    ),
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 6}},
    {"type": "message_stop"},
]
CONVENTION = [
    *({"type": "token", "content": word} for word in ("Bring ", "an ", "\u2602 \"umbrella\".")),
    {"type": "done"},
]


def blocks(events: list[dict]) -> list[str]:
    named = [f"event: {event['type']}\n" if event in ANTHROPIC else "" for event in events]
    return [f"{name}data: {json.dumps(event)}\n\n" for name, event in zip(named, events, strict=True)]


WORDS = {
    "model": [*blocks(OPENAI), "data: [DONE]\n\n"],
    "claude": blocks(ANTHROPIC),
    "agent": blocks(CONVENTION),
}
TEXTS = {"model": "Rain in Oslo.", "claude": "Once upon a time.", "agent": "Bring an \u2602 \"umbrella\"."}


def says(events: list[str], *, cut: bool = False):
    def script(connection):
        while True:
            connection.request(within=60)
            connection.head(SSE)
            for event in events:
                connection.chunk(event)
            if cut:
                connection.fin()
                return
            connection.end()

    return script


def shows_page(connection):
    while True:
        connection.request(within=60)
        connection.send(
            f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(PAGE)}\r\n\r\n{PAGE}"
        )


@pytest.fixture
def shown(weir, upstream):
    """`shown(scripts)` opens the page before a team of these agents: what it shows at the end, and the log line."""

    def show(scripts: dict) -> tuple[dict, dict]:
        page = upstream(shows_page).url
        urls = {name: upstream(script).url for name, script in scripts.items()}
        proxy = weir(
            page,
            upstreams={name: {"endpoints": [url]} for name, url in {"pages": page, **urls}.items()},
            routes=[
                {"name": "page", "match": {"path_prefix": "/page"}, "upstream": "pages"},
                {
                    "name": "team",
                    "match": {"path_prefix": "/team"},
                    "reply": {"as": "events"},
                    "merge": {"agents": [{"name": name, "upstream": name} for name in urls]},
                },
            ],
        )
        result = node.script("resume_page.mjs", source=SHOW)(proxy.url, {})
        assert result.error is None
        assert result.events.pop() == "over"
        return json.loads(result.events[-1]), proxy.ended()

    return show


def test_a_page_shows_the_texts_of_three_agents(shown):
    page, line = shown({name: says(words) for name, words in WORDS.items()})
    assert page["shown"] == TEXTS
    assert page["failed"] == {}
    assert page["agents"] == dict.fromkeys(WORDS, "finished")
    assert (line["route"], line["outcome"]) == ("team", "finished")


def test_a_page_keeps_what_an_agent_said_that_dies(shown):
    scripts = {name: says(words) for name, words in WORDS.items()}
    scripts["model"] = says(WORDS["model"][:2], cut=True)
    page, line = shown(scripts)
    assert page["shown"] == {**TEXTS, "model": "Rain in "}
    assert page["failed"] == {"model": "truncated"}
    assert page["agents"] == {"model": "truncated", "claude": "finished", "agent": "finished"}
    assert line["outcome"] == "finished"
