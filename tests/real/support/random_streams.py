"""Random streams of each dialect, and what a client adds up from them."""

import json

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
            # A word, because a number may differ in every event and still be joined. Each is another one.
            word = "".join(chr(97 + int(digit)) for digit in str(n))
            delta = f'"content":"{text(rng)}","vendor":"{word}"'
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
