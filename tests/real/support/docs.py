"""The snippets of docs/clients.md, and the configurations that they name."""

import re
from typing import Any, NamedTuple

import yaml

from support.process import ROOT

# The address in the snippets and in the examples.
ADDRESS = "http://127.0.0.1:8080"


class Snippet(NamedTuple):
    """The code of one client."""

    client: str
    # The file in deploy/examples that it needs.
    example: str
    language: str
    code: str

    def at(self, url: str) -> str:
        """Returns the code with the address of a running Weir."""
        return self.code.replace(ADDRESS, url)


def snippets() -> dict[str, Snippet]:
    """Returns the first block of code of each section that has one."""
    found = {}
    for section in (ROOT / "docs/clients.md").read_text().split("\n## ")[1:]:
        client = section.partition("\n")[0]
        block = re.search(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        if block:
            example = re.search(r"\(\.\./deploy/examples/([\w-]+\.yaml)\)", section)
            assert example, f"{client}: names no example"
            found[client] = Snippet(client, example[1], block[1], block[2])
    return found


def configured(example: str, agent: str) -> dict[str, Any]:
    """Returns the configuration of an example, with this agent and free ports."""
    config = yaml.safe_load((ROOT / "deploy/examples" / example).read_text())
    for upstream in config["upstreams"].values():
        upstream["endpoints"] = [agent]
    own = {"listen": "127.0.0.1:0", "admin": {"listen": "127.0.0.1:0"}, "drain": {"delay": "0s", "limit": "2s"}}
    return {**config, **own}
