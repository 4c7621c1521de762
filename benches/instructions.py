#!/usr/bin/env python3
"""What one event costs the whole program in instructions and allocations, which are counted, not timed.

    benches/instructions.py [--bless] [WEIR]

Runs the release build under valgrind with one stream in lock step: the model writes, the client reads it, the model
writes again (`benches/lockstep.py`). So each write is one wake-up, one read and one write in Weir, whatever else the
machine does. Two runs of different length are compared, which removes the cost of the start. What Weir does
periodically remains: on a busy machine it adds up to 2 %, so a case that seems to need too much is counted up to three
times.

Fails if a case needs 3 % more instructions, or more allocations, than `benches/instructions.json` says;
`--bless` writes that file anew, and the table of docs/performance.md, which has the same counts. The file holds for the compiler that it names: other compilers give other counts.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lockstep import REDIS, ROOT, Case, Stream

BASELINE = ROOT / "benches/instructions.json"
# The document with the counts, and the head of its table.
DOCUMENT = ROOT / "docs/performance.md"
HEAD = "| for each event | instructions | before | allocations |\n|---|--:|--:|--:|\n"
TOLERANCE = 1.03
# The functions of jemalloc that allocate.
ALLOCATES = ("_rjem_malloc", "_rjem_mallocx", "_rjem_calloc", "_rjem_realloc", "_rjem_rallocx")
ATTEMPTS = 3


def openai(number: int) -> str:
    return chat("chatcmpl-BxQ4d1cT7yGz0aVnM2kLpR8s", number)


def changing(number: int) -> str:
    return chat(f"chatcmpl-BxQ4d1cT7yGz0aVnM2k{number:05}", number)


def chat(name: str, number: int) -> str:
    return (
        f'data: {{"id":"{name}","object":"chat.completion.chunk","created":1766000000,"model":"gpt-4o-mini",'
        '"choices":[{"index":0,"delta":{"content":" rain' + "abcdefgh"[number % 8] + '"},"logprobs":null,'
        '"finish_reason":null}]}\n\n'
    )


def anthropic(number: int) -> str:
    return (
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        '"delta":{"type":"text_delta","text":" rain' + "abcdefgh"[number % 8] + '"}}\n\n'
    )


def whole(_: int) -> str:
    """Returns an answer that is no stream."""
    message = {"role": "assistant", "content": "It rains. " * 50}
    return json.dumps({"id": "chatcmpl-BxQ4d1cT7yGz0aVnM2kLpR8s", "choices": [{"index": 0, "message": message}]})


def said(number: int) -> str:
    """Returns a message of a realtime API."""
    return json.dumps({"type": "response.output_text.delta", "delta": f" rain{number:06}", "item_id": "item_" + "x" * 100})


def opaque(number: int) -> str:
    return f'event: tick\ndata: {{"price":{number % 8}}}\n\n'


CHAT = "/v1/chat/completions"
# Fewer writes, for paths whose counts are stable: together the cases take some 90 s on two cores.
FEW = (200, 800)
# By name.
CASES = {
    "OpenAI chat, one event a read": Case(openai, CHAT),
    "OpenAI chat, sixteen events a read": Case(openai, CHAT, 16),
    "OpenAI chat, another id in each event": Case(changing, CHAT),
    "Anthropic, one event a read": Case(anthropic, "/v1/messages"),
    "unknown events, one a read": Case(opaque, "/events"),
    "OpenAI chat to the AI SDK": Case(openai, "/agent", reply="ai-sdk"),
    "OpenAI chat to the AI SDK, sixteen a read": Case(openai, "/agent", 16, "ai-sdk"),
    "OpenAI chat to AG-UI": Case(openai, "/agent", reply="ag-ui"),
    "OpenAI chat to Anthropic": Case(openai, "/agent", reply="anthropic"),
    "OpenAI chat to native events": Case(openai, "/agent", reply="events"),
    "Anthropic to OpenAI chat": Case(anthropic, "/agent", reply="openai-chat"),
    "OpenAI chat, one of two agents, to the AI SDK": Case(openai, "/agent", reply="ai-sdk of 2"),
    "OpenAI chat, one of 16 agents, to native events": Case(openai, "/agent", reply="events of 16"),
    "OpenAI chat, resumable": Case(openai, CHAT, reply="resume"),
    "OpenAI chat, resumable, sixteen a read": Case(openai, CHAT, 16, "resume"),
    "unknown events, resumable, with ids": Case(opaque, "/events", reply="resume"),
    "OpenAI chat, hide reasoning and tools": Case(openai, CHAT, reply="hide", writes=FEW),
    "OpenAI chat, agent compresses": Case(openai, CHAT, client="gzip", writes=FEW),
    "OpenAI chat, client over TLS": Case(openai, CHAT, client="tls", writes=FEW),
    "OpenAI chat, client over HTTP/2": Case(openai, CHAT, client="h2", writes=FEW),
    "OpenAI chat, client over HTTP/2 and TLS": Case(openai, CHAT, client="h2-tls", writes=FEW),
    "an upload of 1 MiB": Case(whole, CHAT, client="upload", writes=(20, 80)),
    "a plain request": Case(whole, CHAT, client="plain", writes=FEW),
    "a short stream": Case(openai, CHAT, client="short", writes=FEW),
    "a message of a WebSocket": Case(said, "/ws", client="websocket", writes=FEW),
    "OpenAI chat, as a message of a bridge": Case(openai, CHAT, client="bridge", writes=FEW),
}
# What a journal in Redis costs is measured if there is a server, without a baseline. Its pieces are large: valgrind counts
# each byte that `rep movsb` copies as an instruction, which processors do not, so copies of any size are made without it.
if REDIS:
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1000000000")
    CASES["OpenAI chat, resumable, in Redis"] = Case(openai, CHAT, reply="redis")
    CASES["OpenAI chat, in Redis, sixteen a read"] = Case(openai, CHAT, 16, "redis")


def totals(weir: str, case: Case, writes: int) -> tuple[int, int]:
    """Returns the instructions and allocations of a whole run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        stream = Stream(weir, tool, case)
        stream.run(writes)
        stream.stop()
        profile = out.read_text()
    found = re.search(r"^(?:summary|totals): (\d+)", profile, re.MULTILINE)
    if not found:
        raise SystemExit("callgrind wrote no total")
    called = sum(calls(profile).get(name, 0) for name in ALLOCATES)
    if not called:
        raise SystemExit(f"none of {', '.join(ALLOCATES)} was called: what is the allocator called now?")
    return int(found[1]), called


def calls(profile: str) -> dict[str, int]:
    """Returns how often each function was called. The profile writes each name once, and then its number."""
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    called = ""
    for kind, number, name, count in re.findall(r"^(?:(c?fn)=\((\d+)\)(?: (.*))?|calls=(\d+) .*)$", profile, re.MULTILINE):
        if count:
            counts[called] = counts.get(called, 0) + int(count)
            continue
        if name:
            names[number] = name
        if kind == "cfn":
            called = names[number]
    return counts


def measured(weir: str, case: Case) -> dict[str, float]:
    """Returns the instructions and allocations per event of one case."""
    short, long = case.writes
    events = (long - short) * case.batch
    before, after = totals(weir, case, short), totals(weir, case, long)
    instructions, allocations = ((b - a) / events for a, b in zip(before, after))
    # What differs between the starts of two runs may exceed what events allocate.
    return {"instructions": round(instructions), "allocations": max(0.0, round(allocations, 1))}


def measure(weir: str, baseline: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Measures every case, two at a time. A case that exceeds its baseline is measured again, and the lowest counts are
    used."""

    def least(name: str) -> dict[str, float]:
        counts = measured(weir, CASES[name])
        for _ in range(ATTEMPTS - 1):
            if not too_many(name, counts, baseline):
                break
            again = measured(weir, CASES[name])
            counts = {what: min(count, again[what]) for what, count in counts.items()}
        print(f"{name}: counted", file=sys.stderr, flush=True)
        return counts

    # Counts do not depend on what else the machine does, as times would.
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CASES, pool.map(least, CASES)))


def too_many(name: str, now: dict[str, float], baseline: dict[str, dict[str, float]]) -> list[str]:
    """Returns the counts in which a case exceeds its limit."""
    if name not in baseline:
        return []
    before = baseline[name]
    worse = []
    if now["instructions"] > before["instructions"] * TOLERANCE:
        worse.append(f"{name}: {now['instructions']} instructions, at most {before['instructions']} + 3 % expected")
    if now["allocations"] > before["allocations"] + 0.1:
        worse.append(f"{name}: {now['allocations']} allocations, {before['allocations']} expected")
    return worse


def written(document: str, counts: dict[str, dict[str, float]]) -> str:
    """Returns the document with these counts in its table. What was before is kept."""
    before, rest = document.split(HEAD)
    rows, after = rest.split("\n\n", 1)
    old = {row.split(" | ")[0].removeprefix("| "): row.split(" | ")[2] for row in rows.splitlines()}
    new = (f"| {name} | {now['instructions']:,} | {old.get(name, '')} | {now['allocations']:g} |" for name, now in counts.items())
    return before + HEAD + "\n".join(new) + "\n\n" + after


def main() -> None:
    options = sys.argv[1:]
    bless = "--bless" in options
    paths = [one for one in options if one != "--bless"]
    weir = paths[0] if paths else str(ROOT / "target/release/weir")
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"compiler": "none", "events": {}}
    counts = measure(weir, baseline["events"])
    worse = []
    print(f"{'for each event':48} instructions  baseline  allocations  baseline")
    for name, now in counts.items():
        before = baseline["events"].get(name, {"instructions": 0, "allocations": 0})
        print(
            f"{name:48} {now['instructions']:12,} {before['instructions']:9,} "
            f"{now['allocations']:12} {before['allocations']:9}"
        )
        worse += too_many(name, now, baseline["events"])
    if bless:
        BASELINE.write_text(json.dumps({"compiler": compiler, "events": counts}, indent=2) + "\n")
        DOCUMENT.write_text(written(DOCUMENT.read_text(), counts))
        return
    if compiler != baseline["compiler"]:
        print(f"the baseline is of {baseline['compiler']}, this is {compiler}")
    if worse:
        raise SystemExit("\n".join(worse) + "\nIf that is worth it: benches/instructions.py --bless, and say why.")


if __name__ == "__main__":
    main()
