//! Gauges that are set only when a scrape asks for them, so they cost streams nothing.

use prometheus::{GaugeVec, IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use super::register::{gauges, register};

/// The gauges that are set for each scrape.
#[derive(Debug)]
pub struct Samples {
    queue_events: IntGaugeVec,
    queue_bytes: IntGaugeVec,
    ejected: IntGaugeVec,
    not_after: GaugeVec,
    load: IntGaugeVec,
    requests: IntGauge,
    requests_limit: IntGauge,
    detached: IntGauge,
    upstream_connections: IntGauge,
    records_waiting: IntGauge,
    log_lines_dropped: IntCounter,
}

impl Samples {
    pub(super) fn new(registry: &Registry) -> Self {
        let counts = |name, help, labels: &[&str]| {
            register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let plain = |name, help| register(registry, IntGauge::new(name, help));
        Self {
            queue_events: counts(
                "weir_queue_events",
                "Events that wait for clients, over all streams.",
                &["route"],
            ),
            queue_bytes: counts(
                "weir_queue_bytes",
                "Bytes that wait for clients, over all streams.",
                &["route"],
            ),
            ejected: counts(
                "weir_upstream_endpoints_ejected",
                "Endpoints left out because they fail.",
                &["upstream"],
            ),
            log_lines_dropped: register(
                registry,
                IntCounter::new(
                    "weir_log_lines_dropped_total",
                    "Log lines dropped because nobody read the log fast enough.",
                ),
            ),
            load: counts(
                "weir_worker_load",
                "Connections and requests of a worker.",
                &["worker"],
            ),
            requests: plain(
                "weir_requests_active",
                "Requests in progress that count towards limits.max_requests.",
            ),
            requests_limit: plain("weir_requests_limit", "limits.max_requests in force."),
            detached: plain(
                "weir_detached_calls",
                "Upstream calls that continue without their client.",
            ),
            upstream_connections: plain(
                "weir_upstream_connections",
                "Open connections to upstreams, idle ones included.",
            ),
            records_waiting: plain(
                "weir_records_waiting",
                "Records of finished streams that wait or are being sent.",
            ),
            not_after: gauges(
                registry,
                "weir_tls_certificate_not_after_seconds",
                "When a listener's certificate expires, seconds since 1970.",
                &["name"],
            ),
        }
    }

    /// Sets what waits in the queues of a route.
    pub fn queue(&self, route: &str, events: usize, bytes: usize) {
        let labels = [route];
        self.queue_events
            .with_label_values(&labels)
            .set(count(events));
        self.queue_bytes
            .with_label_values(&labels)
            .set(count(bytes));
    }

    /// Sets how many endpoints of an upstream are left out.
    pub fn ejected(&self, upstream: &str, endpoints: usize) {
        self.ejected
            .with_label_values(&[upstream])
            .set(count(endpoints));
    }

    /// Sets the load of a worker.
    pub fn load(&self, worker: usize, load: usize) {
        let worker = worker.to_string();
        self.load
            .with_label_values(&[worker.as_str()])
            .set(count(load));
    }

    /// Sets how many requests are in progress, and how many there may be.
    pub fn requests(&self, active: usize, limit: usize) {
        self.requests.set(count(active));
        self.requests_limit.set(count(limit));
    }

    /// Sets how many upstream calls continue without their client.
    pub fn detached(&self, calls: usize) {
        self.detached.set(count(calls));
    }

    /// Sets how many connections to upstreams are open.
    pub fn upstream_connections(&self, open: usize) {
        self.upstream_connections.set(count(open));
    }

    /// Sets how many records wait or are being sent.
    pub fn records_waiting(&self, records: usize) {
        self.records_waiting.set(count(records));
    }

    /// Sets how many log lines were dropped so far.
    pub fn log_lines_dropped(&self, total: u64) {
        let known = self.log_lines_dropped.get();
        self.log_lines_dropped.inc_by(total.saturating_sub(known));
    }

    /// Sets when the certificate of the listener at `name` expires, in seconds since 1970.
    pub fn certificate(&self, name: &str, not_after: f64) {
        self.not_after.with_label_values(&[name]).set(not_after);
    }
}

pub(super) fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
