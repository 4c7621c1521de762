"""Tests that every snippet of docs/clients.md works, with the configuration that it names and a real agent."""

import subprocess
import sys

import pytest

from backends.langgraph_agent_app import FIRST, SECOND
from support.docs import ADDRESS, configured, snippets
from support.process import REAL, ROOT

SNIPPETS = snippets()
# Whether a program can run a snippet by itself. Those of a page are the matter of test_use_chat.py.
RUN = {
    "js": lambda code: ["node", "--input-type=module", "--eval", code],
    "python": lambda code: [sys.executable, "-c", code],
    "sh": lambda code: ["bash", "-euc", code],
}
# The agent behind each example, and what it says.
AGENTS = {
    "fastapi.yaml": ("langgraph_agent", [*FIRST, *SECOND]),
    "langgraph.yaml": ("langgraph_agent", [*FIRST, *SECOND]),
    "vllm.yaml": ("fastapi", ["Rain ", "in ", "Bergen: "]),
}


@pytest.mark.parametrize("client", [one for one in SNIPPETS if SNIPPETS[one].language in RUN])
def test_a_snippet_shows_the_answer(request, weir, client):
    snippet = SNIPPETS[client]
    agent, said = AGENTS[snippet.example]
    proxy = weir(config=configured(snippet.example, request.getfixturevalue(agent).url))
    code = snippet.at(proxy.url)
    if "new EventSource" in code:
        # Browsers have it; Node 20 has not.
        code = f'import {{ EventSource }} from "eventsource";\n{code}'
    done = subprocess.run(RUN[snippet.language](code), cwd=REAL / "node", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    missing = [words for words in said if words not in done.stdout]
    assert not missing, (missing, done.stdout, done.stderr)
    assert proxy.ended()["outcome"] == "finished"


def test_every_example_for_clients_has_a_snippet():
    assert {one.example for one in SNIPPETS.values()} == set(AGENTS)
    assert all(one.language in {*RUN, "jsx"} for one in SNIPPETS.values())
    assert all(ADDRESS in one.code for one in SNIPPETS.values() if one.language != "jsx")
    listen = ADDRESS.removeprefix("http://")
    for example in AGENTS:
        assert f"listen: {listen}\n" in (ROOT / "deploy/examples" / example).read_text()
