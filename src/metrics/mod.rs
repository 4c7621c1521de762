//! Defines every metric (name, help, unit, labels), and the handles that the hot path counts on.
//!
//! Label sets are resolved once per route, when its configuration is loaded. From then on, every series of a
//! closed enum exists. Label values come only from the configuration and from closed enums.

pub mod buckets;
mod busy;
mod exemplars;
mod families;
pub mod gen_ai;
mod openmetrics;
mod refusal;
mod register;
mod requests;
mod resume;
mod route;
mod samples;
mod websocket;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::proto::LabelPair;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

pub use busy::{BusyGauge, BusyHistogram};
pub use exemplars::TraceId;
pub use openmetrics::OPENMETRICS;
pub use refusal::Refusal;
pub use resume::{Eviction, ResumeMetrics, ResumeResult, ResumeRoute, ResumeWay, Viewing};
pub use route::{Active, RouteMetrics};
pub use samples::Samples;
pub use websocket::WebSocketRoute;

use families::Families;
use gen_ai::GenAi;
use register::{counters, gauges, register};

/// A client that takes nothing for longer than this, while something waits for it, is counted as stalled.
pub const STALL: Duration = Duration::from_millis(100);

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
    /// `weir_otlp_metric_exports_total{result="exported"}`
    pub metrics_exported: IntCounter,
    /// `weir_otlp_metric_exports_total{result="failed"}`
    pub metrics_failed: IntCounter,
    /// Weir itself decides which of the traces that begin here are recorded.
    samples_traces: AtomicBool,
    /// Set at the start, if metrics are exported by the names of the GenAI conventions as well.
    gen_ai: OnceLock<GenAi>,
    /// `weir_stream_panics_total`
    pub panics: IntCounter,
    /// `weir_worker_restarts_total`
    pub worker_restarts: IntCounter,
    /// The journals and their store.
    pub resume: ResumeMetrics,
    /// Gauges that are set for each scrape.
    pub samples: Samples,
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
        for reason in Refusal::ALL {
            refused.with_label_values(&[reason.as_str()]);
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
        let exports = counters(
            &registry,
            "weir_otlp_metric_exports_total",
            "Exports of metrics to the collector by what became of them.",
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
            metrics_exported: exports.with_label_values(&["exported"]),
            metrics_failed: exports.with_label_values(&["failed"]),
            samples_traces: AtomicBool::new(false),
            gen_ai: OnceLock::new(),
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

    /// Counts a request that no route took.
    pub fn refused(&self, reason: Refusal) {
        self.refused.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts what became of a record; results outside the closed set count as `failed`.
    pub fn record(&self, result: &str) {
        let known = RECORD_RESULTS.into_iter().find(|known| *known == result);
        self.records
            .with_label_values(&[known.unwrap_or("failed")])
            .inc();
    }

    /// Notes that spans are exported: a trace that begins here and has no span is not recorded.
    pub fn sample_traces(&self) {
        self.samples_traces.store(true, Ordering::Relaxed);
    }

    /// Reports whether spans are exported.
    pub fn samples_traces(&self) -> bool {
        self.samples_traces.load(Ordering::Relaxed)
    }

    /// Measures finished streams by the names of the GenAI conventions as well. Only the first call counts.
    pub fn export_gen_ai(&self, gen_ai: GenAi) {
        let _ = self.gen_ai.set(gen_ai);
    }

    /// Returns what measures finished streams by the names of the GenAI conventions, if that is exported.
    pub fn gen_ai(&self) -> Option<&GenAi> {
        self.gen_ai.get()
    }

    /// Returns all series in the OpenMetrics text format 1.0.0, with exemplars.
    pub fn encode_openmetrics(&self) -> String {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.values().for_each(|route| route.flush());
        let find = |family: &str, labels: &[LabelPair]| {
            let value = |name: &str| {
                let label = labels.iter().find(|label| label.name() == name);
                label.map(LabelPair::value)
            };
            let route = value("route").and_then(|route| routes.get(route));
            route.map_or_else(Vec::new, |route| route.exemplars(family, value("kind")))
        };
        openmetrics::encode(&self.registry.gather(), &find)
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
