"""Unmodified SDKs through a real Weir: whole streams, failures they raise, heartbeats, cancels."""

import json
import os
import subprocess
import threading
import urllib.request

import anthropic
import openai
import pytest

from agent import Agent

WEIR = os.environ.get("WEIR_BIN", "target/debug/weir")
ASK = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


class Weir:
    def __init__(self, agent, folder):
        config = folder / "weir.yaml"
        config.write_text(
            f"upstreams: {{ agent: {{ endpoints: ['http://127.0.0.1:{agent.server_port}'] }} }}\n"
            "defaults: { heartbeat: 50ms }\ndrain: { delay: 0s, limit: 1s }\n"
        )
        command = [WEIR, "--config", str(config), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        self.process = subprocess.Popen(command + ["--log-format", "json"], stderr=subprocess.PIPE, text=True)
        self.address, self.admin = (json.loads(self.process.stderr.readline())["address"] for _ in range(2))
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def metric(self, series):
        text = urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=5).read().decode()
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(series + " "))


@pytest.fixture
def agent():
    with Agent() as agent:
        yield agent
        agent.shutdown()


@pytest.fixture
def weir(agent, tmp_path):
    weir = Weir(agent, tmp_path)
    yield weir
    weir.process.terminate()
    assert weir.process.wait(10) == 0


def stream(sdk, address):
    """An iterator over the text that the SDK yields, and what closes it."""
    if sdk == "openai":
        client = openai.OpenAI(base_url=f"http://{address}/v1", api_key="k", max_retries=0)
        events = client.chat.completions.create(stream=True, **ASK)
        return (event.choices[0].delta.content or "" for event in events if event.choices), events.close
    client = anthropic.Anthropic(base_url=f"http://{address}", api_key="k", max_retries=0)
    events = client.messages.create(stream=True, max_tokens=9, **ASK)
    return (event.delta.text for event in events if event.type == "content_block_delta"), events.close


BOTH = pytest.mark.parametrize("sdk", ["openai", "anthropic"])


@BOTH
def test_a_whole_stream_is_what_the_agent_sent(sdk, agent, weir):
    direct, _ = stream(sdk, f"127.0.0.1:{agent.server_port}")
    through, _ = stream(sdk, weir.address)
    assert list(through) == list(direct)


@BOTH
def test_a_cut_in_the_middle_is_raised_with_its_reason(sdk, agent, weir):
    agent.mode = "cut"
    texts, _ = stream(sdk, weir.address)
    seen = []
    with pytest.raises((openai.APIError, anthropic.APIError)) as raised:
        seen.extend(texts)
    assert "".join(seen) == "Rain falls"
    assert "truncated" in str(raised.value)
    assert weir.metric('weir_streams_total{outcome="truncated",route="default"}') == 1


@BOTH
def test_heartbeats_in_silence_change_nothing(sdk, agent, weir):
    agent.mode = "silent"
    texts, _ = stream(sdk, weir.address)
    text = next(texts)
    while weir.metric('weir_heartbeats_total{route="default"}') < 3:
        pass
    agent.release.set()
    assert text + "".join(texts) == "Rain falls"


@BOTH
def test_a_client_that_closes_stops_the_agent_within_a_second(sdk, agent, weir):
    agent.mode = "endless"
    texts, close = stream(sdk, weir.address)
    next(texts)
    close()
    assert agent.client_left.wait(1)
