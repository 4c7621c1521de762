//! Gauges that are set only when a scrape asks for them, so they cost streams nothing.

use prometheus::{GaugeVec, IntCounter, IntGaugeVec, Opts, Registry};

use super::{gauges, register};

/// The gauges that are set for each scrape.
#[derive(Debug)]
pub struct Samples {
    queue_events: IntGaugeVec,
    queue_bytes: IntGaugeVec,
    ejected: IntGaugeVec,
    not_after: GaugeVec,
    load: IntGaugeVec,
    log_lines_dropped: IntCounter,
}

impl Samples {
    pub(super) fn new(registry: &Registry) -> Self {
        let counts = |name, help, labels: &[&str]| {
            register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
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

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
