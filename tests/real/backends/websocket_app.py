"""A typical Starlette agent with WebSocket routes, for uvicorn."""

import json

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

LARGE = b"x" * (64 << 10)
seen: list[dict[str, object]] = []


def begins(socket: WebSocket) -> dict[str, object]:
    run: dict[str, object] = {"name": socket.query_params.get("run"), "state": "open", "sent": 0}
    seen.append(run)
    return run


async def accept(socket: WebSocket) -> dict[str, object]:
    offered = socket.scope["subprotocols"]
    await socket.accept(subprotocol="chat.v2" if "chat.v2" in offered else None)
    return begins(socket)


async def until_closed(socket: WebSocket, run: dict[str, object]) -> None:
    """Reads until the connection ends, and notes how."""
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        pass
    closed(run, message)


def closed(run: dict[str, object], message: dict[str, object]) -> None:
    run.update(state="closed", code=message["code"], reason=message.get("reason") or "")


async def echo(socket: WebSocket) -> None:
    run = await accept(socket)
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])
    closed(run, message)


async def unaccepted(socket: WebSocket) -> None:
    await socket.close()


async def denied(socket: WebSocket) -> None:
    challenge = {"www-authenticate": 'Bearer realm="agents"'}
    await socket.send_denial_response(PlainTextResponse("no token\n", status_code=401, headers=challenge))


async def close(socket: WebSocket) -> None:
    await accept(socket)
    await socket.receive_text()
    await socket.close(int(socket.query_params["code"]), socket.query_params.get("reason"))


async def fail(socket: WebSocket) -> None:
    await accept(socket)
    await socket.receive_text()
    raise RuntimeError("the agent fails, as the test wants it to")


async def fields(socket: WebSocket) -> None:
    """Sends the request's fields, as they arrived."""
    run = await accept(socket)
    pairs = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in socket.headers.raw]
    await socket.send_text(json.dumps({"fields": pairs, "path": socket.url.path, "query": socket.url.query}))
    await until_closed(socket, run)


async def flood(socket: WebSocket) -> None:
    """Sends without end."""
    run = await accept(socket)
    try:
        while True:
            await socket.send_bytes(LARGE)
            run["sent"] = int(str(run["sent"])) + len(LARGE)
    except Exception:
        # Which error it is depends on the server behind Starlette.
        run.update(state="closed")


async def page(request: Request) -> HTMLResponse:
    return HTMLResponse("<!doctype html><meta charset=utf-8><title>agent</title><p>ready")


async def told(request: Request) -> JSONResponse:
    return JSONResponse(seen)


app = Starlette(
    routes=[
        Route("/page", page),
        Route("/_seen", told),
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/unaccepted", unaccepted),
        WebSocketRoute("/denied", denied),
        WebSocketRoute("/close", close),
        WebSocketRoute("/fail", fail),
        WebSocketRoute("/fields", fields),
        WebSocketRoute("/flood", flood),
    ]
)
