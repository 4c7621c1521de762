"""An agent that answers every request with `ok`, and what its clients see."""

import json
import time

import pytest

from support.raw import Closed, Raw

REFUSED = (Closed, ConnectionError)
OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
def plain(upstream):
    """An upstream that answers every request with `ok`."""

    def script(connection):
        while True:
            connection.request()
            connection.send(OK)

    return upstream(script)


def code(client: Raw) -> str:
    return json.loads(client.read_body())["error"]["code"]


def serves(proxy) -> bool:
    """Checks that an ordinary client is answered without delay."""
    asked = time.monotonic()
    with Raw(proxy.url).get("/") as client:
        return client.read_body() == b"ok" and time.monotonic() - asked < 1
