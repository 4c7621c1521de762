//! Creates metrics and registers them.

use prometheus::core::{Collector, MetricVec};
use prometheus::proto::MetricType;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::busy::{self, BusyHistogramVec};

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

pub(super) fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    register(registry, GaugeVec::new(Opts::new(name, help), labels))
}

pub(super) fn histograms(
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

pub(super) fn busy_histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    edges: &[f64],
) -> BusyHistogramVec {
    let options = HistogramOpts::new(name, help)
        .buckets(edges.to_vec())
        .variable_labels(labels.iter().map(|label| (*label).to_owned()).collect());
    register(
        registry,
        MetricVec::create(MetricType::HISTOGRAM, busy::Builder, options),
    )
}

#[expect(
    clippy::expect_used,
    reason = "names and labels are constants, and a unit test builds them all"
)]
pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let metric = metric.expect("a valid metric");
    registry
        .register(Box::new(metric.clone()))
        .expect("a metric registered once");
    metric
}
