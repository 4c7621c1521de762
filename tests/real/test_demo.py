"""Tests that the page of `weir demo` gets every word once after its connection was lost, in a real browser."""

import json
import re

import pytest

from support.clients import node
from support.process import Child
from support.raw import Raw
from support.weir import BINARY

CHAT = "/v1/chat/completions"
# After so many words the connection is lost. Many more come while the page is away, and the rest when it is back.
WORDS = 3


@pytest.fixture
def demo():
    """The address of a running demo."""
    child = Child([str(BINARY), "demo", "--listen", "127.0.0.1:0", "--admin", "off"])
    try:
        said = child.line("the greeting", lambda line: "watch tokens arrive" in line)
        yield said.split()[-1].rstrip("/")
    finally:
        child.stop()


def whole(url: str) -> str:
    """Returns the answer of the scripted agent, which it gives in one piece as well."""
    with Raw(url).post(CHAT, b'{"stream":false}') as client:
        return json.loads(client.read_body())["choices"][0]["message"]["content"]


def test_a_page_that_loses_its_connection_gets_each_word_once(demo):
    result = node.script("demo.mjs", words=WORDS)(demo, {})
    assert result.error is None
    assert result.text == whole(demo)
    (seen,) = result.events
    texts = [text for text, _ in seen["said"]]
    lost, back = (next(at for at, text in enumerate(texts) if word in text) for word in ("connection lost", "came back"))
    assert lost < back and texts[-1] == "finished"
    shown = [words for _, words in seen["said"]]
    assert WORDS <= shown[lost] == shown[back] < seen["words"], "nothing came while it was away, and the rest afterwards"
    after = re.search(r"after event (\d+)", texts[lost])
    assert after and texts[back].endswith(f"event {after[1]}")
    # One run, and one way back into it.
    back_path = f"GET /.weir/streams/{seen['stream']}?after={after[1]}"
    assert [one for one in seen["asked"] if CHAT in one or "/.weir/" in one] == [f"POST {CHAT}", back_path]
