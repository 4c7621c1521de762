"""The sse-starlette agent, configured so that SIGTERM does not end its streams.

It then accepts no connections, so runs are continued through a separate port: `side: PORT` on standard output. Each
line sent there is the name of a run.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sse_starlette.sse import AppStatus

from backends.sse_starlette_app import app, runs

AppStatus.disable_automatic_graceful_drain()


async def let_go_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    runs.open((await reader.readline()).decode().strip(), 1)
    writer.close()


@asynccontextmanager
async def beside(_: FastAPI) -> AsyncIterator[None]:
    side = await asyncio.start_server(let_go_on, "127.0.0.1", 0)
    print(f"side: {side.sockets[0].getsockname()[1]}", flush=True)
    yield


app.router.lifespan_context = beside
