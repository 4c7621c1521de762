"""An agent that speaks HTTP/2, and the configuration of a Weir before it."""

import pytest

from backends.scripted_h2 import UpstreamH2
from support.weir import config_for


@pytest.fixture
def agent():
    """`agent(script)` starts an HTTP/2 server that runs `script` for each stream."""
    running = []

    def start(script, **settings) -> UpstreamH2:
        running.append(UpstreamH2(script, **settings))
        return running[-1]

    yield start
    for one in running:
        one.close()


def over_h2(url: str, upstream: dict | None = None, **sections) -> dict:
    """Returns a configuration with one worker, so that there is one connection if all streams fit into it."""
    config = config_for(url, workers=1, **sections)
    config["upstreams"]["agent"] |= {"http2": True, **(upstream or {})}
    return config
