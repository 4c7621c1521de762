"""Tests that React's useChat, in Chromium, shows what a real LangGraph agent does: the component of docs/clients.md."""

import pytest

from support.clients import node
from support.docs import configured, snippets
from support.process import REAL

FIRST, SECOND = "I ask the harbour.", "High water is at 14:10."
FAILURE = "The model is overloaded."
READY = "Status: ready"
# The packages that stand for those of the component, by version of the AI SDK.
VERSIONS = {
    "5": {"@ai-sdk/react": "ai-react5", "ai": "ai5"},
    "6": {},
    "7": {"@ai-sdk/react": "ai-react7", "ai": "ai7"},
}


@pytest.fixture(params=VERSIONS)
def packages(request):
    """The packages of a version of the AI SDK."""
    found = VERSIONS[request.param]
    missing = [name for name in found.values() if not (REAL / "node/node_modules" / name).exists()]
    if missing:
        pytest.skip(f"{missing} is not in package.json")
    return found


@pytest.fixture
def chat(weir, langgraph_agent, name, packages):
    """`chat(steps)` runs the component. Returns what it showed, the name of the run, and Weir."""
    snippet = snippets()["useChat"]
    assert snippet.language == "jsx"

    def run(*steps: dict, **query: str):
        proxy, own = weir(config=configured(snippet.example, langgraph_agent.url)), name()
        source, side = snippet.at(proxy.url), langgraph_agent.url
        client = node.script("use_chat.mjs", source=source, side=side, steps=steps, packages=packages)
        return client(proxy.url, {"run": own, **query}), own, proxy

    return run


def test_the_text_grows_and_the_tool_is_shown(chat):
    result, _, proxy = chat(
        {"click": "Ask"},
        # The head of the run and the first token, the second token, and the rest.
        {"open": 2, "shows": "I ask"},
        {"open": 1, "shows": FIRST},
        {"open": 99, "shows": SECOND},
        {"shows": READY},
        step="1",
    )
    assert result.error is None
    states = [state for state in result.events if "I ask" in state]
    assert FIRST not in states[0] and FIRST in states[-1]
    first, last = (next(at for at, state in enumerate(states) if text in state) for text in (FIRST, SECOND))
    assert 0 < first < last
    assert 'tides {"port":"Bergen"} "high at 14:10"' in result.text
    assert result.text.index(FIRST) < result.text.index("tides") < result.text.index(SECOND)
    assert proxy.ended()["outcome"] == "finished"


def test_stop_reaches_the_agent_and_keeps_the_text(chat, langgraph_agent):
    result, run, proxy = chat(
        {"click": "Ask"},
        {"open": 3, "shows": FIRST},
        {"click": "Stop", "shows": READY, "becomes": "cancelled"},
        step="1",
    )
    assert result.error is None
    assert FIRST in result.text and READY in result.text
    assert result.left_at is not None
    # Includes the time that the browser takes to find and press the button.
    assert 0 < langgraph_agent.seen(run)["at"] - result.left_at < 3.0
    assert proxy.ended()["outcome"] == "client_gone"


def test_an_error_of_the_agent_is_shown(chat):
    result, _, proxy = chat({"click": "Ask"}, {"shows": FAILURE}, fail="1")
    assert result.error and FAILURE in result.error
    assert FIRST in result.text
    assert proxy.ended()["outcome"] == "upstream_error"
