"""A real LangGraph graph, streamed in the formats of the LangGraph platform and of LangServe (CRLF)."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

ANSWER = "Rain in Bergen, sun in Oslo, nothing certain."
app = FastAPI()


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def graph() -> Any:
    model = GenericFakeChatModel(messages=iter([AIMessage(ANSWER, id="a1")]))

    async def agent(state: State) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(State)
    builder.add_node("agent", agent)
    builder.add_edge(START, "agent")
    builder.add_edge("agent", END)
    return builder.compile()


def block(name: str, data: Any = None) -> str:
    body = "" if data is None else f"data: {json.dumps(data)}\r\n"
    return f"event: {name}\r\n{body}\r\n"


async def run() -> AsyncIterator[tuple[str, Any]]:
    question = {"messages": [HumanMessage("Weather?", id="h1")]}
    async for mode, part in graph().astream(question, stream_mode=["messages", "updates"]):
        if mode == "messages":
            chunk, metadata = part
            yield mode, [chunk.model_dump(), {"langgraph_node": metadata["langgraph_node"]}]
        else:
            nodes = {node: {"messages": [m.model_dump() for m in out["messages"]]} for node, out in part.items()}
            yield mode, nodes


@app.post("/runs/stream")
async def platform() -> StreamingResponse:
    async def events() -> AsyncIterator[str]:
        yield block("metadata", {"run_id": "r1", "attempt": 1})
        async for mode, data in run():
            yield ": heartbeat\r\n\r\n" + block(mode, data)

    return StreamingResponse(events(), media_type="text/event-stream")


@app.post("/agent/stream")
async def langserve() -> StreamingResponse:
    async def events() -> AsyncIterator[str]:
        yield block("metadata", {"run_id": "r1"})
        async for mode, data in run():
            if mode == "messages":
                yield block("data", data[0]["content"])
        yield block("end")

    return StreamingResponse(events(), media_type="text/event-stream")
