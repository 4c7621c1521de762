"""Tests that SDKs come back to their stream in the way that they have themselves, and see what the agent said, once."""

import openai
import pytest

from backends import wire
from backends.resumable import Agent
from support.clients import agents, node
from support.clients.result import Result
from support.raw import Raw
from support.relay import Relay
from support.resume import RESUME

WORDS = 40
TEXT = wire.text_of(WORDS)
# The path alone would be Ollama's.
CHATS = {**RESUME, "dialect": "vercel_ui", "resume": {"chats": {"path": "/api/chat/{id}/stream"}}}
CHAT_VERSIONS = {"ai-6": "ai", "ai-7": "ai7"}

LANGGRAPH = {
    "langgraph-sdk-python": agents.langgraph_python,
    "langgraph-sdk-node": node.langgraph_node,
}


def without_text(result: Result) -> list:
    """Returns the events but for pieces of text, which may have been joined."""
    is_text = lambda name, data: name == "messages" and data[0]["type"] == "AIMessageChunk" and data[0]["content"]
    return [[name, data] for name, data in result.events if not is_text(name, data)]


@pytest.mark.slow
@pytest.mark.parametrize("client", LANGGRAPH)
def test_the_langgraph_sdk_follows_the_location_that_weir_adds(weir, upstream, client):
    """The agent has no way back of its own: no `Location`, no ids. The SDKs wait a second before each attempt."""
    agent = Agent(WORDS, pace=0.01)
    proxy = weir(upstream(agent).url, defaults=RESUME)
    direct = LANGGRAPH[client](upstream(Agent(WORDS)).url, {})
    assert direct.text == TEXT and direct.error is None
    with Relay(proxy.url, [1500, 3000]) as relay:
        result = LANGGRAPH[client](relay.url, {})
    assert relay.cut == 2
    assert (result.error, result.text) == (None, direct.text)
    assert without_text(result) == without_text(direct)
    assert len(agent.runs) == 1
    assert proxy.ended()["outcome"] == "finished"


def test_an_own_location_is_kept(weir, upstream):
    """Weir adds `Location` to answers of LangGraph without one, and to no others."""

    def script(connection):
        while True:
            request = connection.request(within=60)
            own = ["location: /threads/t/runs/r/stream"] if "own" in request.line else []
            path = request.line.split()[1].partition("?")[0]
            connection.head("text/event-stream", "200 OK", *own)
            connection.chunk("".join(wire.langgraph(2) if path == "/runs/stream" else wire.openai(2)))
            connection.end()

    proxy = weir(upstream(script).url, defaults=RESUME)
    locations = []
    for path in ("/runs/stream", "/runs/stream?own", "/v1/chat/completions"):
        with Raw(proxy.url).post(path) as client:
            client.read_body()
        own = f"/.weir/streams/{client.headers['weir-stream-id']}"
        locations.append((client.headers.get("location"), own))
    (added, path), (kept, _), (none, _) = locations
    assert (added, kept, none) == (path, "/threads/t/runs/r/stream", None)


@pytest.mark.parametrize("version", CHAT_VERSIONS)
def test_a_chat_resumes_with_the_whole_answer(weir, upstream, version):
    """The SDK asks `GET {api}/{chatId}/stream`, and gets the stream from its start: nothing is doubled."""
    agent = Agent(WORDS, hold=20)
    proxy = weir(upstream(agent).url, defaults=CHATS)
    # The cut is among what the agent sends before it waits.
    with Relay(proxy.url, [700]) as relay:
        result = node.script("resume_chat.mjs", package=CHAT_VERSIONS[version])(relay.url, {})
    lost, resumed, over = result.events
    assert lost["status"] == "error" and 0 < len(lost["text"]) < len(TEXT)
    assert TEXT.startswith(lost["text"])
    assert (resumed["status"], resumed["answers"], resumed["text"]) == ("ready", 1, TEXT)
    assert resumed["tools"] == ["output-available"]
    assert resumed["requests"] == [["GET", "/api/chat/c/stream", 200]]
    # There is nothing left to resume.
    assert over == {**resumed, "requests": [["GET", "/api/chat/c/stream", 204]]}
    assert len(agent.runs) == 1 and proxy.ended()["outcome"] == "finished"


def test_a_chat_gets_its_newest_stream_and_no_other_chat_does(weir, upstream):
    agent = Agent(hold=6)
    proxy = weir(upstream(agent).url, defaults=CHATS)
    posts = []
    for chat in ("a", "a", "b"):
        posts.append(Raw(proxy.url).post("/api/chat", b'{"id":"%s","messages":[]}' % chat.encode()))
        posts[-1].until_events(4)
    _, newest, other = (post.headers["weir-stream-id"] for post in posts)
    for chat, expected in (("a", newest), ("b", other)):
        with Raw(proxy.url).get(f"/api/chat/{chat}/stream") as client:
            assert (client.status, client.headers["weir-stream-id"]) == (200, expected)
            assert client.until_events(4)[:4] == posts[-1].events()[:4]
    with Raw(proxy.url).get("/api/chat/nobody/stream") as client:
        assert client.status == 204
    agent.go.set()
    for post in posts:
        post.read_body()
        post.close()
    with Raw(proxy.url).get("/api/chat/a/stream") as client:
        assert client.status == 204
    assert len(agent.runs) == 3


def responses_python(base: str) -> Result:
    result = Result()
    with openai.OpenAI(base_url=f"{base}/v1", api_key="k", max_retries=0) as client:
        stream = client.responses.create(model="m", input="Weather?", stream=True)
        while stream:
            try:
                for event in stream:
                    result.events.append(event.model_dump(mode="json", exclude_unset=True))
                    result.text += event.delta if event.type == "response.output_text.delta" else ""
                break
            except openai.APIConnectionError:
                response = result.events[0]["response"]["id"]
                last = result.events[-1]["sequence_number"]
                stream = client.responses.retrieve(response, stream=True, starting_after=last)
    return result


def responses_node(base: str) -> Result:
    return node.script("resume_responses.mjs")(base, {})


@pytest.mark.parametrize("client", [responses_python, responses_node])
def test_a_response_is_retrieved_from_where_it_was_cut(weir, upstream, client):
    agent = Agent(WORDS, pace=0.01)
    proxy = weir(upstream(agent).url, defaults=RESUME)
    with Relay(proxy.url, [2000, 1500, 900]) as relay:
        result = client(relay.url)
    assert relay.cut == 3
    assert (result.error, result.text) == (None, TEXT)
    numbers = [event["sequence_number"] for event in result.events]
    # Pieces of text may have been joined.
    assert numbers == sorted(set(numbers)) and result.events[-1]["type"] == "response.completed"
    assert len(agent.runs) == 1 and agent.runs[0].request.line.startswith("POST")
    assert proxy.metrics().value("weir_resume_requests_total", way="responses") == 3


def test_another_response_is_the_agents_business(weir, upstream):
    """A response that was not streamed through this route is asked of the agent."""
    agent = Agent()
    server = upstream(agent)
    proxy = weir(server.url, defaults=RESUME)
    with Raw(proxy.url).get("/v1/responses/resp_other?stream=true&starting_after=3") as client:
        assert client.status == 404
    [request] = server.requests()
    assert request.line.startswith("GET /v1/responses/resp_other?stream=true&starting_after=3 ")


WAYS = {"stream": "/agent", "resumingFetch": "/v1/chat/completions"}


@pytest.mark.parametrize("way", WAYS)
def test_weir_client_goes_on_over_ten_cuts(weir, upstream, way):
    agent = Agent(100, pace=0.005)
    proxy = weir(upstream(agent).url, defaults={**RESUME, "resume": {"ids": "all"}})
    with Relay(proxy.url, [600, *range(40, 490, 50)]) as relay:
        result = node.script("resume_weir_client.mjs", way=way, path=WAYS[way])(relay.url, {})
    assert relay.cut == 10
    assert (result.error, result.text) == (None, wire.text_of(100))
    assert len(agent.runs) == 1 and proxy.ended()["outcome"] == "finished"


@pytest.mark.alone
def test_weir_client_stops_the_agent(weir, upstream):
    agent = Agent(hold=4)
    proxy = weir(upstream(agent).url, defaults=RESUME)
    result = node.script("resume_weir_client.mjs", way="stop", path="/agent")(proxy.url, {})
    assert result.left_at is not None
    assert agent.runs[0].connection.gone() - result.left_at < 1.0
    assert result.events[-1][0] == "error" and "stopped" in result.events[-1][1]
    assert proxy.ended()["outcome"] == "stopped"


def test_a_position_survives_a_reload(weir, upstream):
    """What `position` says is all that another page needs."""
    agent = Agent(WORDS, hold=20)
    proxy = weir(upstream(agent).url, defaults=RESUME)
    result = node.script("resume_weir_client.mjs", way="reload", path="/agent")(proxy.url, {})
    assert (result.error, result.text) == (None, TEXT)
    assert len(agent.runs) == 1
