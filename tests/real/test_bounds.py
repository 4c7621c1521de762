"""Tests that a stream takes no more memory than `weir check` prints, whatever the shape of its events."""

import gzip
from contextlib import ExitStack

import pytest

from support.raw import Raw
from support.wait import until

MIB = 1024 * 1024
EVENT, QUEUE = 4 * MIB, 64 * 1024
# What a stream may take: docs/sizing.md.
BOUND = 3 * EVENT + QUEUE + MIB
FITS = EVENT - 1024

SSE, LINES, ARRAY = "text/event-stream", "application/x-ndjson", "application/json"
# The path, the content type, and an event around a value.
DIALECTS = {
    "openai": ("/v1/chat/completions", SSE, '{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":%s}}]}'),
    "responses": ("/v1/responses", SSE, '{"type":"response.output_text.delta","output_index":0,"item_id":"i","delta":%s}'),
    "anthropic": ("/v1/messages", SSE, '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%s}}'),
    "ag_ui": ("/agent", SSE, '{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":%s}'),
    "vercel_ui": ("/api/chat", SSE, '{"type":"text-delta","id":"t","delta":%s}'),
    "convention": ("/chat", SSE, '{"type":"token","content":%s}'),
    "nobody's": ("/ticks", SSE, '{"tick":%s}'),
    "ollama": ("/api/chat", LINES, '{"model":"m","message":{"role":"assistant","content":%s},"done":false}'),
    "lines of nobody": ("/ticks", LINES, '{"tick":%s}'),
    "gemini": ("/v1beta/models/m:streamGenerateContent?alt=sse", SSE, '{"candidates":[{"content":{"parts":[{"text":%s}]}}]}'),
    "gemini's array": ("/v1beta/models/m:streamGenerateContent", ARRAY, '{"candidates":[{"content":{"parts":[{"text":%s}]}}]}'),
}


def keys(size: int, between: str) -> str:
    members = f",{between}".join(f'"k{number:06}":{number % 10}' for number in range(size // (12 + len(between))))
    return "{" + members + "}"


# The value as text; for SSE also as several lines.
SHAPES = {
    "a long text": lambda: '"' + "x" * FITS + '"',
    "escapes": lambda: '"' + '\\"' * (FITS // 2) + '"',
    "many keys": lambda: keys(FITS, ""),
    "a key a line": lambda: keys(FITS - FITS // 3, "\n"),
}


def block(kind: str, text: str) -> bytes:
    if kind == SSE:
        lines = text.split("\n")
        return ("".join(f"data:{line}\n" for line in lines) + "\n").encode()
    text = text.replace("\n", " ")
    return (text + "\n" if kind == LINES else "," + text).encode()


def events(name: str, shape: str, number: int) -> tuple[str, str, list[bytes]]:
    path, kind, around = DIALECTS[name]
    one = block(kind, around % SHAPES[shape]())
    assert len(one) <= EVENT
    return path, kind, [b"[" + one[1:] if kind == ARRAY and first else one for first in [True] + [False] * (number - 1)]


def warmed(weir, upstream, name, pieces, kind, hide=None, **extra):
    """Returns a proxy that has served a small stream before."""

    def script(connection):
        fields = "".join(f"{field}: {value}\r\n" for field, value in extra.items())
        while True:
            path = connection.request(within=60).line.split()[1]
            connection.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{fields}transfer-encoding: chunked\r\n\r\n")
            for piece in pieces if "warm" not in path else []:
                connection.chunk(piece)
            connection.end()

    limits = {"max_event_bytes": "4MiB", "queue": {"max_bytes": "64KiB"}, "hide": hide or {}}
    proxy = weir(upstream(script).url, workers=1, defaults=limits)
    with Raw(proxy.url).post("/warm") as client:
        client.read_body()
    proxy.forget_peak()
    return proxy, proxy.rss()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", DIALECTS)
def test_events_of_the_largest_size_stay_within_the_bound(weir, upstream, name, shape):
    path, kind, pieces = events(name, shape, 3)
    proxy, before = warmed(weir, upstream, name, pieces, kind)
    with Raw(proxy.url).post(path) as client:
        client.read_body()
        assert len(client.body) > 3 * EVENT // 2
    assert proxy.peak() - before < BOUND, f"{(proxy.peak() - before) / MIB:.1f} MiB"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["openai", "anthropic", "vercel_ui", "nobody's", "ollama", "gemini's array"])
def test_events_of_the_largest_size_stay_within_the_bound_while_parts_are_hidden(weir, upstream, name, shape):
    path, kind, pieces = events(name, shape, 3)
    proxy, before = warmed(weir, upstream, name, pieces, kind, hide={"reasoning": "drop", "tools": "drop"})
    with Raw(proxy.url).post(path) as client:
        client.read_body()
        assert len(client.body) > 3 * EVENT // 2
    assert proxy.peak() - before < BOUND, f"{(proxy.peak() - before) / MIB:.1f} MiB"


@pytest.mark.parametrize("shape", ["a long text", "many keys", "a key a line"])
@pytest.mark.parametrize("name", ["openai", "nobody's", "ollama", "gemini's array"])
def test_events_of_the_largest_size_for_a_client_that_reads_nothing(weir, upstream, name, shape):
    path, kind, pieces = events(name, shape, 6)
    proxy, before = warmed(weir, upstream, name, pieces, kind)
    with Raw(proxy.url, receive_buffer=4096) as client:
        client.send("POST", path, b'{"stream":true}', content_type="application/json")
        until("an event waits", lambda: any(stream["queue_bytes"] > EVENT // 2 for stream in proxy.streams()))
        stands = standing(proxy)
        until("nothing more is read", stands)
    assert proxy.peak() - before < BOUND, f"{(proxy.peak() - before) / MIB:.1f} MiB"


def standing(proxy):
    """Returns a function that reports whether nothing was read between its last five calls."""
    seen = []

    def stands() -> bool:
        seen.append(sum(stream["bytes"] for stream in proxy.streams()))
        return len(seen) >= 5 and len(set(seen[-5:])) == 1

    return stands


def test_lines_of_nothing(weir, upstream):
    """An event of lines that are empty is larger in canonical form, by a sixth."""
    proxy, before = warmed(weir, upstream, "nobody's", [b"data:\n" * (FITS // 6) + b"\n"], SSE)
    with Raw(proxy.url).post("/ticks") as client:
        client.read_body()
        assert client.body.count(b"data: \n") == FITS // 6
    assert proxy.peak() - before < BOUND, f"{(proxy.peak() - before) / MIB:.1f} MiB"


@pytest.mark.parametrize("overflow", ["drop_oldest", "block"])
@pytest.mark.parametrize("event", [b"id:1\n\n", b"data:x\n\n", b'data: {"type":"token","content":"x"}\n\n'])
def test_tiny_events_keep_a_queue_within_its_bytes(weir, upstream, event, overflow):
    """`max_events` may be larger than what `max_bytes` holds, with the descriptions of all events."""

    def script(connection):
        while "warm" in connection.request(within=60).line:
            connection.head()
            connection.chunk(event)
            connection.end()
        connection.head()
        connection.send(b"%x\r\n%s\r\n" % (len(event) * 400_000, event * 400_000))
        connection.gone(within=60)

    queue = {"max_bytes": "1MiB", "max_events": 65536, "merge": False, "overflow": overflow}
    proxy = weir(upstream(script).url, workers=1, defaults={"max_event_bytes": "16KiB", "queue": queue})
    # The first stream loads code.
    with Raw(proxy.url).post("/warm") as client:
        client.read_body()
    proxy.forget_peak()
    before = proxy.rss()
    with Raw(proxy.url, receive_buffer=4096) as client:
        client.send("POST", "/chat", b"{}", content_type="application/json")
        until("the queue is full", lambda: any(stream["queue_events"] > 2000 for stream in proxy.streams()))
        stands = standing(proxy)
        until("nothing more is read", lambda: overflow == "drop_oldest" or stands())
        assert proxy.peak() - before < 3 * 16 * 1024 + 2 * MIB, f"{(proxy.peak() - before) / MIB:.1f} MiB"


DUST = 520_000


def dust() -> bytes:
    """Not all alike: that would be refused as a decompression bomb."""
    return gzip.compress(b"".join(b"id:%d\n\n" % (number * number % 1009 % 10) for number in range(DUST)))


def test_compressed_dust_takes_no_memory(weir, upstream):
    body = dust()
    assert len(body) < 64 * 1024
    proxy, before = warmed(weir, upstream, "nobody's", [body], SSE, **{"content-encoding": "gzip"})
    with ExitStack() as idle:
        for _ in range(5):
            client = idle.enter_context(Raw(proxy.url, receive_buffer=4096))
            client.send("POST", "/ticks", b"{}", content_type="application/json")
        until("all queues are full", lambda: sum(one["queue_events"] > 200 for one in proxy.streams()) == 5)
        assert proxy.peak() - before < 5 * MIB, f"{(proxy.peak() - before) / MIB:.1f} MiB"
    with Raw(proxy.url).post("/ticks") as client:
        client.read_body()
        assert client.body.count(b"\n\n") == DUST, "all of it arrives where it is read"
