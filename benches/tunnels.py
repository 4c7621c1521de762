#!/usr/bin/env python3
"""What an open WebSocket that is silent takes of the process's memory.

    benches/tunnels.py [WEIR] [--count 3000]

Opens that many WebSockets through one Weir, each of which has exchanged one message, and compares the process's memory
(PSS) with that before.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import re
import resource
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Opened before the first measurement, so that what is allocated once is not counted.
FIRST = 100
AT_ONCE = 200
# Memory that was freed goes back to the system within a second.
SETTLE = 5
ASK = (
    b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
HELLO = b"\x81\x85\0\0\0\0hello"
ECHO = b"\x81\x05hello"


async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts a WebSocket, and says hello to whatever comes."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"(?i)sec-websocket-key: (\S+)", head)
        assert found, head
        accept = base64.b64encode(hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
            + accept
            + b"\r\n\r\n"
        )
        while await reader.read(4096):
            writer.write(ECHO)
    except (asyncio.CancelledError, ConnectionError):
        pass
    finally:
        writer.close()


async def opened(port: int) -> asyncio.StreamWriter:
    """Opens a WebSocket, and exchanges one message."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASK)
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head, head
    writer.write(HELLO)
    assert await reader.readexactly(len(ECHO)) == ECHO
    return writer


def memory(process: int) -> int:
    """Returns the PSS of a process in KiB."""
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def start(weir: str, agent_port: int, count: int, folder: str) -> tuple[subprocess.Popen, int]:
    """Starts Weir; returns it and its port."""
    config = {
        "listen": "127.0.0.1:0",
        "admin": {"listen": "off"},
        "limits": {"max_streams": count + FIRST},
        "upstreams": {"agent": {"endpoints": [f"http://127.0.0.1:{agent_port}"]}},
        "routes": [{"name": "all", "upstream": "agent"}],
    }
    file = Path(folder) / "weir.yaml"
    # JSON is valid YAML.
    file.write_text(json.dumps(config))
    log = Path(folder) / "log"
    with log.open("w") as out:
        process = subprocess.Popen([weir, "serve", "--config", str(file)], stderr=out)
    while not (found := re.search(r"127\.0\.0\.1:(\d+)", log.read_text())):
        assert process.poll() is None, log.read_text()
    return process, int(found[1])


async def measure(weir: str, count: int) -> float:
    """Returns how many KiB one WebSocket takes."""
    server = await asyncio.start_server(agent, "127.0.0.1", 0, backlog=AT_ONCE)
    with tempfile.TemporaryDirectory() as folder:
        process, port = start(weir, server.sockets[0].getsockname()[1], count, folder)
        try:
            held = [await opened(port) for _ in range(FIRST)]
            await asyncio.sleep(SETTLE)
            before = memory(process.pid)
            for _ in range(count // AT_ONCE):
                held += await asyncio.gather(*(opened(port) for _ in range(AT_ONCE)))
            await asyncio.sleep(SETTLE)
            return (memory(process.pid) - before) / (len(held) - FIRST)
        finally:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weir", nargs="?", default=str(ROOT / "target/publish/release/weir"))
    parser.add_argument("--count", type=int, default=3000)
    options = parser.parse_args()
    # Each WebSocket has a socket at both ends of this process.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    each = asyncio.run(measure(options.weir, options.count))
    print(f"{options.count} silent WebSockets: {each:.1f} KiB each")


if __name__ == "__main__":
    main()
