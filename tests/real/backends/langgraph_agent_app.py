"""An agent with a tool: a real LangGraph graph whose model asks for a tool, and answers with what the tool says.

It is served as the LangGraph platform would, and on the paths that the OpenAI and Anthropic SDKs and EventSource use, as
an application with events of its own. A run may be controlled (`control.py`), and `fail=1` makes its model fail in its
second call.
"""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from starlette.datastructures import QueryParams

from backends import wire
from backends.control import Runs
from backends.side_channel import router

FIRST = ["I ask ", "the harbour."]
ARGUMENTS = ['{"port":', ' "Bergen"}']
TIDE = "high at 14:10"
SECOND = ["High water ", "is at ", "14:10."]
USAGE = {"input_tokens": 31, "output_tokens": 22, "total_tokens": 53}
FAILURE = "The model is overloaded."

runs = Runs()
app = FastAPI()
app.include_router(router(runs))


@tool
def tides(port: str) -> str:
    """Returns when the water is high."""
    return TIDE


class Model(BaseChatModel):
    """A scripted model. It calls the tool unless it has been told what the tool says."""

    fails: bool = False

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError("this model only streams")

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        is_told = isinstance(messages[-1], ToolMessage)
        if is_told and self.fails:
            raise RuntimeError(FAILURE)
        for chunk in answer() if is_told else question():
            yield ChatGenerationChunk(message=chunk)


def question() -> Iterator[AIMessageChunk]:
    for text in FIRST:
        yield AIMessageChunk(id="a1", content=text)
    call = {"name": "tides", "args": "", "id": "t1", "index": 0, "type": "tool_call_chunk"}
    yield AIMessageChunk(id="a1", content="", tool_call_chunks=[call])
    for part in ARGUMENTS:
        call = {"name": None, "args": part, "id": None, "index": 0, "type": "tool_call_chunk"}
        yield AIMessageChunk(id="a1", content="", tool_call_chunks=[call])


def answer() -> Iterator[AIMessageChunk]:
    for text in SECOND:
        yield AIMessageChunk(id="a2", content=text)
    yield AIMessageChunk(id="a2", content="", usage_metadata=USAGE)


def graph(fails: bool) -> Any:
    model = Model(fails=fails)

    async def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("agent", agent)
    builder.add_node("tools", ToolNode([tides]))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile()


async def platform(fails: bool) -> AsyncIterator[str]:
    """Yields the events of the LangGraph platform."""
    asked = {"messages": [HumanMessage("When is high water in Bergen?", id="h1")]}
    yield wire.sse({"run_id": "r1", "attempt": 1}, "metadata")
    try:
        async for mode, part in graph(fails).astream(asked, stream_mode=["messages", "updates"]):
            if mode == "messages":
                message, metadata = part
                yield wire.sse([message.model_dump(), {"langgraph_node": metadata["langgraph_node"]}], mode)
            else:
                nodes = {node: {"messages": [m.model_dump() for m in out["messages"]]} for node, out in part.items()}
                yield wire.sse(nodes, mode)
    except RuntimeError as error:
        yield wire.sse({"error": type(error).__name__, "message": str(error)}, "error")


async def own(fails: bool) -> AsyncIterator[str]:
    """Yields the events of an application that has chosen their names itself."""
    asked = {"messages": [HumanMessage("When is high water in Bergen?", id="h1")]}
    async for mode, part in graph(fails).astream(asked, stream_mode=["messages", "updates"]):
        if mode == "messages":
            message, _ = part
            if isinstance(message, ToolMessage):
                yield event("tool_result", id=message.tool_call_id, content=message.content)
            elif message.content:
                yield event("token", content=message.content)
        else:
            said = [message for out in part.values() for message in out["messages"]]
            for call in [call for message in said for call in getattr(message, "tool_calls", [])]:
                yield event("tool_call", id=call["id"], name=call["name"], args=call["args"])
    yield event("done")


def event(kind: str, **fields: Any) -> str:
    return wire.sse({"type": kind, **fields}, kind)


def stream(request: Request, events: Any) -> StreamingResponse:
    query = QueryParams(request.headers.get("x-run", ""))
    run = runs.begin(request.url.path, query)
    playing = runs.play_async(run, events("fail" in query))
    return StreamingResponse(playing, media_type="text/event-stream")


@app.post("/runs/stream")
async def langgraph(request: Request) -> StreamingResponse:
    # The request has the form that the platform reads.
    body = json.loads(await request.body() or "{}")
    assert body["input"]["messages"][-1]["content"], body
    return stream(request, platform)


@app.post("/graph/chat/completions")
@app.post("/ui")
async def bare(request: Request) -> StreamingResponse:
    """Sends the platform's events on paths that clients of other dialects ask, whatever the request says."""
    return stream(request, platform)


@app.post("/v1/chat/completions")
@app.post("/v1/messages")
@app.api_route("/agent", methods=["GET", "POST"])
async def application(request: Request) -> StreamingResponse:
    return stream(request, own)


@app.get("/page")
async def page() -> HTMLResponse:
    return HTMLResponse("<!doctype html><meta charset=utf-8><title>chat</title>")
