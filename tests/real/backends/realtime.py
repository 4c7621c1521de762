"""A voice model on a script: the events of OpenAI's Realtime API, in the order in which it sends them."""

import base64
import json
from collections.abc import Iterator
from typing import Any

WORDS = ["It ", "is ", "4 \u00b0C ", "in ", "Oslo."]
# A tenth of a second of audio: 24 kHz, 16 bits, mono.
AUDIO = bytes(range(256)) * 19


def session(model: str) -> dict[str, Any]:
    return {"id": "sess_1", "object": "realtime.session", "type": "realtime", "model": model}


def greeting(model: str) -> str:
    """Returns what the server sends first."""
    return json.dumps({"type": "session.created", "event_id": "event_0", "session": session(model)})


def answers(message: str | bytes) -> Iterator[str]:
    """Yields the events that answer one event of the client."""
    asked = json.loads(message)
    kind = asked["type"]
    if kind == "session.update":
        yield event("session.updated", session={**session("m"), **asked["session"]})
    elif kind == "input_audio_buffer.commit":
        yield event("input_audio_buffer.committed", item_id="item_1", previous_item_id=None)
    elif kind == "response.create":
        yield event("response.created", response=response("in_progress"))
        for word in WORDS:
            audio = base64.b64encode(AUDIO).decode()
            yield event("response.output_audio_transcript.delta", **PLACE, delta=word)
            yield event("response.output_audio.delta", **PLACE, delta=audio)
        yield event("response.output_audio.done", **PLACE)
        yield event("response.output_audio_transcript.done", **PLACE, transcript="".join(WORDS))
        yield event("response.done", response=response("completed"))


PLACE = {"response_id": "resp_1", "item_id": "item_2", "output_index": 0, "content_index": 0}


def response(status: str) -> dict[str, Any]:
    return {"id": "resp_1", "object": "realtime.response", "status": status, "output": []}


def event(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, "event_id": "event_1", **fields})
