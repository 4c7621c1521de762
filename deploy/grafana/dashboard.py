#!/usr/bin/env python3
"""Writes weir.json, the dashboard: deploy/grafana/dashboard.py [--check]

One page for whoever is on call: whether tokens flow, how fast, and why streams end. `--check` only reports whether the
file is up to date.
"""

import json
import sys
from pathlib import Path

FILE = Path(__file__).with_name("weir.json")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
ALL = 'namespace=~"$namespace", job=~"$job"'
ROUTE = f'{ALL}, route=~"$route"'
BAD = "truncated|upstream_error|upstream_reset|.*_timeout|too_large|panic"
# What does not speak against an agent of several.
SPARED = "finished|cancelled|client_.*|drained|stopped"
GREEN, YELLOW, RED = "green", "yellow", "red"


def rate(metric: str, by: str = "", labels: str = "", where: str = ROUTE) -> str:
    selector = f"{where}, {labels}" if labels else where
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def quantile(q: float, metric: str, by: str = "", labels: str = "", where: str = ROUTE) -> str:
    return f"histogram_quantile({q}, {rate(f'{metric}_bucket', ', '.join(filter(None, [by, 'le'])), labels, where)})"


def total(metric: str, by: str = "", labels: str = "", where: str = ROUTE) -> str:
    selector = f"{where}, {labels}" if labels else where
    return f"sum by ({by}) ({metric}{{{selector}}})"


# Histograms whose buckets have exemplars: docs/metrics.md, Exemplars.
EXEMPLARS = ("weir_time_to_first_token_seconds_bucket", "weir_stream_duration_seconds_bucket")

# Kind, title, description, unit, and the query and name of each line.
Panel = tuple[str, str, str, str, list[tuple[str, str]]]
Row = tuple[str, int, list[Panel]]

ROWS: list[Row] = [
    (
        "Overview",
        4,
        [
            ("stat", "Open streams", "Streams that run at this moment.", "short", [(total("weir_streams_active"), "streams")]),
            ("stat", "Output tokens per second", "Text of all answers, reasoning included.", "short", [(rate("weir_output_tokens_total"), "tokens/s")]),
            (
                "stat",
                "Failed streams, share",
                "Streams that the agent, the network or Weir ended. Clients that left, stops and drains do not count.",
                "percentunit",
                [
                    (
                        f"({rate('weir_streams_total', labels=f'outcome=~{chr(34)}{BAD}{chr(34)}')}) / ({rate('weir_streams_total')} > 0)",
                        "share",
                    )
                ],
            ),
            ("stat", "Time to first token, p95", "From the request's head to the first text of the answer.", "s", [(quantile(0.95, "weir_time_to_first_token_seconds", labels='kind="answer"'), "p95")]),
            ("stat", "Tokens per second of a stream, median", "The median stream.", "short", [(quantile(0.5, "weir_stream_output_tokens_per_second"), "median")]),
            ("stat", "Last configuration reload", "1: the last reload succeeded. 0: it was rejected, and the old configuration is in force.", "short", [(f"min(weir_config_last_reload_successful{{{ALL}}})", "reload")]),
        ],
    ),
    (
        "Why streams ended",
        8,
        [
            ("timeseries", "Streams ended, by outcome", "One reason for each stream: docs/behaviour.md, Endings.", "ops", [(rate("weir_streams_total", "outcome"), "{{outcome}}")]),
            ("timeseries", "Failed streams, share by route", "Share of the ended streams that failed.", "percentunit", [(f"{rate('weir_streams_total', 'route', f'outcome=~{chr(34)}{BAD}{chr(34)}')} / ({rate('weir_streams_total', 'route')} > 0)", "{{route}}")]),
            ("timeseries", "Upstream errors", "Calls that failed at the agent, by reason.", "ops", [(rate("weir_upstream_errors_total", "reason"), "{{reason}}")]),
            ("timeseries", "Responses by status code", "Plain requests and heads of streams.", "ops", [(rate("weir_requests_total", "kind, code"), "{{kind}} {{code}}")]),
            ("timeseries", "Refused requests", "Refused before any agent was asked.", "ops", [(rate("weir_requests_refused_total", "reason", where=ALL), "{{reason}}")]),
            ("timeseries", "Cancelled upstream calls", "Calls that Weir cancelled, by reason.", "ops", [(rate("weir_upstream_cancellations_total", "reason"), "{{reason}}")]),
        ],
    ),
    (
        "Latency and throughput",
        8,
        [
            (
                "timeseries",
                "Time to first token",
                "To the first text of the answer.",
                "s",
                [(quantile(q, "weir_time_to_first_token_seconds", labels='kind="answer"'), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)],
            ),
            (
                "timeseries",
                "Parts of the time to first token, p95",
                "Head of the agent's answer, first event, first text that the client sees.",
                "s",
                [
                    (quantile(0.95, "weir_upstream_headers_seconds"), "head"),
                    (quantile(0.95, "weir_time_to_first_event_seconds"), "first event"),
                    (quantile(0.95, "weir_time_to_visible_token_seconds"), "visible text"),
                ],
            ),
            ("heatmap", "Time to first token, distribution", "How many answers began after how long.", "s", [(rate("weir_time_to_first_token_seconds_bucket", "le", 'kind="answer"'), "{{le}}")]),
            ("timeseries", "Time between tokens", "As they come from the agent.", "s", [(quantile(q, "weir_inter_token_seconds"), f"p{q * 100:g}") for q in (0.5, 0.99)]),
            ("timeseries", "Tokens per second of a stream", "The slowest tenth, the median, the fastest tenth.", "short", [(quantile(q, "weir_stream_output_tokens_per_second"), f"p{q * 100:g}") for q in (0.1, 0.5, 0.9)]),
            ("timeseries", "Tokens per second, by route", "All streams of a route together.", "short", [(rate("weir_output_tokens_total", "route, type"), "{{route}} {{type}}")]),
            ("timeseries", "Latency added by Weir", "An event read to handed to the client's connection.", "s", [(quantile(q, "weir_added_latency_seconds"), f"p{q * 100:g}") for q in (0.5, 0.99)]),
            ("timeseries", "Duration of streams", "From the request's head to the end.", "s", [(quantile(q, "weir_stream_duration_seconds"), f"p{q * 100:g}") for q in (0.5, 0.95)]),
            ("timeseries", "Duration of plain requests", "Those that are no streams.", "s", [(quantile(q, "weir_request_duration_seconds"), f"p{q * 100:g}") for q in (0.5, 0.95)]),
        ],
    ),
    (
        "Slow clients",
        8,
        [
            ("timeseries", "Queued bytes", "Bytes that wait for clients, in the queues of all streams.", "bytes", [(total("weir_queue_bytes", "route"), "{{route}}")]),
            ("timeseries", "Merged and dropped events", "Events merged for slow clients, and events that clients did not get.", "ops", [(rate("weir_events_merged_total", "route"), "{{route}} merged"), (rate("weir_events_dropped_total", "class, reason"), "{{class}} {{reason}}")]),
            ("timeseries", "Client stalls, p95", "Spells of more than 0.1 s in which a client took nothing, p95.", "s", [(quantile(0.95, "weir_client_stall_seconds"), "p95")]),
            ("timeseries", "Back-pressure on upstreams", "Seconds per second in which an upstream was not read because a queue was full, over all streams.", "short", [(rate("weir_queue_wait_seconds_total", "route"), "{{route}}")]),
            ("timeseries", "Time to cancel after a client left, p99", "From the moment the client left to the end of its upstream call.", "s", [(quantile(0.99, "weir_upstream_cancel_seconds"), "p99")]),
            ("timeseries", "Heartbeats sent", "Sent to clients while the agent was silent.", "ops", [(rate("weir_heartbeats_total", "route"), "{{route}}")]),
        ],
    ),
    (
        "Agents (upstreams)",
        8,
        [
            ("timeseries", "Ejected endpoints", "Endpoints left out because requests or health checks failed.", "short", [(f'max by (upstream) (weir_upstream_endpoints_ejected{{{ALL}, upstream=~"$upstream"}})', "{{upstream}}")]),
            ("timeseries", "Time to connect, p95", "Name, TCP and TLS, p95.", "s", [(quantile(0.95, "weir_upstream_connect_seconds"), "p95")]),
            ("timeseries", "Bursts after silence", "8 events or more in one read after 0.5 s: something before Weir buffers.", "ops", [(rate("weir_upstream_bursts_total", "route"), "{{route}}")]),
            ("timeseries", "Streams in another dialect than announced", "The dialect that route, request or response had announced.", "ops", [(rate("weir_dialect_mismatches_total", "route, dialect"), "{{route}} {{dialect}}")]),
            ("timeseries", "Incomplete tool calls", "Tool calls whose arguments are not valid JSON, or that do not end.", "ops", [(rate("weir_tool_calls_incomplete_total", "route, dialect"), "{{route}} {{dialect}}")]),
            ("timeseries", "Hidden characters", "Characters of reasoning and tools that clients did not get.", "short", [(rate("weir_leak_characters_hidden_total", "route, kind"), "{{route}} {{kind}}")]),
        ],
    ),
    (
        "Replies",
        8,
        [
            ("timeseries", "Translated streams, by reply", "Translated streams that ended, by the dialect that their clients got.", "ops", [(rate("weir_replies_total", "reply"), "{{reply}}")]),
            ("timeseries", "Events lost in translation", "What clients were not told, because their dialect has no words for it: docs/replies.md.", "ops", [(rate("weir_reply_lost_total", "kind"), "{{kind}}")]),
            ("timeseries", "Events lost in translation, by route", "The same, of each route: another dialect may have words for it.", "ops", [(rate("weir_reply_lost_total", "route"), "{{route}}")]),
        ],
    ),
    (
        "Resume",
        8,
        [
            ("timeseries", "Resume requests, by result", "By what they got: docs/metrics.md, Requests to resume.", "ops", [(rate("weir_resume_requests_total", "result"), "{{result}}")]),
            ("timeseries", "Resume requests, by way", "By the way they asked.", "ops", [(rate("weir_resume_requests_total", "way"), "{{way}}")]),
            ("timeseries", "Time away before a resume", "From the moment a viewer left until one came back to the same stream.", "s", [(quantile(q, "weir_resume_gap_seconds"), f"p{q * 100:g}") for q in (0.5, 0.95)]),
            ("timeseries", "Viewers and stops", "Clients that follow a stream with a journal, and streams that clients stopped.", "short", [(total("weir_viewers", "route"), "{{route}}"), (rate("weir_stops_total", "route"), "{{route}} stops/s")]),
            ("timeseries", "Replayed events", "Events sent again from journals.", "ops", [(rate("weir_resume_replayed_events_total", "route"), "{{route}}")]),
            ("timeseries", "Journal memory", "The memory that they take, and how much they may take.", "bytes", [(f"max by (instance) (weir_journal_bytes{{{ALL}}})", "{{instance}} used"), (f"max by (instance) (weir_journal_limit_bytes{{{ALL}}})", "{{instance}} limit")]),
            ("timeseries", "Streams with a journal", "Those that run, and those that are kept after their end.", "short", [(total("weir_journal_streams", "state", where=ALL), "{{state}}")]),
            ("timeseries", "Events evicted from journals", "By reason. Expired events were kept as long as configured.", "ops", [(rate("weir_journal_evicted_total", "reason", where=ALL), "{{reason}}")]),
            ("timeseries", "Journal store", "1: it answers. Requests to it that failed, and streams that it did not take whole.", "short", [(f"min by (instance) (weir_resume_store_up{{{ALL}}})", "{{instance}} up"), (rate("weir_resume_store_errors_total", "instance", where=ALL), "{{instance}} errors/s"), (rate("weir_resume_store_broken_total", "instance", where=ALL), "{{instance}} broken/s")]),
        ],
    ),
    (
        "WebSocket",
        8,
        [
            ("timeseries", "Open WebSockets", "All of a route, and those of them that Weir bridges to HTTP.", "short", [(total("weir_streams_active", "route", 'transport="websocket"'), "{{route}}"), (total("weir_websocket_sockets", "route"), "{{route}} bridged")]),
            ("timeseries", "WebSockets opened", "Upgrades that were accepted.", "ops", [(rate("weir_requests_total", "route", 'kind="websocket"'), "{{route}}")]),
            ("timeseries", "WebSockets closed, by code", "Of the first close frame, whoever sent it. 1005: it had no code. 1006: there was none. docs/websocket.md, How it ends.", "ops", [(rate("weir_websocket_closes_total", "code"), "{{code}}")]),
            ("timeseries", "WebSocket frames", "From clients (in), and to them (out).", "ops", [(rate("weir_websocket_frames_total", "route, direction"), "{{route}} {{direction}}")]),
            ("timeseries", "WebSocket bytes", "From clients (in), and to them (out), with their framing.", "binBps", [(rate("weir_websocket_bytes_total", "route, direction"), "{{route}} {{direction}}")]),
            ("timeseries", "Unacknowledged events", "Events that bridges have sent, and that their clients have not acknowledged. Runs whose clients never do count with at most `ack_window` each.", "short", [(total("weir_websocket_unacked_events", "route"), "{{route}}")]),
        ],
    ),
    (
        "Several agents",
        8,
        [
            ("timeseries", "Agents ended, by outcome", "Each agent of streams with several, by reason: docs/merge.md.", "ops", [(rate("weir_merge_agents_total", "route, agent, outcome"), "{{route}} {{agent}} {{outcome}}")]),
            ("timeseries", "Failed agents, share", "The share of an agent's ends. Clients that left, drains, and agents that were not needed any more do not count as failures.", "percentunit", [(f"{rate('weir_merge_agents_total', 'route, agent', f'outcome!~{chr(34)}{SPARED}{chr(34)}')} / ({rate('weir_merge_agents_total', 'route, agent')} > 0)", "{{route}} {{agent}}")]),
            ("timeseries", "Time to first token, by agent", "From the request's head to the first text of each agent's answer.", "s", [(quantile(q, "weir_merge_ttft_seconds", "route, agent"), f"{{{{route}}}} {{{{agent}}}} p{q * 100:g}") for q in (0.5, 0.95)]),
        ],
    ),
    (
        "Weir process",
        8,
        [
            ("timeseries", "CPU", "Cores in use.", "short", [(f"sum by (instance) (rate(process_cpu_seconds_total{{{ALL}}}[$__rate_interval]))", "{{instance}}")]),
            ("timeseries", "Memory", "Resident, and what counts towards the limit.", "bytes", [(f"max by (instance) (process_resident_memory_bytes{{{ALL}}})", "{{instance}} resident"), (f"max by (instance) (weir_memory_used_bytes{{{ALL}}})", "{{instance}} used"), (f"max by (instance) (weir_memory_limit_bytes{{{ALL}}})", "{{instance}} limit")]),
            ("timeseries", "Client connections", "Of clients, open and refused.", "short", [(f"sum by (instance) (weir_connections_active{{{ALL}}})", "{{instance}} open"), (f"sum by (instance) (rate(weir_connections_refused_total{{{ALL}}}[$__rate_interval]))", "{{instance}} refused/s")]),
            ("timeseries", "Requests in progress", "In progress, how many there may be, and calls without their client.", "short", [(f"sum by (instance) (weir_requests_active{{{ALL}}})", "{{instance}} in progress"), (f"max by (instance) (weir_requests_limit{{{ALL}}})", "{{instance}} limit"), (f"sum by (instance) (weir_detached_calls{{{ALL}}})", "{{instance}} without their client")]),
            ("timeseries", "Load by worker", "Connections and requests of each: they should be alike.", "short", [(f"sum by (instance, worker) (weir_worker_load{{{ALL}}})", "{{instance}} {{worker}}")]),
            ("timeseries", "Draining, panics, restarts, rejected reloads", "Processes that drain, defects in Weir, workers that were replaced, configurations that were rejected.", "short", [(f"sum(weir_draining{{{ALL}}})", "draining"), (f"sum(increase(weir_stream_panics_total{{{ALL}}}[$__rate_interval]))", "panics"), (f"sum(increase(weir_worker_restarts_total{{{ALL}}}[$__rate_interval]))", "restarts"), (f'sum(increase(weir_config_reloads_total{{{ALL}, result="rejected"}}[$__rate_interval]))', "rejected")]),
            ("timeseries", "Open file descriptors", "Of each process.", "short", [(f"max by (instance) (process_open_fds{{{ALL}}})", "{{instance}}")]),
        ],
    ),
]

# The width of a panel by its height, in a grid of 24 columns.
WIDTH = {4: 4, 8: 8}


def panel(number: int, place: dict[str, int], described: Panel) -> dict:
    kind, title, tells, unit, lines = described
    targets = [
        {
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": expr,
            "legendFormat": legend,
            "range": True,
            "refId": chr(ord("A") + at),
            # One line of a panel is enough: its lines have the same exemplars.
            **({"exemplar": True} if at == 0 and kind == "timeseries" and any(name in expr for name in EXEMPLARS) else {}),
        }
        for at, (expr, legend) in enumerate(lines)
    ]
    defaults: dict = {"unit": unit, "min": 0}
    options: dict = {}
    if kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 8, "lineWidth": 1, "showPoints": "never"}
        options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}
    elif kind == "stat":
        options = {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
        if title == "Failed streams, share":
            steps = [{"color": GREEN, "value": None}, {"color": YELLOW, "value": 0.005}, {"color": RED, "value": 0.02}]
            defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if title == "Last configuration reload":
            defaults["thresholds"] = {"mode": "absolute", "steps": [{"color": RED, "value": None}, {"color": GREEN, "value": 1}]}
    else:
        options = {"calculate": False, "yAxis": {"unit": unit}, "cellGap": 1, "color": {"mode": "scheme", "scheme": "Blues", "steps": 64}}
        targets[0]["format"] = "heatmap"
    return {
        "id": number,
        "type": kind,
        "title": title,
        "description": tells,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
    }


def panels() -> list[dict]:
    made: list[dict] = []
    y = 0
    for title, height, row in ROWS:
        made.append({"id": len(made) + 1, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        width = WIDTH[height]
        for at, described in enumerate(row):
            x = at * width % 24
            made.append(panel(len(made) + 1, {"x": x, "y": y + at * width // 24 * height, "w": width, "h": height}, described))
        y += -(-len(row) * width // 24) * height
    return made


def variable(name: str, label: str, query: str, many: bool = True) -> dict:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": many,
        "includeAll": many,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> dict:
    return {
        "uid": "weir",
        "title": "Weir",
        "description": "Whether tokens flow, how fast, and why streams ended.",
        "tags": ["weir", "llm", "streaming"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {"text": "default", "value": "default"}},
                variable("namespace", "Namespace", "label_values(weir_build_info, namespace)"),
                variable("job", "Job", 'label_values(weir_build_info{namespace=~"$namespace"}, job)'),
                variable("route", "Route", f"label_values(weir_streams_active{{{ALL}}}, route)"),
                variable("upstream", "Upstream", f"label_values(weir_upstream_endpoints_ejected{{{ALL}}}, upstream)"),
            ]
        },
        "annotations": {"list": []},
        "panels": panels(),
    }


def main() -> None:
    text = json.dumps(dashboard(), indent=2) + "\n"
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text)
    elif FILE.read_text() != text:
        raise SystemExit(f"{FILE} is not what dashboard.py writes: run deploy/grafana/dashboard.py")


if __name__ == "__main__":
    main()
