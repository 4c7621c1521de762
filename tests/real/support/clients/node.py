"""The JavaScript clients. Each is a script under node/ that gets its task as JSON and prints its result."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

from support.clients.result import Result
from support.process import REAL

Client = Callable[..., Result]


def script(file: str, **options: Any) -> Client:
    """Returns a client that runs `node FILE`."""

    def run(base: str, query: dict[str, str], stop_after: int | None = None) -> Result:
        task = {"base": base, "query": query, "stopAfter": stop_after, **options}
        command = ["node", file, json.dumps(task)]
        done = subprocess.run(
            command, cwd=REAL / "node", capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, f"{file} failed:\n{done.stderr}"
        told = json.loads(done.stdout)
        return Result(told["events"], told["text"], told["error"], told["leftAt"])

    return run


openai_node = script("openai.mjs")
responses_node = script("responses.mjs")
anthropic_node = script("anthropic.mjs")
genai_node = script("genai.mjs")
ollama_node = script("ollama.mjs")
ai_node = script("ai.mjs")
ai_chat_5 = script("chat.mjs", package="ai5")
ai_chat_6 = script("chat.mjs", package="ai")
ai_chat_7 = script("chat.mjs", package="ai7")
agui_node = script("agui.mjs")
agui_0_node = script("agui.mjs", package="ag-ui-client-0")
langgraph_node = script("langgraph.mjs")
eventsource_node = script("eventsource.mjs")
chromium_eventsource = script("chromium.mjs", client="eventsource")
chromium_fetch = script("chromium.mjs", client="fetch-event-source")
