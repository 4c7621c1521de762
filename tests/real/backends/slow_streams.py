"""Thousands of slow streams from one process: a token every two seconds, until they are told to finish."""

import asyncio
import json

from backends import wire

INTERVAL = 2.0


async def main() -> None:
    finish = asyncio.Event()
    role, token = list(wire.openai(1))[:2]
    done = "".join(list(wire.openai(0))[-3:])

    def chunk(text: str) -> bytes:
        data = text.encode()
        return b"%x\r\n%s\r\n" % (len(data), data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST /_finish"):
            finish.set()
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        else:
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                + chunk(role)
            )
            while not finish.is_set():
                writer.write(chunk(token))
                await writer.drain()
                try:
                    await asyncio.wait_for(finish.wait(), INTERVAL)
                except TimeoutError:
                    continue
            writer.write(chunk(done) + b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


asyncio.run(main())
