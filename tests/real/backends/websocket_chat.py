"""An agent that speaks only WebSocket, with the `websockets` package. `python -m backends.websocket_chat` prints its port.

The first message is the question. What the agent does then is in the query: `do=answer` says all words, `done`, and closes;
`bytes` does it in binary messages; `stay` does not close; `hang` says one word, and then listens; `close` says one word, and
closes with `code`.
"""

import asyncio
import json
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

WORDS = ["It ", "is ", "4 \u00b0C ", "in ", "Oslo."]
seen: list[dict[str, object]] = []


def token(word: str) -> str:
    return json.dumps({"type": "token", "content": word}, ensure_ascii=False)


def done() -> str:
    return json.dumps({"type": "done"})


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    path = urlsplit(request.path).path
    if path == "/_seen":
        return connection.respond(HTTPStatus.OK, json.dumps(seen))
    if path != "/chat":
        return connection.respond(HTTPStatus.FORBIDDEN, "not for you\n")
    return None


async def chat(connection: ServerConnection) -> None:
    assert connection.request
    query = parse_qs(urlsplit(connection.request.path).query)
    asked = {name: value for name, [value, *_] in query.items()}
    run: dict[str, object] = {"name": asked.get("run"), "state": "open", "heard": []}
    seen.append(run)
    run["asked"] = await connection.recv()
    run["authorization"] = connection.request.headers.get("authorization")
    try:
        await answers(connection, asked, run)
    except ConnectionClosed:
        pass
    await connection.wait_closed()
    run.update(state="closed", code=connection.close_code)


async def answers(connection: ServerConnection, asked: dict[str, str], run: dict[str, object]) -> None:
    how = asked.get("do", "answer")
    for word in WORDS[:1] if how in ("hang", "close") else WORDS:
        await connection.send(token(word).encode() if how == "bytes" else token(word))
    if how in ("answer", "bytes", "stay"):
        await connection.send(done())
    if how in ("answer", "bytes"):
        return await connection.close(1000)
    if how == "close":
        return await connection.close(int(asked["code"]))
    async for message in connection:
        run["heard"] += [message]  # type: ignore[operator]


async def main() -> None:
    server = await serve(chat, "127.0.0.1", 0, process_request=refuse)
    print(json.dumps({"port": next(iter(server.sockets)).getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
