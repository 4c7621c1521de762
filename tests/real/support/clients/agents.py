"""The unmodified Python clients of agents: langgraph-sdk, a2a-sdk."""

import asyncio
import time
from urllib.parse import urlencode

import httpx
from a2a.client.transports.jsonrpc import JsonRpcTransport
from a2a.types import Message, Part, Role, SendMessageRequest
from a2a.utils.errors import A2AError
from google.protobuf.json_format import MessageToDict
from langgraph_sdk import get_sync_client

from support.clients.result import Result


def langgraph_python(base: str, query: dict[str, str], stop_after: int | None = None) -> Result:
    result = Result()
    client = get_sync_client(url=base, api_key=None, headers={"x-run": urlencode(query)})
    try:
        stream = client.runs.stream(None, "agent", input={}, stream_mode=["messages-tuple", "updates"])
        for part in stream:
            result.events.append([part.event, part.data])
            if part.event == "messages" and part.data[0]["type"] == "AIMessageChunk":
                result.text += part.data[0]["content"]
            # The SDK delivers errors as events. RemoteGraph raises an exception on them.
            if part.event == "error":
                result.error = str(part.data)
            if len(result.events) == stop_after:
                result.left_at = time.monotonic()
                stream.close()
                break
    except httpx.HTTPError as error:
        result.error = f"{type(error).__name__} {error}"
    return result


def a2a_python(base: str, query: dict[str, str], stop_after: int | None = None) -> Result:
    return asyncio.run(_a2a(base, query, stop_after))


async def _a2a(base: str, query: dict[str, str], stop_after: int | None) -> Result:
    result = Result()
    async with httpx.AsyncClient(timeout=30, params=query) as http:
        transport = JsonRpcTransport(http, None, f"{base}/a2a")
        message = Message(message_id="q", role=Role.ROLE_USER, parts=[Part(text="Weather?")])
        stream = transport.send_message_streaming(SendMessageRequest(message=message))
        try:
            async for event in stream:
                told = MessageToDict(event)
                result.events.append(told)
                parts = told.get("artifactUpdate", {}).get("artifact", {}).get("parts", [])
                result.text += "".join(part["text"] for part in parts)
                if len(result.events) == stop_after:
                    result.left_at = time.monotonic()
                    await stream.aclose()
                    break
        except (A2AError, httpx.HTTPError) as error:
            result.error = f"{type(error).__name__} {error}"
    return result
