"""Tests that pages in Chromium show what several agents say in one stream: docs/merge.md.

One page has an EventSource and gets native events. The other is a React component with useChat, before real agents.
"""

import json
import re

import pytest

from backends import wire
from support.clients import node
from support.process import ROOT
from test_use_chat import packages  # noqa: F401

DOC = ROOT / "docs/merge.md"
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

    def show(scripts: dict, source: str = SHOW) -> tuple[dict, dict]:
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
        result = node.script("resume_page.mjs", source=source)(proxy.url, {})
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


@pytest.mark.parametrize("dies", [None, "model"])
def test_the_page_of_the_document_shows_the_same(shown, dies):
    blocks = re.findall(r"^```js\n(.*?)^```$", DOC.read_text(), re.MULTILINE | re.DOTALL)
    [code] = [block for block in blocks if "EventSource" in block]
    ends = """
      const over = setInterval(() => {
        if (source.readyState !== EventSource.CLOSED) return;
        clearInterval(over);
        console.log("over");
      }, 10);
    """
    source = f"const show = (texts) => console.log(JSON.stringify(texts));\n{code}{ends}"
    scripts = {name: says(words[:2] if name == dies else words, cut=name == dies) for name, words in WORDS.items()}
    page, line = shown(scripts, source)
    assert page == {**TEXTS, **({dies: "Rain in "} if dies else {})}
    assert line["outcome"] == "finished"


def test_a_page_keeps_what_an_agent_said_that_dies(shown):
    scripts = {name: says(words) for name, words in WORDS.items()}
    scripts["model"] = says(WORDS["model"][:2], cut=True)
    page, line = shown(scripts)
    assert page["shown"] == {**TEXTS, "model": "Rain in "}
    assert page["failed"] == {"model": "truncated"}
    assert page["agents"] == {"model": "truncated", "claude": "finished", "agent": "finished"}
    assert line["outcome"] == "finished"


# useChat, with three agents: a real LangGraph graph, a FastAPI agent with events of a convention, and vLLM's events.

# Shows each text under the name of its agent, each result under the id of its call, and what becomes of each agent.
CHAT = """
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";

const transport = new DefaultChatTransport({ api: "/team" });

function Part({ part }) {
  if (part.type === "text") return <p>{part.providerMetadata.weir.agent}: {part.text}</p>;
  if (part.type === "data-weir-agent") return <p>{part.id} {part.data.state} {part.data.code}</p>;
  return part.toolCallId ? <pre>{part.toolCallId} {JSON.stringify(part.output)}</pre> : null;
}

function Chat() {
  const { messages, sendMessage, stop, status, error } = useChat({ transport });
  const answers = messages.filter(({ role }) => role === "assistant");
  return (
    <main>
      {answers.flatMap(({ id, parts }) => parts.map((part, at) => <Part key={`${id} ${at}`} part={part} />))}
      {error && <p role="alert">{error.message}</p>}
      <p>Status: {status}</p>
      <button onClick={() => sendMessage({ text: "When do we sail?" })}>Ask</button>
      <button onClick={() => stop()}>Stop</button>
    </main>
  );
}
"""
READY = "Status: ready"
HARBOUR, WATER = "graph: I ask the harbour.", "graph: High water is at 14:10."
# A page shows no space at the end of a paragraph.
RAIN = f"clerk: {wire.text_of().strip()}"
FERRY = "model: Take the ferry."
# Both agents name their calls alike.
RESULTS = {'graph:t1 "high at 14:10"', 'clerk:t1 "4 \u00b0C"'}


def vllm(*words: str) -> list[str]:
    """Returns an answer as vLLM writes it: a head without text, the last text beside the reason, usage, sentinel."""
    base = {"id": "chatcmpl-8d1f", "object": "chat.completion.chunk", "created": 1764460800, "model": "small"}

    def chunk(choices: list[dict], **more) -> str:
        text = json.dumps({**base, "choices": choices, **more}, separators=(",", ":"), ensure_ascii=False)
        return f"data: {text}\n\n"

    def choice(delta: dict, **more) -> dict:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **more}

    *first, last = words
    usage = {"prompt_tokens": 9, "total_tokens": 9 + len(words), "completion_tokens": len(words)}
    return [
        chunk([choice({"role": "assistant", "content": ""})], prompt_token_ids=None),
        *(chunk([choice({"content": word}, token_ids=None)]) for word in first),
        chunk([choice({"content": last}, finish_reason="stop", stop_reason=None, token_ids=None)]),
        chunk([], usage=usage),
        "data: [DONE]\n\n",
    ]


SAILING = vllm("Take ", "the ", "ferry.")


def stays(events: list[str]):
    """Sends these events, and then nothing until its client leaves."""

    def script(connection):
        connection.request(within=60)
        connection.head(SSE)
        for event in events:
            connection.chunk(event)
        connection.gone(within=60)

    return script


def refuses(connection):
    while True:
        connection.request(within=60)
        connection.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")


@pytest.fixture
def chat(weir, langgraph_agent, fastapi, name, packages):  # noqa: F811
    """`chat(others, *steps)` runs the component before both real agents and these: what it shows, the run, Weir."""

    def run(others: dict[str, str], *steps: dict, idle: str = "30s", opened: int = 0, **query: str):
        urls = {"graph": langgraph_agent.url, "clerk": fastapi.url, **others}
        paths = {"graph": "/ui", "clerk": "/agent"}
        own = name()
        agents = [{"name": agent, "upstream": agent, "path": paths.get(agent)} for agent in urls]
        reply = {"as": "ai-sdk"}
        proxy = weir(
            upstreams={agent: {"endpoints": [url]} for agent, url in urls.items()},
            defaults={"deadlines": {"idle": idle}},
            routes=[
                {"name": "page", "match": {"path_prefix": "/page"}, "upstream": "graph"},
                {"name": "team", "match": {"path_prefix": "/team"}, "reply": reply, "merge": {"agents": agents}},
            ],
        )
        if opened:
            fastapi.open(own, opened)
        # The steps open the gate of the graph alone.
        client = node.script(
            "use_chat.mjs", source=CHAT, side=langgraph_agent.url, steps=steps, packages=packages
        )
        return client(proxy.url, {"run": own, **query}), own, proxy

    return run


def test_a_chat_shows_the_texts_of_three_agents(chat, upstream):
    result, _, proxy = chat(
        {"model": upstream(says(SAILING)).url},
        {"click": "Ask"},
        # The head of the run and the first token. Both others say everything while this agent waits.
        {"open": 2, "shows": "graph: I ask"},
        {"shows": RAIN},
        {"shows": FERRY},
        {"shows": "clerk finished"},
        {"shows": "model finished"},
        {"open": 99, "shows": WATER},
        {"shows": READY},
        step="1",
        opened=99,
    )
    assert result.error is None
    lines = result.text.split("\n")
    assert {HARBOUR, WATER, RAIN, FERRY, *RESULTS, "graph finished"} <= set(lines)
    # Each text is one paragraph, and once.
    assert [lines.count(line) for line in (HARBOUR, WATER, RAIN, FERRY)] == [1] * 4
    assert any(RAIN in state and FERRY in state and HARBOUR not in state for state in result.events)
    line = proxy.ended()
    assert (line["route"], line["outcome"]) == ("team", "finished")


def test_a_chat_shows_what_became_of_agents_that_die_stall_or_refuse(chat, upstream):
    result, _, proxy = chat(
        {
            "model": upstream(says(SAILING)).url,
            "dies": upstream(says(SAILING[:3], cut=True)).url,
            "stalls": upstream(stays(SAILING[:2])).url,
            "refuses": upstream(refuses).url,
        },
        {"click": "Ask"},
        *({"shows": text} for text in (HARBOUR, WATER, RAIN, FERRY)),
        {"shows": "stalls failed"},
        {"shows": READY},
        idle="3s",
    )
    assert result.error is None
    assert set(result.text.split("\n")) >= {
        HARBOUR,
        WATER,
        RAIN,
        FERRY,
        *RESULTS,
        # What they had said stays.
        "dies: Take the",
        "stalls: Take",
        "graph finished",
        "clerk finished",
        "model finished",
        "dies failed truncated",
        "stalls failed idle_timeout",
        "refuses failed upstream_status",
    }
    line = proxy.ended()
    assert (line["route"], line["outcome"]) == ("team", "finished")


def test_stop_in_a_chat_reaches_every_agent(chat, upstream, langgraph_agent, fastapi):
    model = upstream(stays(SAILING[:2]))
    result, run, proxy = chat(
        {"model": model.url},
        {"click": "Ask"},
        {"open": 2, "shows": "graph: I ask"},
        {"shows": "clerk: Rain"},
        {"shows": "model: Take"},
        {"click": "Stop", "shows": READY, "becomes": "cancelled"},
        step="1",
        # The status and the first word.
        opened=2,
    )
    assert result.error is None
    assert {"graph: I ask", "clerk: Rain", "model: Take"} <= set(result.text.split("\n"))
    ends = [
        langgraph_agent.seen(run)["at"],
        fastapi.becomes(run, "cancelled")["at"],
        model.connections[0].gone(within=3),
    ]
    assert result.left_at is not None
    # Includes the time that the browser takes to find and press the button.
    assert all(0 < end - result.left_at < 3.0 for end in ends)
    assert proxy.ended()["outcome"] == "client_gone"
