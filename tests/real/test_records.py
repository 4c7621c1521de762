"""Tests that the `standardwebhooks` library of a receiver accepts the records of finished streams, and nothing else.

The agent is a FastAPI server and the client is the OpenAI SDK: a record has to hold what the client was shown.
"""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from backends.wire import text_of
from support.wait import until

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
METADATA = '{"conversation": 7, "user": "bj\\u00f8rn"}'
# The shortest pause before a record is sent again, a little less than half a second for clocks that differ.
PAUSE = 0.45


class Post(NamedTuple):
    """One request as received."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float


class Receiver:
    """A webhook that answers with these statuses, one after the other, and then with 204."""

    def __init__(self, *statuses: int):
        self.posts: list[Post] = []
        left = list(statuses)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                fields = {name.lower(): value for name, value in self.headers.items()}
                receiver.posts.append(Post(self.path, fields, body, time.monotonic()))
                self.send_response(left.pop(0) if left else 204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/weir"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    """`receiver(500)` starts a webhook that answers with these statuses first."""
    running: list[Receiver] = []

    def start(*statuses: int) -> Receiver:
        running.append(Receiver(*statuses))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def recording(weir, fastapi, tmp_path: Path) -> Callable[[Receiver], Any]:
    """`recording(hook)` starts Weir, whose records go to this webhook."""

    def start(hook: Receiver) -> Any:
        secret = tmp_path / "secret"
        secret.write_text(SECRET + "\n")
        return weir(fastapi.url, complete={"url": hook.url, "secret": f"file:{secret}"})

    return start


def chat(base: str) -> tuple[str, str]:
    """Reads a whole stream with the SDK. Returns its text and the id that Weir gave it."""
    text = ""
    with openai.OpenAI(base_url=f"{base}/v1", api_key="k", max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "Weather?"}]
        fields = {"weir-metadata": METADATA}
        stream = client.chat.completions.create(model="m", messages=messages, stream=True, extra_headers=fields)
        for chunk in stream:
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        return text, stream.response.headers["weir-stream-id"]


def test_a_receiver_verifies_what_was_said(recording, receiver):
    hook = receiver()
    proxy = recording(hook)
    text, stream_id = chat(proxy.url)
    assert text == text_of()
    [post] = until("the record", lambda: list(hook.posts))
    assert post.path == "/hooks/weir"

    record = Webhook(SECRET).verify(post.body, post.headers)
    assert record["type"] == "stream.completed"
    data = record["data"]
    assert data["stream_id"] == stream_id
    assert (data["route"], data["dialect"]) == ("all", "openai_chat")
    assert (data["outcome"], data["code"], data["truncated"]) == ("finished", None, False)
    assert data["metadata"] == METADATA
    assert [message["text"] for message in data["messages"]] == [text]
    assert [(tool["id"], tool["name"], tool["args"]) for tool in data["tools"]] == [("t1", "wx", {"city": "Oslo"})]
    assert (data["usage"]["input"], data["usage"]["output"]) == (9, 12)
    assert 0 <= data["first_token_ms"] <= data["duration_ms"]


def test_a_receiver_refuses_what_was_changed(recording, receiver):
    hook = receiver()
    chat(recording(hook).url)
    [post] = until("the record", lambda: list(hook.posts))
    record = json.loads(post.body)
    cheaper = post.body.replace(b'"output":12', b'"output":2')
    assert cheaper != post.body

    later = str(int(post.headers["webhook-timestamp"]) + 60)
    changed = {
        "a count": (SECRET, cheaper, post.headers),
        "a byte more": (SECRET, post.body + b"\n", post.headers),
        # The same values in another form: a receiver must verify the body as it arrived.
        "parsed and written again": (SECRET, json.dumps(record, indent=1).encode(), post.headers),
        "the id": (SECRET, post.body, {**post.headers, "webhook-id": "another"}),
        "the time": (SECRET, post.body, {**post.headers, "webhook-timestamp": later}),
        "the secret": (OTHER_SECRET, post.body, post.headers),
    }
    Webhook(SECRET).verify(post.body, post.headers)
    for what, (secret, body, headers) in changed.items():
        with pytest.raises(WebhookVerificationError, match="No matching signature"):
            pytest.fail(f"verified: {what}: {Webhook(secret).verify(body, headers)}")


def test_a_receiver_that_fails_gets_the_record_again(recording, receiver):
    hook = receiver(500)
    proxy = recording(hook)
    chat(proxy.url)
    until("the second attempt", lambda: len(hook.posts) == 2)
    first, second = hook.posts
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    for post in hook.posts:
        assert Webhook(SECRET).verify(post.body, post.headers)["data"]["outcome"] == "finished"
    assert second.at - first.at >= PAUSE
    until("it is counted", lambda: proxy.metrics().by("weir_records_total", "result") == {"sent": 1})
    assert proxy.metrics().value("weir_record_retries_total") == 1
    assert len(hook.posts) == 2
