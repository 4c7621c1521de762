"""Tests that joined events add up to what was sent, for any mixture of events."""

import json
import random

import pytest

from support.random_streams import (
    anthropic,
    anthropic_sum,
    convention,
    convention_sum,
    langgraph,
    langgraph_sum,
    ollama,
    ollama_sum,
    openai,
    openai_sum,
)
from support.raw import Raw


def canonical(value) -> str:
    """Normalises surrogate pairs, so that joined and separate halves compare equal."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    if isinstance(value, dict):
        return {key: canonical(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(one) for one in value]
    return value


def blocks(body: str):
    """Yields (name, data) of each block. Only LF counts as a line end."""
    for block in body.replace("\r\n", "\n").split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        data = [line[6:] for line in lines if line.startswith("data: ")]
        name = [line[7:] for line in lines if line.startswith("event: ")]
        if data:
            yield (name or [""])[0], data[0]


DIALECTS = {
    "openai": ("/v1/chat/completions", "text/event-stream", openai, lambda body: openai_sum(data for _, data in blocks(body))),
    "anthropic": ("/v1/messages", "text/event-stream", anthropic, lambda body: anthropic_sum(data for _, data in blocks(body))),
    "ollama": ("/api/chat", "application/x-ndjson", ollama, lambda body: ollama_sum(line for line in body.split("\n") if line.strip())),
    "langgraph": ("/threads/t/runs/stream", "text/event-stream", langgraph, lambda body: langgraph_sum(blocks(body))),
    "convention": ("/agent", "text/event-stream", convention, lambda body: convention_sum(blocks(body))),
}


@pytest.mark.parametrize("overflow", ["block", "drop_oldest"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_joined_streams_add_up(weir, upstream, dialect, overflow):
    """Joins are lossless: twenty random streams, each in one burst, pass through a queue of few events."""
    path, kind, make, add = DIALECTS[dialect]
    bodies = ["".join(make(random.Random(seed), 300)) for seed in range(20)]
    todo = list(bodies)

    def script(connection):
        while True:
            connection.request()
            connection.head(kind)
            connection.chunk(todo.pop(0))
            connection.end()

    proxy = weir(upstream(script).url, defaults={"queue": {"max_events": 4, "overflow": overflow}})
    for body in bodies:
        with Raw(proxy.url) as client:
            client.send("POST", path, b"{}").read_head()
            got = client.read_body().decode("utf-8", "surrogatepass")
        if overflow == "drop_oldest":
            # Drops are reported. The rest must still be whole events, and nothing critical may be lost.
            add(got)
        else:
            assert canonical(add(got)) == canonical(add(body))
    metrics = proxy.metrics()
    assert metrics.value("weir_events_merged_total") > 100
    dropped = metrics.by("weir_events_dropped_total", "class")
    assert dropped.keys() <= {"token", "reasoning", "status", "heartbeat"}
    if overflow == "block":
        assert not dropped


def chat(text: str, name: str = "", **more) -> str:
    """Returns an OpenAI chunk with these members beside its text."""
    head = {"object": "chat.completion.chunk", "created": 1, "id": "c1", "model": "m", **more}
    data = json.dumps({**head, "choices": [{"index": 0, "delta": {"content": text}}]})
    return (f"event: {name}\n" if name else "") + f"data: {data}\n\n"


def graph(text: str, mode: str = "messages", **metadata) -> str:
    """Returns a LangGraph message without an id, which only its metadata and its event name attribute."""
    message = {"type": "AIMessageChunk", "content": text}
    return f"event: {mode}\r\ndata: {json.dumps([message, metadata])}\r\n\r\n"


def line(text: str, **more) -> str:
    """Returns a line of Ollama."""
    message = {"role": "assistant", "content": text}
    return json.dumps({"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": False, **more}) + "\n"


def of_chat(name, data):
    one = json.loads(data)
    who = name, one["id"], one["model"], one.get("system_fingerprint"), one.get("lane")
    return who, one["choices"][0]["delta"]["content"]


def of_graph(name, data):
    message, metadata = json.loads(data)
    return (name, *sorted(metadata.items())), message["content"]


def of_line(_, data):
    one = json.loads(data)
    return (one["model"], one.get("agent")), one["message"]["content"]


CHAT = "/v1/chat/completions"
GRAPH = "/threads/t/runs/stream"
# By case: the path, the two kinds of events that take turns, and what tells them apart.
MIXTURES = {
    "openai, two ids": (CHAT, lambda at, text: chat(text, id=f"c{at}"), of_chat),
    "openai, two models": (CHAT, lambda at, text: chat(text, model=f"m{at}"), of_chat),
    "openai, two event names": (CHAT, lambda at, text: chat(text, f"agent{at}"), of_chat),
    "openai, two values of an unknown member": (CHAT, lambda at, text: chat(text, lane=at), of_chat),
    "langgraph, two nodes": (GRAPH, lambda at, text: graph(text, langgraph_node=f"n{at}"), of_graph),
    "langgraph, two subgraphs": (GRAPH, lambda at, text: graph(text, langgraph_node="n", checkpoint_ns=f"s:{at}"), of_graph),
    "langgraph, two namespaces": (GRAPH, lambda at, text: graph(text, f"messages|s:{at}", langgraph_node="n"), of_graph),
    "langgraph, two steps": (GRAPH, lambda at, text: graph(text, langgraph_node="n", langgraph_step=at), of_graph),
    "ollama, two models": ("/api/chat", lambda at, text: line(text, model=f"m{at}"), of_line),
    "ollama, two agents": ("/api/chat", lambda at, text: line(text, agent=f"a{at}"), of_line),
}


@pytest.mark.parametrize("case", MIXTURES)
def test_texts_that_take_turns_stay_apart(weir, upstream, case):
    """Two texts of one stream take turns at random. Both pass through a queue of few events, and neither gets a word of
    the other, in whatever order they come."""
    path, make, read = MIXTURES[case]
    rng = random.Random(case)
    turns = [(rng.random() < 0.3, f"w{n} ") for n in range(2000)]
    sent, at = [], 0
    for changes, word in turns:
        at ^= changes
        sent.append((at, word))
    body = "".join(make(at, word) for at, word in sent)

    def script(connection):
        connection.request()
        connection.head("application/x-ndjson" if path == "/api/chat" else "text/event-stream")
        connection.chunk(body)
        connection.end()

    proxy = weir(upstream(script).url, defaults={"queue": {"max_events": 4, "overflow": "block"}})
    with Raw(proxy.url) as client:
        client.send("POST", path, b"{}").read_head()
        got = client.read_body().decode()

    def parts(text):
        if path == "/api/chat":
            return [("", one) for one in text.split("\n") if one.strip() and "error" not in one]
        return [(name, data) for name, data in blocks(text) if "error" not in data]

    def summed(text):
        out: list[tuple] = []
        for name, data in parts(text):
            who, word = read(name, data)
            if out and out[-1][0] == who:
                out[-1] = who, out[-1][1] + word
            else:
                out.append((who, word))
        return out

    assert summed(got) == summed(body)
    assert proxy.ended()["merged"] > 100


@pytest.mark.parametrize("member", ["id", "elapsed", "salt"])
def test_what_is_new_in_every_chunk_does_not_prevent_merging(weir, upstream, member):
    """Some servers give each chunk an id of its own, or a counter or a nonce under any name."""
    values = {"id": "chatcmpl-{}", "elapsed": "0.{}", "salt": "{}"}[member]
    body = "".join(chat(f"w{n} ", **{member: values.format(n * 7919 % 100_003)}) for n in range(2000))

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk(body + "data: [DONE]\n\n")
        connection.end()

    proxy = weir(upstream(script).url, defaults={"queue": {"max_events": 20, "overflow": "block"}})
    with Raw(proxy.url) as client:
        client.send("POST", CHAT, b"{}").read_head()
        got = client.read_body().decode()
    texts = [of_chat("", data)[1] for _, data in blocks(got) if data != "[DONE]"]
    assert "".join(texts) == "".join(f"w{n} " for n in range(2000))
    assert proxy.ended()["merged"] > 1000


def test_the_openai_sdk_accumulates_joined_chunks(weir, upstream):
    from openai import OpenAI

    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def chunk(delta, index=0, finish=None):
        return "data: " + json.dumps({**head, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}) + "\n\n"

    out = [chunk({"role": "assistant", "content": ""})]
    out += [chunk({"content": w}) for w in ["Ra", "in ", "\ud83d", "\ude00"] * 50]
    for index in (0, 1):
        out.append(chunk({"tool_calls": [{"index": index, "id": f"t{index}", "type": "function", "function": {"name": "wx", "arguments": ""}}]}))
        out += [chunk({"tool_calls": [{"index": index, "function": {"arguments": a}}]}) for a in ['{"a":', *["1"] * 50, "}"]]
    for _ in range(20):
        for index in (0, 1):
            out.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": " "}}]}))
    out += [chunk({}, finish="tool_calls"), "data: [DONE]\n\n"]

    def script(connection):
        connection.request()
        connection.head()
        connection.chunk("".join(out))
        connection.end()

    proxy = weir(upstream(script).url, defaults={"queue": {"max_events": 4, "overflow": "block"}})
    client = OpenAI(base_url=f"{proxy.url}/v1", api_key="k", max_retries=0)
    args: dict[int, str] = {}
    content = ""
    for part in client.chat.completions.create(model="m", messages=[], stream=True):
        delta = part.choices[0].delta
        content += delta.content or ""
        for call in delta.tool_calls or []:
            args[call.index] = args.get(call.index, "") + (call.function.arguments or "")
    assert {k: v.replace(" ", "") for k, v in args.items()} == {i: '{"a":' + "1" * 50 + "}" for i in (0, 1)}
    assert proxy.ended()["merged"] > 0
    assert content.encode("utf-16", "surrogatepass").decode("utf-16") == "Rain 😀" * 50
