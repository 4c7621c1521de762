#!/usr/bin/env python3
"""What one event costs the whole program in instructions and allocations, which are counted, not timed.

    benches/instructions.py [--bless] [WEIR]

Runs the release build under valgrind with one stream in lock step: the model writes, the client reads it, the model
writes again. So each write is one wake-up, one read and one write in Weir, whatever else the machine does. Two runs of
different length are compared, which removes the cost of the start. What Weir does periodically remains: on a busy
machine it adds up to 2 %, so a case that seems to need too much is counted up to three times.

Fails if a case needs 3 % more instructions, or more allocations, than `benches/instructions.json` says;
`--bless` writes that file anew. The file holds for the compiler that it names: other compilers give other counts.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "benches/instructions.json"
TOLERANCE = 1.03
# The functions of jemalloc that allocate.
ALLOCATES = ("_rjem_malloc", "_rjem_mallocx", "_rjem_calloc", "_rjem_realloc", "_rjem_rallocx")
# Writes in the two runs. Their difference is what counts.
SHORT, LONG = 300, 1300
ATTEMPTS = 3
# The longest that one step may take: valgrind is slow, and the machine may be, too.
PATIENCE = 60

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


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


def opaque(number: int) -> str:
    return f'event: tick\ndata: {{"price":{number % 8}}}\n\n'


# By name: the text of an event, the path of the request, the events in one write, and what they are translated to, of how
# many agents. Only one of several agents says something.
CASES = {
    "OpenAI chat, one event a read": (openai, "/v1/chat/completions", 1, "same"),
    "OpenAI chat, sixteen events a read": (openai, "/v1/chat/completions", 16, "same"),
    "OpenAI chat, another id in each event": (changing, "/v1/chat/completions", 1, "same"),
    "Anthropic, one event a read": (anthropic, "/v1/messages", 1, "same"),
    "unknown events, one a read": (opaque, "/events", 1, "same"),
    "OpenAI chat to the AI SDK": (openai, "/agent", 1, "ai-sdk"),
    "OpenAI chat to the AI SDK, sixteen a read": (openai, "/agent", 16, "ai-sdk"),
    "OpenAI chat to AG-UI": (openai, "/agent", 1, "ag-ui"),
    "OpenAI chat to Anthropic": (openai, "/agent", 1, "anthropic"),
    "OpenAI chat to native events": (openai, "/agent", 1, "events"),
    "Anthropic to OpenAI chat": (anthropic, "/agent", 1, "openai-chat"),
    "OpenAI chat, one of two agents, to the AI SDK": (openai, "/agent", 1, "ai-sdk of 2"),
    "OpenAI chat, one of 16 agents, to native events": (openai, "/agent", 1, "events of 16"),
    "OpenAI chat, resumable": (openai, "/v1/chat/completions", 1, "resume"),
    "OpenAI chat, resumable, sixteen a read": (openai, "/v1/chat/completions", 16, "resume"),
    "unknown events, resumable, with ids": (opaque, "/events", 1, "resume"),
}
# The URL of a Redis server, if there is one: what a journal there costs is measured with it, without a baseline.
REDIS = os.environ.get("WEIR_BENCH_REDIS")
if REDIS:
    CASES["OpenAI chat, resumable, in Redis"] = (openai, "/v1/chat/completions", 1, "redis")
    CASES["OpenAI chat, in Redis, sixteen a read"] = (openai, "/v1/chat/completions", 16, "redis")


def is_stored(url: str) -> None:
    """Waits until Weir has put its key into Redis: before that, it stores no stream."""
    host, port = url.removeprefix("redis://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as redis:
        answer = b""
        while b":1" not in answer:
            time.sleep(0.2)
            redis.sendall(b"EXISTS weir:key\r\n")
            answer = redis.recv(64)
    # Weir may not have read the answer yet.
    time.sleep(2)


class Stream:
    """One stream through its own Weir process."""

    def __init__(self, weir: str, tool: list[str], reply: str):
        self.model = socket.create_server(("127.0.0.1", 0))
        self.model.settimeout(PATIENCE)
        upstream = f"http://127.0.0.1:{self.model.getsockname()[1]}"
        free = socket.create_server(("127.0.0.1", 0))
        self.port = free.getsockname()[1]
        free.close()
        reply, _, agents = reply.partition(" of ")
        self.agents = int(agents or 1)
        self.is_translated = reply not in ("same", "resume", "redis")
        serve = [weir, "serve", "--listen", f"127.0.0.1:{self.port}", "--upstream", upstream]
        serve += ["--admin", "off", "--workers", "1", "--log-level", "info"]
        self.folder = tempfile.TemporaryDirectory()
        if reply != "same":
            file = Path(self.folder.name) / "weir.yaml"
            # JSON is valid YAML.
            config = {
                "listen": f"127.0.0.1:{self.port}",
                "admin": {"listen": "off"},
                "workers": 1,
                "log": {"level": "info"},
                "upstreams": {"agent": {"endpoints": [upstream]}},
                "defaults": {"reply": {"as": reply}} if self.is_translated else {"resume": {}},
                "routes": [{"name": "all", "upstream": "agent"}],
            }
            if self.agents > 1:
                agents = [{"name": f"agent{number}", "upstream": "agent"} for number in range(self.agents)]
                config["routes"] = [{"name": "all", "merge": {"agents": agents}}]
            if reply == "redis":
                config["resume"] = {"store": "redis", "redis": {"url": REDIS}}
            file.write_text(json.dumps(config))
            serve = [weir, "serve", "--config", str(file)]
        self.weir = subprocess.Popen(tool + serve, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert self.weir.stderr
        # Weir logs its listener, after valgrind's own messages.
        self.log = []
        for line in self.weir.stderr:
            self.log.append(line)
            if "listening" in line:
                break
        else:
            raise SystemExit("weir did not start:\n" + "".join(self.log))
        if reply == "redis":
            is_stored(REDIS)

    def run(self, event, path: str, batch: int, writes: int) -> None:
        client = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        body = b'{"stream":true}'
        client.sendall(
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode() + body
        )
        models = []
        for _ in range(self.agents):
            model, _ = self.model.accept()
            models.append(model)
            model.settimeout(PATIENCE)
            asked = b""
            while not asked.endswith(body):
                asked += model.recv(65536)
            model.sendall(HEAD)
        number = 0
        for _ in range(writes):
            chunks = []
            for _ in range(batch):
                data = event(number).encode()
                chunks.append(b"%x\r\n%s\r\n" % (len(data), data))
                number += 1
            model.sendall(b"".join(chunks))
            # An id may follow the last line.
            expected, got = data[-24:-1], b""
            # A translation has the same texts, and another envelope.
            while got.count(b" rain") < batch if self.is_translated else expected not in got:
                more = client.recv(65536)
                if not more:
                    raise SystemExit(f"the stream ended early: {got[-300:]!r}")
                got += more
        client.close()
        for model in models:
            model.close()

    def stop(self) -> str:
        assert self.weir.stderr
        self.weir.send_signal(signal.SIGINT)
        self.weir.send_signal(signal.SIGINT)
        try:
            _, rest = self.weir.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.weir.kill()
            raise SystemExit("weir did not stop") from None
        return "".join(self.log) + rest


def totals(weir: str, case: tuple, writes: int) -> tuple[int, int]:
    """Returns the instructions and allocations of a whole run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        event, path, batch, reply = case
        stream = Stream(weir, tool, reply)
        stream.run(event, path, batch, writes)
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


def measured(weir: str, case: tuple) -> dict[str, float]:
    """Returns the instructions and allocations per event of one case."""
    short, long = totals(weir, case, SHORT), totals(weir, case, LONG)
    instructions, allocations = ((b - a) / ((LONG - SHORT) * case[2]) for a, b in zip(short, long))
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


def main() -> None:
    options = sys.argv[1:]
    bless = "--bless" in options
    paths = [one for one in options if one != "--bless"]
    weir = paths[0] if paths else str(ROOT / "target/release/weir")
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"compiler": "none", "events": {}}
    counts = measure(weir, baseline["events"])
    worse = []
    print(f"{'for each event':40} instructions  baseline  allocations  baseline")
    for name, now in counts.items():
        before = baseline["events"].get(name, {"instructions": 0, "allocations": 0})
        print(
            f"{name:40} {now['instructions']:12,} {before['instructions']:9,} "
            f"{now['allocations']:12} {before['allocations']:9}"
        )
        worse += too_many(name, now, baseline["events"])
    if bless:
        BASELINE.write_text(json.dumps({"compiler": compiler, "events": counts}, indent=2) + "\n")
        return
    if compiler != baseline["compiler"]:
        print(f"the baseline is of {baseline['compiler']}, this is {compiler}")
    if worse:
        raise SystemExit("\n".join(worse) + "\nIf that is worth it: benches/instructions.py --bless, and say why.")


if __name__ == "__main__":
    main()
