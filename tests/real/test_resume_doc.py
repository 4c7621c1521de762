"""Tests that every example of docs/resume.md works, over a lost connection, with the configuration that it names."""

import re
import subprocess
import sys

import pytest

from backends import wire
from backends.resumable import Agent
from support import sse
from support.clients import node
from support.docs import ADDRESS, configured
from support.process import REAL, ROOT
from support.relay import Relay

DOC = ROOT / "docs/resume.md"
EXAMPLES = ROOT / "deploy/examples/resume"
CLIENT = ROOT / "deploy/js/weir-client/index.js"
WORDS = 40
TEXT = wire.text_of(WORDS)
LANGUAGES = {".js": "js", ".jsx": "jsx", ".mjs": "js", ".py": "python", ".sh": "sh"}
FILES = {path.name: path.read_text() for path in sorted(EXAMPLES.iterdir())}
# The examples that write the answer to standard output.
RUN = {
    ".mjs": lambda code: ["node", "--input-type=module", "--eval", code],
    ".py": lambda code: [sys.executable, "-c", code],
}
PROGRAMS = [name for name in FILES if name.endswith(tuple(RUN))]
PAGES = [name for name in FILES if name.endswith(".js")]
REACT = [name for name in FILES if name.endswith(".jsx")]
ASKS = "/api/chat/chat-1/stream"


def at(name: str, url: str) -> str:
    return FILES[name].replace(ADDRESS, url)


def test_the_page_has_every_example_word_for_word():
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", DOC.read_text(), re.MULTILINE | re.DOTALL)
    shown = [(language, code) for language, code in blocks if language in LANGUAGES.values()]
    expected = [(LANGUAGES[EXAMPLES.joinpath(name).suffix], code) for name, code in FILES.items()]
    assert sorted(shown) == sorted(expected)
    assert all(ADDRESS in code for name, code in FILES.items() if name not in REACT)


def test_the_page_names_the_configuration():
    assert "(../deploy/examples/resume.yaml)" in DOC.read_text()
    assert f"listen: {ADDRESS.removeprefix('http://')}\n" in (ROOT / "deploy/examples/resume.yaml").read_text()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_writes_the_answer_once(weir, upstream, name):
    agent = Agent(WORDS, pace=0.01)
    proxy = weir(config=configured("resume.yaml", upstream(agent).url))
    with Relay(proxy.url, [2000]) as relay:
        code = at(name, relay.url).replace('"weir-client"', f'"{CLIENT.as_uri()}"')
        command = RUN[EXAMPLES.joinpath(name).suffix](code)
        done = subprocess.run(command, cwd=REAL / "node", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert relay.cut == 1
    assert done.stdout == TEXT
    assert len(agent.runs) == 1 and proxy.ended()["outcome"] == "finished"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_the_answer_once(weir, upstream, name):
    agent = Agent(WORDS, pace=0.01)
    proxy = weir(config=configured("resume.yaml", upstream(agent).url))
    with Relay(proxy.url, [1000, 1000]) as relay:
        result = node.script("resume_page.mjs", source=at(name, relay.url))(relay.url, {})
    assert relay.cut == 2
    assert result.events.pop() == "over"
    ids, words = zip(*(line.split(" ", 1) for line in result.events), strict=True)
    assert "".join(words) == TEXT
    numbers = [int(one.partition(".")[2]) for one in ids]
    assert numbers == sorted(set(numbers))
    assert len(agent.runs) == 1


# The packages that stand for those of the component, by version of the AI SDK.
VERSIONS = {"6": {}, "7": {"@ai-sdk/react": "ai-react7", "ai": "ai7"}}


@pytest.fixture(params=VERSIONS)
def chat(request, weir, upstream):
    """`chat(agent, steps)` runs the component of the page in Chromium."""
    packages = VERSIONS[request.param]
    missing = [name for name in packages.values() if not (REAL / "node/node_modules" / name).exists()]
    if missing:
        pytest.skip(f"{missing} is not in package.json")

    def run(agent: Agent, *steps: dict):
        proxy = weir(config=configured("resume.yaml", upstream(agent).url))
        client = node.script("resume_use_chat.mjs", source=FILES["use-chat.jsx"], steps=steps, packages=packages)
        return client(proxy.url, {}), proxy

    return run


def test_use_chat_goes_on_after_a_reload(chat):
    agent = Agent(hold=5)
    result, proxy = chat(
        agent,
        {"reload": True, "asks": ASKS},
        {"click": "Ask", "shows": "Rain in"},
        {"reload": True, "asks": ASKS, "shows": "Rain in"},
        {"open": True, "shows": ["Bergen: über", "Status: ready"]},
        {"reload": True, "asks": ASKS, "shows": "Status: ready"},
    )
    assert result.error is None
    nothing, _, resumed, whole, over = result.events
    assert [one["status"] for one in (nothing, resumed, over)] == [204, 200, 204]
    assert "Bergen" not in resumed["text"]
    assert whole["text"].count("Rain in") == 1
    assert len(agent.runs) == 1 and proxy.ended()["outcome"] == "finished"


def test_use_chat_can_stop_its_run(chat):
    agent = Agent(hold=5)
    result, proxy = chat(
        agent,
        {"reload": True, "asks": ASKS},
        {"click": "Ask", "shows": "Rain in"},
        {"click": "Stop", "shows": "stopped"},
    )
    assert "Rain in" in result.text
    assert result.error and "stopped" in result.error
    assert proxy.ended()["outcome"] == "stopped"
    agent.runs[0].connection.gone(1)


def test_curl_gets_the_rest(weir, upstream, tmp_path):
    agent = Agent(WORDS, pace=0.01)
    proxy = weir(config=configured("resume.yaml", upstream(agent).url))
    with Relay(proxy.url, [1500]) as relay:
        command = ["bash", "-euc", at("curl.sh", relay.url)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert relay.cut == 1
    first, lost, rest = done.stdout.partition("lost\n")
    assert lost and TEXT.startswith("".join(map(sse.content, sse.events(first))))
    stream, state = rest.rsplit("\n\n", 1)
    events = sse.events(stream + "\n\n")
    assert TEXT.endswith("".join(map(sse.content, events))) and events[-1].name == "done"
    assert int((events[0].id or "").partition(".")[2]) >= 4
    assert "finished" in state
    assert len(agent.runs) == 1
