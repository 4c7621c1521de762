"""sse-starlette with its defaults: CRLF line ends and its own pings."""

import json
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from sse_starlette import EventSourceResponse

from backends.control import Runs, words
from backends.side_channel import router

runs = Runs()
app = FastAPI()
app.include_router(router(runs))


@app.get("/agent")
async def agent(request: Request) -> EventSourceResponse:
    run = runs.begin(request.url.path, request.query_params)

    async def events() -> AsyncIterator[dict[str, str]]:
        async for word in runs.play(run, words(run.count)):
            yield {"event": "token", "data": json.dumps({"type": "token", "content": word})}
        yield {"event": "done", "data": json.dumps({"type": "done"})}

    return EventSourceResponse(events(), ping=1)
