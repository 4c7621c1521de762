"""A typical FastAPI agent: StreamingResponse in every dialect, and ordinary routes."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from starlette.datastructures import QueryParams

from backends import wire
from backends.control import Dialect, Runs
from backends.side_channel import router

NODE = Path(__file__).resolve().parents[1] / "node"
MODULES = NODE / "node_modules/@microsoft/fetch-event-source/lib/esm"
ETAG = '"v1"'

runs = Runs()
app = FastAPI()
app.include_router(router(runs))


def stream(
    request: Request,
    dialect: Dialect,
    media_type: str = "text/event-stream",
    headers: Mapping[str, str] | None = None,
) -> StreamingResponse:
    # Some clients cannot set a query, but all can set a header.
    query = QueryParams(request.headers.get("x-run", "") or request.query_params)
    run = runs.begin(request.url.path, query)
    return StreamingResponse(runs.play(run, dialect(run.count)), media_type=media_type, headers=headers)


@app.post("/v1/chat/completions")
async def chat(request: Request) -> StreamingResponse:
    return stream(request, wire.openai)


@app.post("/v1/messages")
async def messages(request: Request) -> StreamingResponse:
    return stream(request, wire.anthropic)


@app.post("/api/chat")
async def ollama(request: Request) -> StreamingResponse:
    return stream(request, wire.ollama, "application/x-ndjson")


@app.post("/v1/responses")
async def responses(request: Request) -> StreamingResponse:
    return stream(request, wire.responses)


@app.post("/v1/completions")
async def completions(request: Request) -> StreamingResponse:
    return stream(request, wire.completions)


@app.post("/v1/models/m:streamGenerateContent")
@app.post("/v1beta/models/m:streamGenerateContent")
async def gemini(request: Request) -> StreamingResponse:
    if request.query_params.get("alt") == "sse":
        return stream(request, wire.gemini)
    return stream(request, wire.gemini_array, "application/json")


@app.post("/runs/stream")
async def langgraph(request: Request) -> StreamingResponse:
    return stream(request, wire.langgraph)


@app.post("/ui")
async def vercel_ui(request: Request) -> StreamingResponse:
    return stream(request, wire.vercel_ui, headers={"x-vercel-ai-ui-message-stream": "v1"})


@app.post("/ui/v4")
async def vercel_v4(request: Request) -> StreamingResponse:
    return stream(request, wire.vercel_v4, "text/plain", {"x-vercel-ai-data-stream": "v1"})


@app.post("/ag-ui")
async def ag_ui(request: Request) -> StreamingResponse:
    return stream(request, wire.ag_ui)


@app.post("/a2a")
async def a2a(request: Request) -> StreamingResponse:
    call = (await request.json())["id"]

    def answers(count: int | None) -> Iterator[str]:
        for result in wire.a2a(count):
            yield wire.sse(f'{{"jsonrpc":"2.0","id":{json.dumps(call)},"result":{result}}}')

    return stream(request, answers)


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
    """Yields incompressible bytes that are the same each time."""
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
