"""Tests that every query of the dashboard and every rule returns data, with a real Prometheus that scrapes a real Weir.

The load includes every kind of failure: agents that break, stall, buffer and refuse, clients that leave, come back and
stall. How Grafana draws the dashboard is not tested, only that its queries return data.
"""

import json
import math
import re
import subprocess
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed

from backends import wire
from backends.scripted import Upstream
from support.clients.websocket import opened
from support.process import ROOT
from support.prometheus import Prometheus, promtool
from support.raw import Closed, Raw
from support.wait import until
from support.weir import Weir, config_for

BOARD = json.loads((ROOT / "deploy/grafana/weir.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
CHAT = "/v1/chat/completions"
OPENAI = list(wire.openai(6))


def plainly(text: str) -> str:
    """Returns a query as Grafana would send it, with everything selected."""
    for name, value in {"$__rate_interval": "1m", "$namespace": ".*", "$job": ".*", "$route": ".*", "$upstream": ".*"}.items():
        text = text.replace(name, value)
    assert "$" not in text, text
    return text


def agent(connection):
    """An agent that behaves as the path says."""
    while True:
        path = connection.request().line.split()[1]
        if path == "/plain":
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            continue
        if "refuses" in path:
            connection.send("HTTP/1.1 500 no\r\ncontent-length: 2\r\n\r\nno")
            continue
        connection.head()
        for number, event in enumerate(OPENAI):
            if "breaks" in path and number == 3:
                connection.reset()
                return
            if "stops" in path and number == 3:
                connection.end()
                break
            if "hangs" in path and number == 3:
                connection.gone(60)
            if "floods" in path and number == 3:
                while True:
                    connection.chunk(OPENAI[1] * 500)
            if "lumps" in path and number == 2:
                time.sleep(0.6)
                connection.chunk(OPENAI[1] * 12)
            connection.chunk(event)
            time.sleep(0.002)
        else:
            connection.end()


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    server = Upstream(agent)
    policy = {"deadlines": {"idle": "700ms", "client_stall": "700ms"}, "heartbeat": "200ms", "queue": {"max_events": 64}}
    config = config_for(server.url, defaults=policy)
    config["upstreams"]["gone"] = {"endpoints": ["http://127.0.0.1:1"]}
    config["routes"].insert(0, {"name": "gone", "upstream": "gone", "match": {"path_prefix": "/gone"}})
    config["routes"].insert(0, {"name": "fixed", "upstream": "agent", "match": {"path_prefix": "/fixed"}, "dialect": "anthropic"})
    resumed = {"resume": {}, "on_disconnect": "continue"}
    config["routes"].insert(0, {"name": "resumed", "upstream": "agent", "match": {"path_prefix": "/resumed"}, **resumed})
    config["routes"].insert(0, {"name": "bridged", "upstream": "agent", "match": {"path_prefix": "/bridged"}, "websocket": "bridge"})
    agents = [{"name": "well", "upstream": "agent", "path": CHAT}, {"name": "ill", "upstream": "agent", "path": "/refuses"}]
    several = {"reply": {"as": "events"}, "merge": {"agents": agents}}
    config["routes"].insert(0, {"name": "several", "match": {"path_prefix": "/several"}, **several})
    file = folder / "weir.yaml"
    file.write_text(json.dumps(config))
    proxy = Weir("--config", str(file))
    proxy.file = file
    prometheus = Prometheus(folder, proxy.admin)
    over = threading.Event()
    loads = [threading.Thread(target=load, args=(proxy, over), daemon=True) for _ in range(3)]
    for one in loads:
        one.start()
    proxy.ended(outcome="client_stalled")
    proxy.ended(outcome="idle_timeout")
    prometheus.scraped(8)
    yield prometheus
    over.set()
    for one in loads:
        one.join(30)
    prometheus.close()
    proxy.close()
    server.close()


def load(proxy, over: threading.Event) -> None:
    while not over.is_set():
        for path in ("/plain", CHAT, f"{CHAT}?refuses", f"{CHAT}?breaks", f"{CHAT}?stops", f"{CHAT}?lumps", "/fixed", "/several", "/gone/x", f"{CHAT}?hangs"):
            with Raw(proxy.url) as client:
                try:
                    client.send("POST", path, b'{"stream":true}').read_head().read_body()
                except (Closed, ConnectionError):
                    pass
        with Raw(proxy.url) as leaves:
            leaves.post(f"{CHAT}?hangs").until_events(1)
        with Raw(proxy.url) as lost:
            stream = lost.post("/resumed?lumps").headers["weir-stream-id"]
            lost.until_events(1)
        with Raw(proxy.url) as returns:
            try:
                returns.get(f"/.weir/streams/{stream}?after=1").read_body()
            except (Closed, ConnectionError):
                pass
        with opened(proxy.url, "/bridged") as socket:
            try:
                socket.send(json.dumps({"type": "message", "id": "q1", "body": {"stream": True}}))
                while json.loads(socket.recv(5)).get("scope") != "run":
                    socket.send(json.dumps({"type": "ack"}))
            except (ConnectionClosed, TimeoutError):
                pass
        with Raw(proxy.url, receive_buffer=4096) as stalls:
            stalls.post(f"{CHAT}?floods")
            before = proxy.metrics().by("weir_streams_total", "outcome").get("client_stalled", 0)
            until("it stalls", lambda: over.is_set() or proxy.metrics().by("weir_streams_total", "outcome").get("client_stalled", 0) > before)


def numbers(samples: list[dict]) -> list[dict]:
    """Returns the samples that have a value."""
    return [sample for sample in samples if not math.isnan(float(sample["value"][1]))]


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_every_query_of_the_dashboard_has_data(observed, panel):
    for target in panel["targets"]:
        # A quantile is no number while nothing of its kind has happened: the load goes on.
        samples = until(f"data for {target['expr']}", lambda: numbers(observed.query(plainly(target["expr"]))), within=20)
        # Every name in a legend must be a label of the series.
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert all(label in sample["metric"] for sample in samples), (target["expr"], label)


def test_every_variable_of_the_dashboard_has_values(observed):
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            assert any(label in sample["metric"] for sample in observed.query(plainly(metric))), variable["name"]


def test_every_recording_rule_has_data(observed):
    rules = re.findall(r"record: (\S+)", (ROOT / "deploy/prometheus/rules.yaml").read_text())
    assert len(rules) > 10
    for rule in rules:
        until(f"data for {rule}", lambda rule=rule: observed.query(rule), within=10)


def test_alerts_read_only_metrics_that_there_are(observed):
    """An alert on a metric that does not exist would never fire."""
    text = (ROOT / "deploy/prometheus/rules.yaml").read_text()
    names = set(re.findall(r"\bweir_\w+", text))
    # This metric does not exist without TLS.
    for name in sorted(names - {"weir_tls_certificate_not_after_seconds"}):
        until(f"series of {name}", lambda name=name: observed.query(name), within=10)


@pytest.mark.timeout(600)
def test_the_rules_hold_what_their_tests_say():
    promtool("check", "rules", "deploy/prometheus/rules.yaml")
    for file in ("rules_test.yaml", "rules_days_test.yaml"):
        promtool("test", "rules", f"deploy/prometheus/{file}")


def test_every_alert_has_a_paragraph_in_the_runbook():
    alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy/prometheus/rules.yaml").read_text())
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert headings == alerts


def test_the_dashboard_is_what_its_program_writes():
    subprocess.run([str(ROOT / "deploy/grafana/dashboard.py"), "--check"], check=True)
