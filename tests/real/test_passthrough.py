"""Tests that responses that are not streams keep their status, head and body."""

import json
import subprocess

import pytest

from support.raw import Raw

# Headers that differ between any two responses, that describe a single connection, or that Weir adds to every response.
OWN = {"date", "connection", "keep-alive", "transfer-encoding", "x-request-id"}

REQUESTS = [
    ("GET", "/json", 200),
    ("GET", "/nowhere", 404),
    ("GET", "/status/500", 500),
    ("POST", "/status/429", 429),
    ("GET", "/status/204", 204),
    ("GET", "/status/304", 304),
    ("HEAD", "/cached", 405),
    ("HEAD", "/status/500", 405),
    ("OPTIONS", "/json", 405),
    ("GET", "/cookies", 200),
    ("GET", "/page", 200),
]


def answer(url: str, method: str, path: str, **headers: str) -> tuple[object, ...]:
    with Raw(url) as client:
        client.send(method, path, **headers).read_head()
        body = b"" if method == "HEAD" or client.status in (204, 304) else client.read_body()
        lines = client.head.decode("latin-1").split("\r\n")
        fields = sorted(line for line in lines[1:] if line.split(":")[0].lower() not in OWN)
        # A second request on the same connection shows that the end of the first response was understood.
        assert client.get("/json").read_body().endswith(b'"big":9223372036854775808}')
        return lines[0], fields, body


@pytest.mark.parametrize(("method", "path", "status"), REQUESTS)
def test_answers_equal_the_direct_ones(weir, fastapi, method, path, status):
    direct = answer(fastapi.url, method, path)
    assert f" {status} " in str(direct[0])
    assert answer(weir(fastapi.url).url, method, path) == direct


def test_a_conditional_request_is_answered_by_the_backend(weir, fastapi):
    proxy = weir(fastapi.url)
    for headers, status in (({}, 200), ({"if_none_match": '"v1"'}, 304)):
        through, direct = (answer(u, "GET", "/cached", **headers) for u in (proxy.url, fastapi.url))
        assert through == direct
        assert f" {status} " in str(through[0])


def test_an_error_on_a_streaming_path_stays_an_error(weir, upstream):
    """A 429 before the stream must not become a 200, because SDKs retry by status."""
    error = b'{"error":{"message":"slow down","type":"rate_limit_error","code":"rate"}}'

    def script(connection):
        connection.request()
        connection.head("application/json", "429 Too Many Requests", "retry-after: 3")
        connection.chunk(error)
        connection.end()

    with Raw(weir(upstream(script).url).url).post("/v1/chat/completions") as client:
        assert client.status == 429
        assert client.headers["retry-after"] == "3"
        assert client.read_body() == error


def test_expect_100_continue_is_answered(weir, fastapi, tmp_path):
    """curl waits for the interim response before it sends the body, and reports it."""
    file = tmp_path / "body"
    file.write_bytes(b"x" * 2_000_000)
    command = ["curl", "--silent", "--verbose", "--header", "Expect: 100-continue"]
    command += ["--expect100-timeout", "30", "--max-time", "20", "--data-binary", f"@{file}"]
    done = subprocess.run(
        [*command, f"{weir(fastapi.url).url}/upload"], capture_output=True, text=True, check=True
    )
    assert "< HTTP/1.1 100 Continue" in done.stderr
    assert json.loads(done.stdout)["size"] == 2_000_000


def test_trailers_reach_the_client(weir, upstream):
    def script(connection):
        connection.request()
        connection.head("application/grpc-web", "200 OK", "trailer: x-checksum")
        connection.chunk("payload")
        connection.end("x-checksum: 123\r\n")

    with Raw(weir(upstream(script).url).url).get("/rpc", te="trailers") as client:
        assert client.read_body() == b"payload"
        assert client.trailers.lower() == b"x-checksum: 123\r\n"


def test_the_request_arrives_as_it_was_sent(weir, upstream):
    def script(connection):
        connection.request()
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    server = upstream(script)
    body = json.dumps({"stream": False, "text": "\u00fc" * 1000}).encode()
    path = "/v1/x%2Fy/../z?a=1&a=2&b=%20&c"
    hop = {"connection": "keep-alive, x-hop", "x_hop": "1", "te": "trailers"}
    with Raw(weir(server.url).url).post(path, body, authorization="Bearer k", x_own="1", **hop) as c:
        assert c.read_body() == b"ok"
        sent_host = c.host
    (request,) = server.requests()
    assert request.line == f"POST {path} HTTP/1.1"
    assert request.body == body
    have = request.headers
    assert (have["authorization"], have["x-own"]) == ("Bearer k", "1")
    assert "x-hop" not in have, "named in Connection, so it ends here"
    assert have["x-forwarded-for"] == "127.0.0.1"
    assert have["x-forwarded-proto"] == "http"
    assert have["x-forwarded-host"] == sent_host


def test_a_trace_is_continued_and_a_request_named(weir, upstream):
    def script(connection):
        for _ in range(2):
            connection.request()
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    server = upstream(script)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with Raw(weir(server.url).url) as client:
        client.get("/", traceparent=trace, x_request_id="mine").read_body()
        client.get("/").read_body()
    continued, created = (request.headers for request in server.requests())
    assert continued["traceparent"].split("-")[1] == trace.split("-")[1]
    assert continued["x-request-id"] == "mine"
    assert created["traceparent"].startswith("00-") and created["x-request-id"]


def test_connections_of_plain_answers_are_used_again(weir, upstream):
    def script(connection):
        while True:
            connection.request()
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    server = upstream(script)
    with Raw(weir(server.url).url) as client:
        for _ in range(5):
            assert client.get("/").read_body() == b"ok"
    assert len(server.requests()) == 5
    assert len(server.connections) == 1
