"""Agents behind compression: GZipMiddleware, and a hop that compresses each event even if asked not to."""

import zlib
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.middleware.gzip import GZipMiddleware

from backends import wire
from backends.control import Runs
from backends.side_channel import router

runs = Runs()
app = FastAPI()
app.include_router(router(runs))
# GZipMiddleware excludes event streams by default, but holds NDJSON back until the compressor is full.
app.add_middleware(GZipMiddleware, minimum_size=1)


@app.post("/api/chat")
async def ollama(request: Request) -> StreamingResponse:
    run = runs.begin(request.url.path, request.query_params)
    return StreamingResponse(runs.play(run, wire.ollama(run.count)), media_type="application/x-ndjson")


@app.api_route("/agent", methods=["GET", "POST"])
async def flushed(request: Request) -> StreamingResponse:
    """One gzip stream, flushed after every event."""
    run = runs.begin(request.url.path, request.query_params)

    async def packed() -> AsyncIterator[bytes]:
        gzip = zlib.compressobj(wbits=31)
        async for event in runs.play(run, wire.convention(run.count)):
            yield gzip.compress(event.encode()) + gzip.flush(zlib.Z_SYNC_FLUSH)
        yield gzip.flush()

    headers = {"content-encoding": "gzip"}
    return StreamingResponse(packed(), media_type="text/event-stream", headers=headers)
