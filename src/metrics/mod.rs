//! Defines every metric (name, help, unit, labels), and the handles that the hot path counts on.
//!
//! Label sets are resolved once per route, when its configuration is loaded. From then on, every series of a
//! closed enum exists. Label values come only from the configuration and from closed enums.

pub mod buckets;
mod busy;
mod resume;
mod route;
mod samples;
mod websocket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    CounterVec, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use busy::BusyHistogram;
pub use resume::{Eviction, ResumeMetrics, ResumeResult, ResumeRoute, ResumeWay, Viewing};
pub use route::{Active, RouteMetrics};
pub use samples::Samples;
pub use websocket::WebSocketRoute;

use resume::ResumeFamilies;
use websocket::WebSocketFamilies;

/// A client that takes nothing for longer than this, while something waits for it, is counted as stalled.
pub const STALL: Duration = Duration::from_millis(100);

/// The reasons for which requests are refused before a route takes them.
const REFUSALS: [&str; 11] = [
    "bad_request",
    "draining",
    "expectation_failed",
    "malformed",
    "method_not_allowed",
    "not_found",
    "overloaded",
    "request_head",
    "too_many_headers",
    "transfer_coding_not_supported",
    "upgrade_not_supported",
];

/// What becomes of records of finished streams.
const RECORD_RESULTS: [&str; 5] = ["failed", "full", "refused", "sent", "shutdown"];

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    /// Locked when a configuration is loaded, and for a scrape.
    routes: Mutex<HashMap<String, Arc<RouteMetrics>>>,
    /// `weir_connections_active`
    pub connections_active: IntGauge,
    /// `weir_connections_total`
    pub connections: IntCounter,
    /// `weir_connections_refused_total`
    pub connections_refused: IntCounter,
    /// `weir_draining`
    pub draining: IntGauge,
    /// `weir_memory_limit_bytes`
    pub memory_limit: IntGauge,
    /// `weir_memory_used_bytes`
    pub memory_used: IntGauge,
    /// `weir_config_last_reload_successful`
    pub config_ok: IntGauge,
    /// `weir_config_last_reload_success_timestamp_seconds`
    pub config_time: Gauge,
    /// `weir_config_reloads_total{result="ok"}`
    pub reloads_ok: IntCounter,
    /// `weir_config_reloads_total{result="rejected"}`
    pub reloads_rejected: IntCounter,
    refused: IntCounterVec,
    records: IntCounterVec,
    /// `weir_record_retries_total`
    pub record_retries: IntCounter,
    /// `weir_trace_spans_total{result="dropped"}`
    pub spans_dropped: IntCounter,
    /// `weir_trace_spans_total{result="exported"}`
    pub spans_exported: IntCounter,
    /// `weir_trace_spans_total{result="failed"}`
    pub spans_failed: IntCounter,
    /// `weir_stream_panics_total`
    pub panics: IntCounter,
    /// `weir_worker_restarts_total`
    pub worker_restarts: IntCounter,
    /// The journals and their store.
    pub resume: ResumeMetrics,
    /// Gauges that are set for each scrape.
    pub samples: Samples,
}

/// The metric families with a route label.
#[derive(Debug)]
pub(crate) struct Families {
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    streams_active: IntGaugeVec,
    streams: IntCounterVec,
    stream_seconds: HistogramVec,
    headers_seconds: HistogramVec,
    first_event: HistogramVec,
    first_token: HistogramVec,
    gap: HistogramVec,
    per_token: HistogramVec,
    speed: HistogramVec,
    tokens: IntCounterVec,
    added: HistogramVec,
    events: IntCounterVec,
    dropped: IntCounterVec,
    merged: IntCounterVec,
    held: CounterVec,
    heartbeats: IntCounterVec,
    client_stall: HistogramVec,
    connect_seconds: HistogramVec,
    cancel_seconds: HistogramVec,
    bursts: IntCounterVec,
    repeats: IntCounterVec,
    cancellations: IntCounterVec,
    upstream_errors: IntCounterVec,
    coding_unknown: IntCounterVec,
    mismatches: IntCounterVec,
    hidden_spans: IntCounterVec,
    hidden_characters: IntCounterVec,
    reply_lost: IntCounterVec,
    replies: IntCounterVec,
    first_visible: HistogramVec,
    tool_faults: IntCounterVec,
    merge_agents: IntCounterVec,
    merge_first_token: HistogramVec,
    resume: ResumeFamilies,
    websocket: WebSocketFamilies,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Creates the metrics in a registry of their own, so that two instances never share series.
    pub fn new() -> Self {
        let registry = Registry::new();
        let families = Families::new(&registry);
        let build = gauges(
            &registry,
            "weir_build_info",
            "Build data; always 1.",
            &["version"],
        );
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        let reloads = counters(
            &registry,
            "weir_config_reloads_total",
            "Configuration reloads.",
            &["result"],
        );
        let refused = counters(
            &registry,
            "weir_requests_refused_total",
            "Requests refused before a route took them.",
            &["reason"],
        );
        for reason in REFUSALS {
            refused.with_label_values(&[reason]);
        }
        let records = counters(
            &registry,
            "weir_records_total",
            "Records of finished streams by what became of them.",
            &["result"],
        );
        for result in RECORD_RESULTS {
            records.with_label_values(&[result]);
        }
        let spans = counters(
            &registry,
            "weir_trace_spans_total",
            "Spans by what became of them.",
            &["result"],
        );
        let plain = |name, help| register(&registry, IntGauge::new(name, help));
        let count = |name, help| register(&registry, IntCounter::new(name, help));
        let time = Gauge::new(
            "weir_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded, seconds since 1970.",
        );
        if let Err(error) = registry.register(Box::new(ProcessCollector::for_self())) {
            tracing::warn!(%error, "process metrics are not available");
        }
        Self {
            connections_active: plain("weir_connections_active", "Open client connections."),
            connections: count("weir_connections_total", "Client connections accepted."),
            connections_refused: count(
                "weir_connections_refused_total",
                "Client connections closed at once because limits.max_connections was reached.",
            ),
            draining: plain("weir_draining", "1 while the process drains."),
            memory_limit: plain(
                "weir_memory_limit_bytes",
                "Memory limit in force (limits.memory); 0 without one.",
            ),
            memory_used: plain(
                "weir_memory_used_bytes",
                "Memory that counts towards the limit; 0 without one.",
            ),
            config_ok: plain(
                "weir_config_last_reload_successful",
                "Whether the last load of the configuration succeeded.",
            ),
            config_time: register(&registry, time),
            reloads_ok: reloads.with_label_values(&["ok"]),
            reloads_rejected: reloads.with_label_values(&["rejected"]),
            refused,
            records,
            record_retries: count(
                "weir_record_retries_total",
                "Attempts to send a record once more.",
            ),
            spans_dropped: spans.with_label_values(&["dropped"]),
            spans_exported: spans.with_label_values(&["exported"]),
            spans_failed: spans.with_label_values(&["failed"]),
            panics: count(
                "weir_stream_panics_total",
                "Streams and other requests that ended by a defect in Weir.",
            ),
            worker_restarts: count(
                "weir_worker_restarts_total",
                "Workers, and other parts that run as long as the process, started again after a defect in Weir.",
            ),
            resume: ResumeMetrics::new(&registry, &families.resume),
            samples: Samples::new(&registry),
            families,
            routes: Mutex::default(),
            registry,
        }
    }

    /// Returns the handles of a route: the same ones for the same name, also after a reload.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(RouteMetrics::new(&self.families, name));
        Arc::clone(routes.entry(name.to_owned()).or_insert_with(new))
    }

    /// Counts a request that no route took; reasons outside the closed set count as `bad_request`.
    pub fn refused(&self, reason: &str) {
        let known = REFUSALS.into_iter().find(|known| *known == reason);
        self.refused
            .with_label_values(&[known.unwrap_or("bad_request")])
            .inc();
    }

    /// Counts what became of a record; results outside the closed set count as `failed`.
    pub fn record(&self, result: &str) {
        let known = RECORD_RESULTS.into_iter().find(|known| *known == result);
        self.records
            .with_label_values(&[known.unwrap_or("failed")])
            .inc();
    }

    /// Returns all series in Prometheus' text format 0.0.4.
    pub fn encode(&self) -> String {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.values().for_each(|route| route.flush());
        drop(routes);
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written as text");
        }
        text
    }
}

impl Families {
    fn new(registry: &Registry) -> Self {
        let count = |name, help, labels| counters(registry, name, help, labels);
        let time = |name, help, labels, edges| histograms(registry, name, help, labels, edges);
        Self {
            requests: count(
                "weir_requests_total",
                "Requests answered.",
                &["route", "kind", "code"],
            ),
            request_seconds: time(
                "weir_request_duration_seconds",
                "Plain requests, head read to body sent.",
                &["route"],
                buckets::REQUEST,
            ),
            streams_active: register(
                registry,
                IntGaugeVec::new(
                    Opts::new("weir_streams_active", "Open client streams."),
                    &["route", "transport"],
                ),
            ),
            streams: count(
                "weir_streams_total",
                "Finished streams by the one reason they ended.",
                &["route", "outcome"],
            ),
            stream_seconds: time(
                "weir_stream_duration_seconds",
                "Whole streams, request head read to end.",
                &["route"],
                buckets::STREAM,
            ),
            headers_seconds: time(
                "weir_upstream_headers_seconds",
                "Request sent, upload included, to response head.",
                &["route"],
                buckets::FIRST,
            ),
            first_event: time(
                "weir_time_to_first_event_seconds",
                "Request head read to first event.",
                &["route"],
                buckets::FIRST,
            ),
            first_token: time(
                "weir_time_to_first_token_seconds",
                "Request head read to first non-empty content of a kind.",
                &["route", "kind"],
                buckets::FIRST,
            ),
            gap: time(
                "weir_inter_token_seconds",
                "Gap between texts as they arrive from the upstream.",
                &["route"],
                buckets::GAP,
            ),
            per_token: time(
                "weir_time_per_output_token_seconds",
                "Per stream: first to last text, per token after the first.",
                &["route"],
                buckets::GAP,
            ),
            speed: time(
                "weir_stream_output_tokens_per_second",
                "Per stream: tokens after the first per second.",
                &["route"],
                buckets::SPEED,
            ),
            tokens: count(
                "weir_output_tokens_total",
                "Output tokens; estimated counts deltas.",
                &["route", "type", "source"],
            ),
            added: time(
                "weir_added_latency_seconds",
                "Event read from the upstream to handed to the client's connection; one observation per write, of its oldest event.",
                &["route"],
                buckets::ADDED,
            ),
            events: count(
                "weir_events_total",
                "Events received from upstreams (in) and handed to clients (out).",
                &["route", "direction", "class"],
            ),
            dropped: count(
                "weir_events_dropped_total",
                "Events a slow client did not get.",
                &["route", "class", "reason"],
            ),
            merged: count(
                "weir_events_merged_total",
                "Events joined to their neighbour for a slow client.",
                &["route"],
            ),
            held: register(
                registry,
                CounterVec::new(
                    Opts::new(
                        "weir_queue_wait_seconds_total",
                        "Time the upstream was not read because a queue was full.",
                    ),
                    &["route"],
                ),
            ),
            heartbeats: count(
                "weir_heartbeats_total",
                "Heartbeats sent to clients.",
                &["route"],
            ),
            client_stall: time(
                "weir_client_stall_seconds",
                "Spells of more than 0.1 s in which a client took nothing although something waited.",
                &["route"],
                buckets::STALL,
            ),
            connect_seconds: time(
                "weir_upstream_connect_seconds",
                "New upstream connections: name, TCP and TLS.",
                &["route"],
                buckets::CONNECT,
            ),
            cancel_seconds: time(
                "weir_upstream_cancel_seconds",
                "A client's leaving to the end of its upstream call.",
                &["route"],
                buckets::CANCEL,
            ),
            bursts: count(
                "weir_upstream_bursts_total",
                "Reads of 8 events or more after 0.5 s of silence: something before Weir buffers.",
                &["route"],
            ),
            repeats: count(
                "weir_upstream_repeats_total",
                "Safe requests answered only when sent again, because a reused connection was closed.",
                &["route"],
            ),
            cancellations: count(
                "weir_upstream_cancellations_total",
                "Upstream calls broken off.",
                &["route", "reason"],
            ),
            upstream_errors: count(
                "weir_upstream_errors_total",
                "Calls that failed at the upstream.",
                &["route", "reason"],
            ),
            coding_unknown: count(
                "weir_encoding_passthrough_total",
                "Streams passed on in a content coding Weir cannot undo.",
                &["route"],
            ),
            hidden_spans: count(
                "weir_leaks_hidden_total",
                "Spans of text, and runs of events, that clients did not get.",
                &["route", "kind"],
            ),
            hidden_characters: count(
                "weir_leak_characters_hidden_total",
                "Characters that clients did not get.",
                &["route", "kind"],
            ),
            reply_lost: count(
                "weir_reply_lost_total",
                "What a client was not told, because its dialect has no words for it.",
                &["route", "kind"],
            ),
            replies: count(
                "weir_replies_total",
                "Finished streams that were translated, by the dialect that their clients got.",
                &["route", "reply"],
            ),
            first_visible: time(
                "weir_time_to_visible_token_seconds",
                "Request head read to the first answer text that the client may see.",
                &["route"],
                buckets::FIRST,
            ),
            mismatches: count(
                "weir_dialect_mismatches_total",
                "Streams that did not speak the dialect announced by route, request or answer.",
                &["route", "dialect"],
            ),
            tool_faults: count(
                "weir_tool_calls_incomplete_total",
                "Tool calls whose streamed arguments are no whole JSON value, or that do not end.",
                &["route", "dialect"],
            ),
            merge_agents: count(
                "weir_merge_agents_total",
                "Agents of streams with several, by the reason for which each ended.",
                &["route", "agent", "outcome"],
            ),
            merge_first_token: time(
                "weir_merge_ttft_seconds",
                "Request head read to the first answer text of each agent of streams with several.",
                &["route", "agent"],
                buckets::FIRST,
            ),
            resume: ResumeFamilies::new(registry),
            websocket: WebSocketFamilies::new(registry),
        }
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    register(registry, GaugeVec::new(Opts::new(name, help), labels))
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    edges: &[f64],
) -> HistogramVec {
    register(
        registry,
        HistogramVec::new(
            HistogramOpts::new(name, help).buckets(edges.to_vec()),
            labels,
        ),
    )
}

#[expect(
    clippy::expect_used,
    reason = "names and labels are constants, and a unit test builds them all"
)]
fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let metric = metric.expect("a valid metric");
    registry
        .register(Box::new(metric.clone()))
        .expect("a metric registered once");
    metric
}
