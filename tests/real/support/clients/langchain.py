"""The unmodified ChatOpenAI of langchain-openai."""

import openai
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI

from support.clients.result import Result


def langchain_openai(base: str, query: dict[str, str], stop_after: int | None = None, path: str = "/v1") -> Result:
    result = Result()
    model = ChatOpenAI(
        model="m", base_url=f"{base}{path}", api_key="k", default_query=query, max_retries=0, stream_usage=True
    )
    whole: AIMessageChunk | None = None
    try:
        for chunk in model.stream("Weather?"):
            whole = chunk if whole is None else whole + chunk
            result.text += chunk.text
    except openai.APIError as error:
        result.error = f"{type(error).__name__} code={error.code} {error.message}"
    # The message as an application sees it: the sum of all chunks.
    result.events = [whole]
    return result
