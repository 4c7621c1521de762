"""A FastAPI agent as people write it: StreamingResponse in four dialects, beside ordinary routes."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse

from backends import wire
from backends.control import Dialect, Runs
from backends.side_channel import router

NODE = Path(__file__).resolve().parents[1] / "node"
MODULES = NODE / "node_modules/@microsoft/fetch-event-source/lib/esm"
ETAG = '"v1"'

runs = Runs()
app = FastAPI()
app.include_router(router(runs))


def stream(request: Request, dialect: Dialect, media_type: str = "text/event-stream") -> StreamingResponse:
    run = runs.begin(request.url.path, request.query_params)
    return StreamingResponse(runs.play(run, dialect(run.count)), media_type=media_type)


@app.post("/v1/chat/completions")
async def chat(request: Request) -> StreamingResponse:
    return stream(request, wire.openai)


@app.post("/v1/messages")
async def messages(request: Request) -> StreamingResponse:
    return stream(request, wire.anthropic)


@app.post("/api/chat")
async def ollama(request: Request) -> StreamingResponse:
    return stream(request, wire.ollama, "application/x-ndjson")


@app.api_route("/agent", methods=["GET", "POST"])
async def agent(request: Request) -> StreamingResponse:
    return stream(request, wire.convention)


@app.get("/json")
async def plain() -> dict[str, object]:
    return {"text": "caf\u00e9", "list": [1, 2.50, None], "big": 2**63}


@app.api_route("/status/{code}", methods=["GET", "POST"])
async def status(code: int) -> Response:
    if code in (204, 304):
        return Response(status_code=code, headers={"etag": ETAG})
    body = {"error": {"message": f"status {code}", "type": "server_error", "code": None}}
    return JSONResponse(body, status_code=code, headers={"retry-after": "7", "x-request-cost": "3"})


@app.get("/cached")
async def cached(request: Request) -> Response:
    if request.headers.get("if-none-match") == ETAG:
        return Response(status_code=304, headers={"etag": ETAG})
    return Response("fresh", media_type="text/plain", headers={"etag": ETAG})


@app.get("/cookies")
async def cookies() -> Response:
    response = Response("two cookies")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@app.post("/upload")
async def upload(request: Request) -> dict[str, object]:
    digest, size = hashlib.sha256(), 0
    async for part in request.stream():
        digest.update(part)
        size += len(part)
    return {"sha256": digest.hexdigest(), "size": size}


def noise(size: int) -> Iterator[bytes]:
    """Bytes that no coding shrinks and that are the same each time."""
    block = b""
    for number in range(size // 65536):
        block = hashlib.shake_128(number.to_bytes(4)).digest(65536)
        yield block


@app.get("/download")
def download(size: int, length: bool = True) -> StreamingResponse:
    headers = {"content-length": str(size // 65536 * 65536)} if length else {}
    return StreamingResponse(noise(size), media_type="application/octet-stream", headers=headers)


@app.get("/page")
async def page() -> HTMLResponse:
    return HTMLResponse("<!doctype html><meta charset=utf-8><title>agent</title><p>ready")


@app.get("/esm/{name}")
async def module(name: str) -> FileResponse:
    return FileResponse(MODULES / f"{name.removesuffix('.js')}.js", media_type="text/javascript")
