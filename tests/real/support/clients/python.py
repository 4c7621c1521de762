"""The unmodified Python clients of models (openai, anthropic, google-genai, ollama), httpx-sse, and curl."""

import json
import signal
import subprocess
import time
from urllib.parse import urlencode

import anthropic
import httpx
import ollama
import openai
from google import genai
from google.genai import errors as genai_errors
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


def openai_responses(base: str, query: dict[str, str], stop_after: int | None = None) -> Result:
    result = Result()
    with openai.OpenAI(
        base_url=f"{base}/v1", api_key="k", default_query=query, max_retries=0
    ) as client:
        try:
            # The accumulator checks the order and the indices of the events.
            with client.responses.stream(model="m", input="Weather?") as stream:
                for event in stream:
                    result.events.append(event.model_dump(mode="json", exclude_unset=True))
                    result.text += event.delta if event.type == "response.output_text.delta" else ""
                    if len(result.events) == stop_after:
                        result.left_at = time.monotonic()
                        break
        except (openai.APIError, httpx.HTTPError) as error:
            result.error = f"{type(error).__name__} {error} {getattr(error, 'code', '')}"
    return result


def openai_completions(base: str, query: dict[str, str], stop_after: int | None = None) -> Result:
    result = Result()
    with openai.OpenAI(
        base_url=f"{base}/v1", api_key="k", default_query=query, max_retries=0
    ) as client:
        stream = client.completions.create(model="m", prompt="Weather?", stream=True)
        try:
            for chunk in stream:
                result.events.append(chunk.model_dump(exclude_unset=True))
                result.text += "".join(choice.text for choice in chunk.choices)
                if len(result.events) == stop_after:
                    result.left_at = time.monotonic()
                    stream.close()
                    break
        except openai.APIError as error:
            result.error = f"{type(error).__name__} code={error.code} {error.message}"
    return result


def genai_python(base: str, query: dict[str, str], stop_after: int | None = None) -> Result:
    result = Result()
    options = {"base_url": base, "headers": {"x-run": urlencode(query)}}
    client = genai.Client(api_key="k", http_options=options)
    try:
        for chunk in client.models.generate_content_stream(model="m", contents="Weather?"):
            # The response headers are not part of the content.
            result.events.append(chunk.model_dump(mode="json", exclude_unset=True, exclude={"sdk_http_response"}))
            parts = chunk.candidates[0].content.parts if chunk.candidates else []
            result.text += "".join(part.text or "" for part in parts or [])
            if len(result.events) == stop_after:
                result.left_at = time.monotonic()
                break
    except (genai_errors.APIError, httpx.HTTPError) as error:
        result.error = f"{type(error).__name__} {error}"
    finally:
        client.close()
    return result


def ollama_python(base: str, query: dict[str, str], stop_after: int | None = None) -> Result:
    result = Result()
    client = ollama.Client(host=base, headers={"x-run": urlencode(query)})
    try:
        stream = client.chat(model="m", messages=MESSAGES, stream=True)
        for line in stream:
            result.events.append(line.model_dump(exclude_unset=True))
            result.text += line.message.content or ""
            if len(result.events) == stop_after:
                result.left_at = time.monotonic()
                break
    except (ollama.ResponseError, httpx.HTTPError) as error:
        result.error = f"{type(error).__name__} {error}"
    if result.left_at is not None:
        stream.close()
    client._client.close()
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
