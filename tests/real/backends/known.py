"""An agent whose every event is known beforehand, for thousands of runs at a time.

`/agent?run=R` plays run R: `count=N` events, about `each=N` in a write, `every=S` seconds between writes, `pad=N` more
bytes in a token, `hold=K` waits before event K until a POST to `/_go`, `then=S` sends a token every S seconds after the last
event, and never ends. `/_runs` returns how many runs have started and finished.
"""

import asyncio
import itertools
import json
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import parse_qsl

from backends import wire

SECRET = "SECRET"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def said(run: int, place: int, pad: int = 0) -> str:
    """Returns the text of an event. It names the run and the place, so that no event can be taken for another."""
    return f'w{run}.{place} \u2603 "Rain" ' + "x" * pad


def kind(place: int, count: int) -> str:
    """Returns the name of an event."""
    if place == 0:
        return "status"
    if place == count - 1:
        return "done"
    return {3: "thinking", 4: "thinking", 7: "tool_call", 9: "tool_result"}.get(place % 25, "token")


def event(run: int, place: int, count: int, pad: int = 0) -> bytes:
    name = kind(place, count)
    text = said(run, place, pad)
    fields = {
        "status": {"content": text},
        "thinking": {"content": f"{SECRET} {text}"},
        "tool_call": {"id": f"t{place}", "name": "wx", "args": {"city": text}},
        "tool_result": {"id": f"t{place - 2}", "content": text},
        "token": {"content": text},
        "done": {},
    }
    return wire.sse({"type": name, **fields[name]}, name).encode()


def events(run: int, count: int, pad: int = 0) -> list[bytes]:
    return [event(run, place, count, pad) for place in range(count)]


def text_of(run: int, count: int, name: str = "token") -> str:
    """Returns the whole text of the answer."""
    return "".join(said(run, place) for place in range(count) if kind(place, count) == name)


def writes(all_events: list[bytes], each: int) -> Iterator[list[bytes]]:
    left = iter(all_events)
    while piece := list(itertools.islice(left, random.randint(1, max(1, 2 * each - 1)))):
        yield piece


async def main() -> None:
    go = asyncio.Event()
    counts = {"started": 0, "finished": 0}

    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data)

    async def play(writer: asyncio.StreamWriter, options: dict[str, str]) -> None:
        run, count, pad = int(options["run"]), int(options.get("count", 100)), int(options.get("pad", 0))
        hold, every = int(options.get("hold", -1)), float(options.get("every", 0))
        counts["started"] += 1
        writer.write(HEAD)
        place = 0
        # Without an end in between.
        total = count + 1 if "then" in options else count
        mine = [event(run, place, total, pad) for place in range(count)]
        for piece in writes(mine, int(options.get("each", 10))):
            if 0 <= hold < place + len(piece):
                early, piece = piece[: hold - place], piece[hold - place :]
                writer.write(chunk(b"".join(early)) if early else b"")
                place, hold = place + len(early), -1
                await go.wait()
            writer.write(chunk(b"".join(piece)))
            place += len(piece)
            await writer.drain()
            await asyncio.sleep(every * random.uniform(0.5, 1.5))
        while "then" in options:
            await asyncio.sleep(float(options["then"]) * random.uniform(0.5, 1.5))
            writer.write(chunk(wire.sse({"type": "token", "content": said(run, place)}, "token").encode()))
            place += 1
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        counts["finished"] += 1

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                if length := re.search(r"(?i)\r\ncontent-length: *(\d+)", head):
                    await reader.readexactly(int(length[1]))
                path, _, query = head.split()[1].partition("?")
                if path == "/agent":
                    await play(writer, dict(parse_qsl(query)))
                    continue
                if path == "/_go":
                    go.set()
                body = json.dumps(counts).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
