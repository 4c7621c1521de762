"""Tests that unmodified clients behave the same with and without Weir.

Four claims for each client: (a) a whole stream equals the direct one; (b) a stream that the backend breaks off is
reported with Weir's error; (c) heartbeats during silence change no event; (d) the backend sees a client leave within a
second, whether tokens flow or not.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends.wire import text_of
from support.clients import agents, node, python
from support.clients.result import Result
from support.wait import until

CLIENTS: dict[str, Callable[..., Result]] = {
    "openai-python": python.openai_python,
    "openai-responses-python": python.openai_responses,
    "openai-completions-python": python.openai_completions,
    "anthropic-python": python.anthropic_python,
    "google-genai-python": python.genai_python,
    "ollama-python": python.ollama_python,
    "langgraph-sdk-python": agents.langgraph_python,
    "a2a-sdk-python": agents.a2a_python,
    "httpx-sse": python.httpx_sse_python,
    "curl": python.curl,
    "openai-node": node.openai_node,
    "openai-responses-node": node.responses_node,
    "anthropic-node": node.anthropic_node,
    "google-genai-node": node.genai_node,
    "ollama-node": node.ollama_node,
    "ai-node": node.ai_node,
    "ag-ui-node": node.agui_node,
    "langgraph-sdk-node": node.langgraph_node,
    "eventsource-node": node.eventsource_node,
    "chromium-eventsource": node.chromium_eventsource,
    "chromium-fetch-event-source": node.chromium_fetch,
}
HEARTBEATS = 5

pytestmark = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture(scope="session")
def direct(fastapi) -> Callable[[str], Result]:
    """Returns what a client sees of a whole stream without a proxy. The result is cached."""

    @functools.cache
    def ask(client: str) -> Result:
        result = CLIENTS[client](fastapi.url, {})
        assert result.error is None
        assert result.text == text_of()
        assert len(result.events) >= 10
        return result

    return ask


def test_a_whole_stream_equals_the_direct_one(weir, fastapi, direct, client):
    proxy = weir(fastapi.url)
    result = CLIENTS[client](proxy.url, {})
    assert result == direct(client)
    assert proxy.ended()["outcome"] == "finished"


def test_a_stream_cut_in_the_middle_is_reported(weir, fastapi, direct, client, name):
    proxy, run = weir(fastapi.url), name()
    result = CLIENTS[client](proxy.url, {"run": run, "cut": "6"})
    assert fastapi.seen(run)["state"] == "cut"
    ended = proxy.ended()
    assert ended["outcome"] in ("truncated", "upstream_reset")
    assert result.error and ended["outcome"] in result.error, result
    assert text_of().startswith(result.text) and len(result.text) >= len("Rain in ")


def test_heartbeats_in_a_silence_change_nothing(weir, fastapi, direct, client, name):
    proxy, run = weir(fastapi.url, defaults={"heartbeat": "200ms"}), name()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(CLIENTS[client], proxy.url, {"run": run, "hold": "5"})
        try:
            fastapi.becomes(run, "waiting")
            until(
                f"{HEARTBEATS} heartbeats",
                lambda: proxy.metrics().value("weir_heartbeats_total") >= HEARTBEATS,
            )
        finally:
            fastapi.open(run)
        result = running.result()
    assert result == direct(client)
    assert proxy.ended()["heartbeats"] >= HEARTBEATS


@pytest.mark.parametrize("backend_is", ["silent", "talking"])
def test_a_client_that_leaves_is_noticed(weir, fastapi, client, name, backend_is):
    proxy, run = weir(fastapi.url), name()
    query = {"run": run, "endless": "1", "seen": f"{fastapi.url}/_seen"}
    query |= {"hold": "5"} if backend_is == "silent" else {}
    result = CLIENTS[client](proxy.url, query, stop_after=3)
    seen = fastapi.becomes(run, "cancelled")
    assert result.left_at is not None
    assert 0 < seen["at"] - result.left_at < 1.0
    assert proxy.ended()["outcome"] == "client_gone"
