"""Tests that joined events add up to what was sent, for any mixture of events."""

import json
import random

import pytest

from support.raw import Closed, Raw

PIECES = ["a", "é", "\\n", "\\\"", "\\\\", "\\u00e9", "\\ud83d", "\\ude00", "😀", "\\/", "{", "}", "data: ", "\\u2028", "\u2028", " ", ",", "<", "0", "\\u0000"]


def text(rng) -> str:
    """Returns a random raw JSON string body."""
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 4)))


def openai(rng, count):
    head = '"id":"c1","object":"chat.completion.chunk","created":1,"model":"m"'
    for n in range(count):
        choice = rng.choice([0, 0, 0, 1])
        kind = rng.choice(["content"] * 6 + ["reasoning_content", "reasoning", "refusal", "tool", "tool", "tool0", "role", "both", "array", "usage", "finish", "logprobs", "extra", "two"])
        extra, top, finish = "", "", "null"
        if kind in ("content", "reasoning_content", "reasoning", "refusal"):
            delta = f'"{kind}":"{text(rng)}"'
        elif kind == "tool":
            delta = f'"tool_calls":[{{"index":{rng.choice([0, 0, 1])},"function":{{"arguments":"{text(rng)}"}}}}]'
        elif kind == "tool0":
            delta = f'"tool_calls":[{{"index":{rng.choice([0, 1])},"id":"t{n}","type":"function","function":{{"name":"f{n}","arguments":""}}}}]'
        elif kind == "role":
            delta = f'"role":"assistant","content":"{text(rng)}"'
        elif kind == "both":
            delta = f'"content":"{text(rng)}","reasoning_content":"{text(rng)}"'
        elif kind == "array":
            delta = f'"content":[{{"type":"text","text":"{text(rng)}"}}]'
        elif kind == "usage":
            delta, top = f'"content":"{text(rng)}"', f',"usage":{{"prompt_tokens":1,"completion_tokens":{n},"total_tokens":{n}}}'
        elif kind == "finish":
            delta, finish = f'"content":"{text(rng)}"', '"stop"'
        elif kind == "logprobs":
            delta, extra = f'"content":"{text(rng)}"', f',"logprobs":{{"content":[{{"token":"{n}"}}]}}'
        elif kind == "extra":
            delta = f'"content":"{text(rng)}","vendor":{n}'
        else:
            yield f'data: {{{head},"choices":[{{"index":0,"delta":{{"content":"{text(rng)}"}}}},{{"index":1,"delta":{{"content":"{text(rng)}"}}}}]}}\n\n'
            continue
        yield f'data: {{{head},"choices":[{{"index":{choice},"delta":{{{delta}}}{extra},"finish_reason":{finish}}}]{top}}}\n\n'
    yield "data: [DONE]\n\n"


def openai_sum(blocks):
    """Returns everything that a client would accumulate, in an order that joins may not change."""
    texts, tools, rest, usage = {}, {}, [], None
    for data in blocks:
        if data == "[DONE]":
            rest.append(data)
            continue
        chunk = json.loads(data)
        if chunk.get("usage"):
            # Counts are cumulative, so of adjacent ones only the last matters.
            usage = chunk["usage"]["completion_tokens"]
        for choice in chunk["choices"]:
            at = choice["index"]
            for key, value in choice["delta"].items():
                if key in ("content", "reasoning", "reasoning_content", "refusal") and isinstance(value, str):
                    texts[at, key] = texts.get((at, key), "") + value
                elif key == "tool_calls":
                    for call in value:
                        slot = tools.setdefault((at, call["index"]), [])
                        if call.get("id"):
                            slot.append((call["id"], call["function"]["name"]))
                            slot.append("")
                        if not slot:
                            slot.append("")
                        slot[-1] += call["function"]["arguments"]
                elif key == "role":
                    pass
                elif key == "content":
                    # Parts of text, which clients add up as they do strings.
                    assert [part["type"] for part in value] == ["text"]
                    texts[at, "parts"] = texts.get((at, "parts"), "") + value[0]["text"]
                else:
                    rest.append((key, json.dumps(value)))
            if choice.get("logprobs"):
                rest += [("logprobs", one["token"]) for one in choice["logprobs"]["content"]]
            if choice.get("finish_reason"):
                rest.append("finish")
    return texts, tools, rest, usage


def anthropic(rng, count):
    yield 'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    for index in range(count // 20):
        kind, field, start = rng.choice(
            [("text_delta", "text", '{"type":"text","text":""}'), ("thinking_delta", "thinking", '{"type":"thinking","thinking":""}'),
             ("input_json_delta", "partial_json", '{"type":"tool_use","id":"t","name":"f","input":{}}')]
        )
        yield f'event: content_block_start\ndata: {{"type":"content_block_start","index":{index},"content_block":{start}}}\n\n'
        for _ in range(rng.randint(0, 40)):
            yield f'event: content_block_delta\ndata: {{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{field}":"{text(rng)}"}}}}\n\n'
        if kind == "thinking_delta":
            yield f'event: content_block_delta\ndata: {{"type":"content_block_delta","index":{index},"delta":{{"type":"signature_delta","signature":"s{index}"}}}}\n\n'
        yield f'event: content_block_stop\ndata: {{"type":"content_block_stop","index":{index}}}\n\n'
    yield 'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}\n\n'
    yield 'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def anthropic_sum(blocks):
    out = []
    for data in blocks:
        one = json.loads(data)
        delta = one.get("delta", {})
        field = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}.get(delta.get("type"))
        if field and out and isinstance(out[-1], tuple) and out[-1][:2] == (one["index"], field):
            out[-1] = (one["index"], field, out[-1][2] + delta[field])
        elif field:
            out.append((one["index"], field, delta[field]))
        else:
            out.append(one)
    return out


def ollama(rng, count):
    for n in range(count):
        kind = rng.choice(["content"] * 4 + ["thinking", "tool", "both", "logprobs"])
        at = f'"created_at":"2026-01-01T00:00:{n}Z"'
        message = {
            "content": f'"content":"{text(rng)}"', "thinking": f'"content":"","thinking":"{text(rng)}"',
            "tool": f'"content":"","tool_calls":[{{"function":{{"name":"f{n}","arguments":{{}}}}}}]',
            "both": f'"content":"{text(rng)}","thinking":"{text(rng)}"', "logprobs": f'"content":"{text(rng)}"',
        }[kind]
        more = f',"logprobs":[{{"token":"{n}"}}]' if kind == "logprobs" else ""
        yield f'{{"model":"m",{at},"message":{{"role":"assistant",{message}}},"done":false{more}}}\n'
    yield '{"model":"m","created_at":"z","message":{"role":"assistant","content":"!"},"done":true,"done_reason":"stop","eval_count":3}\n'


def ollama_sum(lines):
    content = thinking = ""
    rest = []
    for line in lines:
        one = json.loads(line)
        content += one["message"].get("content", "")
        thinking += one["message"].get("thinking", "")
        if one["message"].get("tool_calls"):
            rest.append(one["message"]["tool_calls"])
        if one.get("logprobs"):
            rest += one["logprobs"]
    return content, thinking, rest


def langgraph(rng, count):
    yield 'event: metadata\r\ndata: {"run_id":"r","attempt":1}\r\n\r\n'
    for n in range(count):
        kind = rng.choice(["content"] * 6 + ["tool", "updates", "values", "blocks", "reasoning", "result", "sub", "usage", "last"])
        ident = rng.choice(["m1", "m2"])
        name = "messages"
        fields = f'"content":"{text(rng)}","type":"AIMessageChunk","id":"{ident}","additional_kwargs":{{}},"tool_call_chunks":[]'
        if kind == "tool":
            fields = f'"content":"","type":"AIMessageChunk","id":"{ident}","tool_call_chunks":[{{"name":null,"args":"{text(rng)}","id":null,"index":0}}]'
        elif kind == "blocks":
            fields = f'"content":[{{"type":"text","text":"{text(rng)}","index":0}}],"type":"AIMessageChunk","id":"{ident}"'
        elif kind == "reasoning":
            fields = f'"content":"","type":"AIMessageChunk","id":"{ident}","additional_kwargs":{{"reasoning_content":"{text(rng)}"}}'
        elif kind == "result":
            fields = f'"content":"{text(rng)}","type":"tool","id":"{ident}","tool_call_id":"c{n}"'
        elif kind == "usage":
            fields += f',"usage_metadata":{{"input_tokens":1,"output_tokens":{n},"total_tokens":1}}'
        elif kind == "last":
            fields += ',"chunk_position":"last"'
        elif kind == "sub":
            name = "messages|a:1"
        if kind in ("updates", "values"):
            yield f'event: {kind}\r\ndata: {{"n":{n}}}\r\nid: {n}\r\n\r\n'
        else:
            yield f'event: {name}\r\ndata: [{{{fields}}},{{"langgraph_node":"a","n":{n}}}]\r\nid: {n}\r\n\r\n'
    yield "event: end\r\ndata: null\r\n\r\n"


def langgraph_sum(events):
    texts, rest = {}, []
    for name, data in events:
        one = json.loads(data)
        if name == "values":
            continue
        if not name.startswith("messages"):
            rest.append((name, one))
            continue
        message = one[0]
        content = message["content"]
        if isinstance(content, list):
            content = "".join(block["text"] for block in content)
        key = name, message["id"], message["type"]
        texts[key] = texts.get(key, "") + content
        extra = message.get("additional_kwargs", {}).get("reasoning_content", "")
        texts[key, "r"] = texts.get((key, "r"), "") + extra
        for call in message.get("tool_call_chunks", []):
            texts[key, "tool"] = texts.get((key, "tool"), "") + call["args"]
        if message.get("usage_metadata"):
            rest.append(message["usage_metadata"]["output_tokens"])
        if message.get("chunk_position") or message["type"] == "tool":
            rest.append((message["type"], message.get("tool_call_id"), message.get("chunk_position")))
    return texts, rest


def convention(rng, count):
    for n in range(count):
        kind = rng.choice(["token"] * 5 + ["reasoning", "tool_call", "status", "counted", "named", "plain", "string"])
        if kind == "counted":
            yield f'data: {{"type":"token","content":"{text(rng)}","n":{n}}}\n\n'
        elif kind == "named":
            yield f'event: token\ndata: {{"content":"{text(rng)}"}}\n\n'
        elif kind == "plain":
            yield f"data: word{n} \n\n"
        elif kind == "string":
            yield f'data: "{text(rng)}"\n\n'
        elif kind in ("tool_call", "status"):
            yield f'data: {{"type":"{kind}","id":"{n}"}}\n\n'
        else:
            yield f'data: {{"type":"{kind}","content":"{text(rng)}"}}\n\n'
    yield 'data: {"type":"done"}\n\n'


def convention_sum(events):
    texts, rest = {}, []
    for name, data in events:
        try:
            one = json.loads(data)
        except ValueError:
            texts["plain"] = texts.get("plain", "") + data
            continue
        if isinstance(one, str):
            texts["string"] = texts.get("string", "") + one
        elif name or one["type"] in ("token", "reasoning") and "n" not in one:
            key = name or one["type"]
            texts[key] = texts.get(key, "") + one["content"]
        else:
            rest.append(one)
    return texts, rest


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
