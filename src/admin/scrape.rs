//! Produces the metrics page. Gauges that are not updated continuously are sampled at each scrape.

use std::collections::HashMap;
use std::sync::Arc;

use crate::app::App;
use crate::log;
use crate::metrics::OPENMETRICS;

/// The content type of Prometheus' own text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns all metrics and their content type: as OpenMetrics, or in the Prometheus text format.
pub(super) fn scrape(app: &App, openmetrics: bool) -> (&'static str, String) {
    sample(app);
    if openmetrics {
        (OPENMETRICS, app.metrics.encode_openmetrics())
    } else {
        (TEXT, app.metrics.encode())
    }
}

/// Sets the gauges that are not updated continuously.
fn sample(app: &App) {
    let loaded = app.loaded();
    let samples = &app.metrics.samples;
    let mut waiting: HashMap<Arc<str>, (usize, usize)> = HashMap::new();
    for route in &loaded.config.routes {
        waiting.insert(Arc::clone(&route.name), (0, 0));
    }
    for live in app.streams.list() {
        if let Some(status) = live.queue() {
            let (events, bytes) = waiting
                .entry(Arc::clone(&live.context.route.name))
                .or_default();
            *events += status.events;
            *bytes += status.bytes;
        }
    }
    for (route, (events, bytes)) in waiting {
        samples.queue(&route, events, bytes);
    }
    for (upstream, endpoints) in loaded.endpoints() {
        samples.ejected(upstream, endpoints.left_out());
    }
    for (worker, load) in app.load.iter().enumerate() {
        samples.load(worker, load.get());
    }
    samples.requests(app.admitted.len(), loaded.config.limits.max_requests);
    samples.detached(app.detached.len());
    samples.upstream_connections(app.sockets.open());
    let waiting = (app.outbox.as_ref()).map_or(0, |outbox| outbox.waiting().records);
    samples.records_waiting(waiting);
    let budget = app.resumables.budget();
    app.metrics
        .resume
        .journal_bytes(budget.used(), budget.total());
    let (live, ended) = app.resumables.count(&app.metrics);
    app.metrics.resume.journal_streams(live, ended);
    for (name, acceptor) in &app.certificates {
        if let Some(not_after) = acceptor.not_after() {
            samples.certificate(name, not_after);
        }
    }
    samples.log_lines_dropped(log::lines_dropped());
}
