"""A WebSocket server with the `websockets` package. `python -m backends.websocket_server` prints its port.

`--unix PATH` listens on a Unix socket instead, `--tls CERT KEY` with TLS.
"""

import argparse
import asyncio
import json
import ssl
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from backends import realtime

seen: list[dict[str, object]] = []


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    path = urlsplit(request.path).path
    if path == "/_seen":
        return connection.respond(HTTPStatus.OK, json.dumps(seen))
    if path == "/refused":
        response = connection.respond(HTTPStatus.FORBIDDEN, "not for you\n")
        response.headers["X-Why"] = "because"
        return response
    return None


def choose(connection: ServerConnection, offered: list[str]) -> str | None:
    return "chat.v2" if "chat.v2" in offered else None


async def talk(connection: ServerConnection) -> None:
    assert connection.request
    url = urlsplit(connection.request.path)
    asked = {name: value for name, [value, *_] in parse_qs(url.query).items()}
    run: dict[str, object] = {"name": asked.get("run"), "state": "open"}
    seen.append(run)
    try:
        await PATHS.get(url.path, echo)(connection, asked)
    except ConnectionClosed:
        pass
    await connection.wait_closed()
    run.update(state="closed", code=connection.close_code, reason=connection.close_reason)


async def echo(connection: ServerConnection, asked: dict[str, str]) -> None:
    async for message in connection:
        await connection.send(message)


async def close(connection: ServerConnection, asked: dict[str, str]) -> None:
    await connection.recv()
    await connection.close(int(asked["code"]), asked.get("reason", ""))


async def abrupt(connection: ServerConnection, asked: dict[str, str]) -> None:
    await connection.recv()
    connection.transport.abort()


async def ping(connection: ServerConnection, asked: dict[str, str]) -> None:
    """Tells the client that it has answered a ping."""
    await (await connection.ping(b"from the agent"))
    await connection.send("answered")
    await connection.wait_closed()


async def voice(connection: ServerConnection, asked: dict[str, str]) -> None:
    await connection.send(realtime.greeting(asked["model"]))
    async for message in connection:
        for answer in realtime.answers(message):
            await connection.send(answer)


PATHS = {"/close": close, "/abrupt": abrupt, "/ping": ping, "/v1/realtime": voice}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--unix")
    parser.add_argument("--tls", nargs=2)
    options = parser.parse_args()
    context = None
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*options.tls)
    settings = {
        "process_request": refuse,
        "select_subprotocol": choose,
        "max_size": None,
        "ping_interval": None,
        "ssl": context,
    }
    if options.unix:
        server = await unix_serve(talk, options.unix, **settings)
        port = 0
    else:
        server = await serve(talk, "127.0.0.1", 0, **settings)
        port = next(iter(server.sockets)).getsockname()[1]
    print(json.dumps({"port": port}), flush=True)
    await server.serve_forever()


asyncio.run(main())
