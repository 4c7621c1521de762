"""The Python clients, unmodified: openai, anthropic, httpx-sse, curl."""

import json
import signal
import subprocess
import time

import anthropic
import httpx
import openai
from httpx_sse import connect_sse

from support import sse
from support.clients.result import Result

MESSAGES = [{"role": "user", "content": "Weather?"}]


def openai_python(base: str, query: dict[str, str], stop_after: int | None = None) -> Result:
    result = Result()
    with openai.OpenAI(
        base_url=f"{base}/v1", api_key="k", default_query=query, max_retries=0
    ) as client:
        stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        try:
            for chunk in stream:
                result.events.append(chunk.model_dump(exclude_unset=True))
                for choice in chunk.choices:
                    result.text += choice.delta.content or ""
                if len(result.events) == stop_after:
                    result.left_at = time.monotonic()
                    stream.close()
                    break
        except openai.APIError as error:
            result.error = f"{type(error).__name__} code={error.code} {error.message}"
    return result


def anthropic_python(base: str, query: dict[str, str], stop_after: int | None = None) -> Result:
    result = Result()
    with anthropic.Anthropic(
        base_url=base, api_key="k", default_query=query, max_retries=0
    ) as client:
        try:
            with client.messages.stream(model="m", max_tokens=99, messages=MESSAGES) as stream:
                for event in stream:
                    if event.type == "text":
                        result.text += event.text
                    if hasattr(event, "model_dump"):
                        result.events.append(event.model_dump(mode="json", exclude_unset=True))
                    if len(result.events) == stop_after:
                        result.left_at = time.monotonic()
                        break
        except (anthropic.APIError, httpx.HTTPError) as error:
            result.error = f"{type(error).__name__} {error}"
    return result


def httpx_sse_python(base: str, query: dict[str, str], stop_after: int | None = None) -> Result:
    result = Result()
    with httpx.Client(timeout=30) as client:
        try:
            with connect_sse(client, "GET", f"{base}/agent", params=query) as source:
                source.response.raise_for_status()
                for event in source.iter_sse():
                    result.events.append([event.event, event.data, event.id, event.retry])
                    data = event.json()
                    result.text += data["content"] if event.event == "token" else ""
                    if event.event == "error":
                        result.error = event.data
                    if len(result.events) == stop_after:
                        result.left_at = time.monotonic()
                        break
        except httpx.HTTPError as error:
            result.error = f"{type(error).__name__} {error}"
    return result


def curl(base: str, query: dict[str, str], stop_after: int | None = None) -> Result:
    result = Result()
    url = f"{base}/agent?" + "&".join(f"{key}={value}" for key, value in query.items())
    command = ["curl", "--silent", "--show-error", "--no-buffer", "--fail", "--max-time", "60", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    body = ""
    for line in process.stdout:
        body += line
        if stop_after and line == "\n" and len(sse.events(body)) == stop_after:
            result.left_at = time.monotonic()
            process.send_signal(signal.SIGTERM)
            break
    words, code = process.stderr.read(), process.wait(10)
    result.events = [list(event) for event in sse.events(body)]
    result.text = "".join(map(sse.content, sse.events(body)))
    failures = [event.data for event in sse.events(body) if event.name == "error"]
    if failures or (code and result.left_at is None):
        result.error = json.dumps([code, words, failures])
    return result
