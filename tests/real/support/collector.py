"""A small OpenTelemetry collector (OTLP/HTTP) that decodes the spans and metrics it receives."""

import ssl
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire

from support.wait import until


class Export(NamedTuple):
    """One export request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Span(NamedTuple):
    """One decoded span."""

    trace: str
    id: str
    parent: str
    state: str
    name: str
    kind: str
    start: float
    end: float
    attributes: dict[str, Any]
    events: dict[str, float]
    error: str | None
    resource: dict[str, Any]


class Point(NamedTuple):
    """One series of a decoded histogram."""

    name: str
    unit: str
    attributes: dict[str, Any]
    sum: float
    count: int
    bounds: list[float]
    buckets: list[int]
    is_delta: bool
    resource: dict[str, Any]


def plain(attributes: Iterable[Any]) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def decoded(body: bytes) -> list[Span]:
    found = []
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in group.scope_spans:
            assert scope.scope.name == "weir" and scope.scope.version
            found += [span(one, plain(group.resource.attributes)) for one in scope.spans]
    return found


def span(wire: Wire, resource: dict[str, Any]) -> Span:
    attributes = plain(wire.attributes)
    assert len(attributes) == len(wire.attributes), "each key once"
    return Span(
        trace=wire.trace_id.hex(),
        id=wire.span_id.hex(),
        parent=wire.parent_span_id.hex(),
        state=wire.trace_state,
        name=wire.name,
        kind=Wire.SpanKind.Name(wire.kind),
        start=wire.start_time_unix_nano / 1e9,
        end=wire.end_time_unix_nano / 1e9,
        attributes=attributes,
        events={event.name: event.time_unix_nano / 1e9 for event in wire.events},
        error=wire.status.message if wire.status.code == 2 else None,
        resource=resource,
    )


def measured(body: bytes) -> list[Point]:
    found = []
    for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in group.scope_metrics:
            assert scope.scope.name == "weir" and scope.scope.version
            for metric in scope.metrics:
                assert metric.WhichOneof("data") == "histogram", metric.name
                found += [
                    Point(
                        name=metric.name,
                        unit=metric.unit,
                        attributes=plain(one.attributes),
                        sum=one.sum,
                        count=one.count,
                        bounds=list(one.explicit_bounds),
                        buckets=list(one.bucket_counts),
                        is_delta=metric.histogram.aggregation_temporality == 1,
                        resource=plain(group.resource.attributes),
                    )
                    for one in metric.histogram.data_points
                ]
    return found


class Collector:
    """Responds to each export with `status` and `answer`. With `hangs`, it waits until `free` is set."""

    def __init__(
        self,
        status: int = 200,
        hangs: bool = False,
        tls: ssl.SSLContext | None = None,
        answer: bytes = ExportTraceServiceResponse().SerializeToString(),
    ):
        self.status = status
        self.answer = answer
        self.exports: list[Export] = []
        self.free = threading.Event()
        if not hangs:
            self.free.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                fields = {name.lower(): value for name, value in self.headers.items()}
                collector.exports.append(Export(self.path, fields, body))
                collector.free.wait(60)
                self.send_response(collector.status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(collector.answer)))
                self.end_headers()
                self.wfile.write(collector.answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def spans(self) -> list[Span]:
        """Returns all spans received so far. A span that was exported again counts once."""
        exports = [export for export in list(self.exports) if export.path.endswith("/v1/traces")]
        found = {one.id: one for export in exports for one in decoded(export.body)}
        return list(found.values())

    def only(self) -> Span:
        """Waits for a span, and fails if there is more than one."""
        (one,) = until("a span", self.spans)
        return one

    def points(self) -> list[Point]:
        """Returns the series of the last export of metrics; none before the first."""
        exports = [export for export in list(self.exports) if export.path.endswith("/v1/metrics")]
        return measured(exports[-1].body) if exports else []

    def close(self) -> None:
        self.free.set()
        self._server.shutdown()
        self._server.server_close()
