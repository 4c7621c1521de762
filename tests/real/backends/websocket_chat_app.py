"""A Starlette agent that speaks only WebSocket, for uvicorn: the first message is the question. See `websocket_chat`."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from backends.websocket_chat import WORDS, done, seen, token


async def chat(socket: WebSocket) -> None:
    asked = socket.query_params
    await socket.accept()
    run: dict[str, object] = {"name": asked.get("run"), "state": "open", "heard": []}
    seen.append(run)
    run["asked"] = await socket.receive_text()
    run["authorization"] = socket.headers.get("authorization")
    how = asked.get("do", "answer")
    for word in WORDS[:1] if how in ("hang", "close") else WORDS:
        if how == "bytes":
            await socket.send_bytes(token(word).encode())
        else:
            await socket.send_text(token(word))
    if how in ("answer", "bytes", "stay"):
        await socket.send_text(done())
    if how in ("answer", "bytes"):
        return await closes(socket, run, 1000)
    if how == "close":
        return await closes(socket, run, int(asked["code"]))
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        run["heard"] += [message.get("text")]  # type: ignore[operator]
    run.update(state="closed", code=message["code"])


async def closes(socket: WebSocket, run: dict[str, object], code: int) -> None:
    await socket.close(code)
    run.update(state="closed", code=code)


async def refused(socket: WebSocket) -> None:
    await socket.close()


async def told(request: Request) -> JSONResponse:
    return JSONResponse(seen)


app = Starlette(
    routes=[Route("/_seen", told), WebSocketRoute("/chat", chat), WebSocketRoute("/refused", refused)],
)
