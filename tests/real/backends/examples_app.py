"""The agents that the examples for WebSocket and for several agents name, apart from LangGraph: one that streams over
HTTP with events of its own, one that reads OpenAI's chat requests and nothing else, and one that speaks only WebSocket.

Runs may be controlled (`control.py`), and those over WebSocket as `websocket_chat` says.
"""

from collections.abc import Iterator
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.routing import WebSocketRoute

from backends import websocket_chat, wire
from backends.control import Runs
from backends.websocket_chat_app import chat as answer_on_websocket

# What the model says.
WORDS = ["Dry ", "in ", "Oslo."]

runs = Runs()
app = FastAPI(routes=[WebSocketRoute("/ws", answer_on_websocket)])


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["user", "assistant", "system"]
    content: str = Field(min_length=1)


class Question(BaseModel):
    """What an agent of one's own reads. Other members do not bother it."""

    messages: list[Message] = Field(min_length=1)


class Completion(BaseModel):
    """What a strict server of OpenAI's API reads."""

    model_config = ConfigDict(extra="forbid")
    model: Literal["small"]
    stream: Literal[True]
    messages: list[Message] = Field(min_length=1)


def completion() -> Iterator[str]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return wire.sse({**base, "choices": [choice]})

    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "small"}
    for word in WORDS:
        yield chunk({"content": word})
    yield chunk({}, "stop")
    yield wire.sse("[DONE]")


def stream(request: Request, events: Any) -> StreamingResponse:
    run = runs.begin(request.url.path, request.query_params)
    return StreamingResponse(runs.play(run, events), media_type="text/event-stream")


@app.post("/chat")
async def chat(request: Request, question: Question) -> StreamingResponse:
    return stream(request, wire.convention(6))


@app.post("/api/chat")
async def use_chat(request: Request, question: Question) -> StreamingResponse:
    return stream(request, completion())


@app.post("/v1/chat/completions")
async def completions(request: Request, question: Completion) -> StreamingResponse:
    return stream(request, completion())


@app.post("/_open")
async def open_gate(run: str, n: int = 1) -> dict[str, bool]:
    runs.open(run, n)
    return {"ok": True}


@app.get("/_seen")
async def seen() -> list[dict[str, object]]:
    return runs.seen() + websocket_chat.seen
