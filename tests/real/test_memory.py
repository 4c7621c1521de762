"""Does Weir go on when memory runs out?"""

import json
from contextlib import ExitStack

from backends import flood
from support.raw import Raw
from support.wait import until

MIB = 1024 * 1024
LIMIT = 64 * MIB
CHAT = "/v1/chat/completions"


def test_requests_are_refused_and_stalled_clients_let_go_before_memory_runs_out(weir, upstream):
    """Clients that take nothing fill their queues, until there is no room for more of them; then there is again."""

    def script(connection):
        while True:
            path = connection.request().line.split()[1]
            if path == "/steady":
                connection.head()
                connection.chunk(flood.tool_call(0))
                connection.gone(within=60)
            else:
                flood.pour(connection, 200 * MIB, 0)

    server = upstream(script)
    queue = {"max_bytes": "4MiB", "max_events": 65536, "merge": False}
    proxy = weir(server.url, limits={"memory": "64MiB"}, defaults={"queue": queue, "deadlines": {"client_stall": "5m"}})
    with Raw(proxy.url).post("/steady") as steady, ExitStack() as stalled:
        steady.until_events(1)
        refused = None
        while not refused:
            client = stalled.enter_context(Raw(proxy.url, receive_buffer=4096))
            client.post(CHAT)
            if client.status == 503:
                refused = client
            assert len(stalled._exit_callbacks) < 200
        assert int(refused.headers["retry-after"]) > 0
        error = json.loads(refused.read_body())["error"]
        assert error["code"] == "overloaded" and "limits.memory" in error["message"]
        ended = proxy.ended(outcome="client_stalled")
        assert ended["duration_ms"] < 60_000
        stalled.close()
        until("the others have left", lambda: len(proxy.streams()) == 1)
        until("there is memory again", lambda: serves(proxy), within=30)
        assert proxy.rss() < LIMIT * 1.2
        metrics = proxy.metrics()
        assert metrics.value("weir_memory_limit_bytes") == LIMIT
        assert 0 < metrics.value("weir_memory_used_bytes") < LIMIT
        assert [stream["route"] for stream in proxy.streams()] == ["all"], "the one that reads goes on"


def serves(proxy) -> bool:
    with Raw(proxy.url).post("/steady") as client:
        return client.status == 200
