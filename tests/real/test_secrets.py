"""Tests that nothing from a client or an agent appears in logs, metrics, the admin pages or Weir's own errors."""

import json
import threading

import pytest

from backends import wire
from support.raw import Closed, Raw

# One canary for each place where a secret could be.
PLACES = ["authorization", "cookie", "api-key", "query", "body", "event", "field", "status", "trailer"]
CANARY = {place: f"canary{number}zq{place.replace('-', '')}" for number, place in enumerate(PLACES)}

ENDS = {
    "whole": lambda connection: connection.end(f"x-own: {CANARY['trailer']}\r\n"),
    "cut": lambda connection: connection.fin(),
    "reset": lambda connection: connection.reset(),
    "a bad chunk": lambda connection: connection.send(f"{CANARY['event']}\r\n"),
    "an event too large": lambda connection: [connection.chunk(f"data: {CANARY['event']}" + "x" * 70_000), connection.end()],
    "an error": lambda connection: [connection.chunk(f'data: {{"error":{{"message":"{CANARY["event"]}"}}}}\n\n'), connection.end()],
}


def ask(proxy, **headers: str) -> Raw:
    body = json.dumps({"stream": True, "messages": [{"role": "user", "content": CANARY["body"]}]}).encode()
    client = Raw(proxy.url)
    fields = {"authorization": f"Bearer {CANARY['authorization']}", "cookie": f"s={CANARY['cookie']}", "x_api_key": CANARY["api-key"]}
    client.send("POST", f"/v1/chat/completions?key={CANARY['query']}", body, content_type="application/json", **fields, **headers)
    return client


def told(proxy) -> str:
    """Returns everything that Weir prints or serves elsewhere."""
    pages = [proxy.ask(path)[1] for path in ("/metrics", "/streams", "/healthz", "/readyz", "/")]
    return "\n".join([*proxy.child.lines, *pages])


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("level", ["info", "trace"])
def test_no_secret_and_no_payload_is_told(weir, upstream, end, level):
    def script(connection):
        connection.request()
        connection.head("text/event-stream", "200 OK", f"x-own: {CANARY['field']}")
        connection.chunk(list(wire.openai(2))[1])
        connection.chunk(f'data: {{"choices":[{{"index":0,"delta":{{"content":"{CANARY["event"]}"}}}}]}}\n\n')
        read.acquire()
        ENDS[end](connection)

    read = threading.Semaphore(0)
    proxy = weir(upstream(script).url, log={"level": level}, defaults={"max_event_bytes": "64KiB"})
    with ask(proxy).read_head() as client:
        client.until_bytes(CANARY["event"].encode())
        during = told(proxy)
        read.release()
        try:
            client.read_body()
        except (Closed, ConnectionError):
            pass
    proxy.ended()
    after = told(proxy)
    for canary in CANARY.values():
        assert canary not in during and canary not in after


@pytest.mark.parametrize("answer", ["nonsense {}", "HTTP/1.1 200 {}\r\nx\0{}: y\r\n\r\n", "HTTP/1.1 2000 {}\r\n\r\n"])
def test_an_answer_that_cannot_be_read_is_not_repeated(weir, upstream, answer):
    def script(connection):
        connection.request()
        connection.send(answer.replace("{}", CANARY["status"]))
        connection.fin()

    proxy = weir(upstream(script).url, log={"level": "trace"})
    with ask(proxy).read_head() as client:
        assert client.status == 502
        error = client.read_body().decode()
    for canary in CANARY.values():
        assert canary not in told(proxy) and canary not in error


def test_a_request_that_is_refused_is_not_repeated(weir, upstream):
    proxy = weir(upstream(lambda connection: connection.request()).url, log={"level": "trace"})
    for head in (
        f"GET /?key={CANARY['query']} HTTP/1.1\r\nhost: {CANARY['field']} x\r\n\r\n",
        f"GET / HTTP/1.1\r\nhost: h\r\nauthorization {CANARY['authorization']}\r\n\r\n",
        f"GET /?{CANARY['query']} HTTP/1.1\r\nhost: h\r\nexpect: {CANARY['field']}\r\n\r\n",
        f"GET / HTTP/1.1\r\nhost: h\r\nupgrade: {CANARY['field']}\r\ncookie: {CANARY['cookie']}\r\n\r\n",
    ):
        with Raw(proxy.url).say(head) as client:
            said = client.read_head().read_body().decode()
            assert 400 <= client.status < 600
        assert not any(canary in said for canary in CANARY.values())
    assert not any(canary in told(proxy) for canary in CANARY.values())
