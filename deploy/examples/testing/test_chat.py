"""How an application is tested with pytest against an agent that was recorded: without a model, a key, or a network.

Needs `weir` (or WEIR_BIN), and here the `openai` package. Record your own agent with `weir record`.
"""

import os
import subprocess
import time
from pathlib import Path

import httpx
import openai
import pytest

RECORDING = Path(__file__).with_name("chat.weir.jsonl")
WEIR = os.environ.get("WEIR_BIN", "weir")


@pytest.fixture
def agent():
    """`agent("--fault", "cut@600B")` starts a replay, and returns a client for it."""
    running = []

    def start(*flags: str) -> openai.OpenAI:
        command = [WEIR, "replay", str(RECORDING), "--listen", "127.0.0.1:0", "--speed", "max", *flags]
        replay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(replay)
        # The first line is the URL.
        url = replay.stdout.readline().strip()
        return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=10)

    yield start
    for replay in running:
        replay.terminate()
        replay.wait()
        replay.stdout.close()


def ask(client: openai.OpenAI):
    """Stands for the application: yields the words of an answer."""
    messages = [{"role": "user", "content": "What is a weir?"}]
    for chunk in client.chat.completions.create(model="demo", messages=messages, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


def test_an_answer_arrives_whole(agent):
    assert "".join(ask(agent())) == "A weir is a low dam across a river. 🌊"


def test_split_and_compressed_pieces_make_no_difference(agent):
    assert "".join(ask(agent("--fault", "gzip", "--fault", "split=7"))).endswith("🌊")


def test_a_cut_is_no_answer(agent):
    words = []
    with pytest.raises((httpx.HTTPError, openai.APIError)):
        for word in ask(agent("--fault", "cut@600B")):
            words.append(word)
    assert words == ["A weir ", "is a "]


def test_an_overloaded_agent_is_an_error(agent):
    with pytest.raises(openai.APIStatusError) as raised:
        list(ask(agent("--fault", "status=529")))
    assert raised.value.status_code == 529


def test_a_slow_agent_takes_its_time(agent):
    began = time.monotonic()
    first = next(ask(agent("--fault", "slow-head=500ms")))
    assert first == "A weir " and time.monotonic() - began >= 0.5
