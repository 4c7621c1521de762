"""An agent with a pace of its own: `count` events, `pace` seconds apart, after `wait` seconds. With a compressing middleware
under `/packed`, whose paths are the same."""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Mount, Route


async def paced(request: Request, event: str) -> AsyncIterator[str]:
    query = request.query_params
    await asyncio.sleep(float(query.get("wait", "0")))
    for number in range(int(query.get("count", "20"))):
        yield event.format(number)
        await asyncio.sleep(float(query.get("pace", "0.1")))


async def events(request: Request) -> StreamingResponse:
    return StreamingResponse(paced(request, "data: {}\n\n"), media_type="text/event-stream")


async def with_beats(events: AsyncIterator[str]) -> AsyncIterator[str]:
    async for event in events:
        yield ": beat\n\n"
        yield event


async def beating(request: Request) -> StreamingResponse:
    return StreamingResponse(with_beats(paced(request, "data: {}\n\n")), media_type="text/event-stream")


async def lines(request: Request) -> StreamingResponse:
    return StreamingResponse(paced(request, '{{"n": {}}}\n'), media_type="application/x-ndjson")


async def untyped(request: Request) -> StreamingResponse:
    return StreamingResponse(paced(request, "data: {}\n\n"), media_type="text/plain")


async def whole(request: Request) -> JSONResponse:
    return JSONResponse({"authorized": "authorization" in request.headers, "body": (await request.body()).decode()})


BOTH = ["GET", "POST"]
routes = [
    Route("/events", events, methods=BOTH),
    Route("/beating", beating, methods=BOTH),
    Route("/lines", lines, methods=BOTH),
    Route("/untyped", untyped, methods=BOTH),
    Route("/whole", whole, methods=BOTH),
    Route("/v1/chat/completions", events, methods=["POST"]),
    Route("/v1/messages", events, methods=["POST"]),
]
packed = Starlette(routes=routes)
packed.add_middleware(GZipMiddleware, minimum_size=1)
app = Starlette(routes=[Mount("/packed", app=packed), *routes])
