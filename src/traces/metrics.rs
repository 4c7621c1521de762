//! Exports metrics of finished streams to a collector, by the names of the GenAI conventions.
//!
//! ```text
//! end of a stream ──► GenAi (`metrics::gen_ai`) ── sums ──► a thread of the exporter, at intervals ──► collector
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::{MetricExporter, Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use prometheus::IntCounter;
use tokio::time::Instant;

use super::client::{Client, EXPORT_TIMEOUT, Signal};
use super::resource::resource;
use crate::config;
use crate::metrics::Metrics;
use crate::metrics::gen_ai::GenAi;

/// Longest time for the last export before the process ends.
const LAST: Duration = Duration::from_secs(2);

/// The exporter of metrics.
#[derive(Debug)]
pub struct MetricsExport {
    provider: SdkMeterProvider,
}

/// The last export, under way.
#[derive(Debug)]
pub struct LastExport {
    /// Tells whether it has succeeded.
    ended: Receiver<bool>,
    until: Instant,
}

impl MetricsExport {
    /// Starts the exporter, which measures the streams of `metrics` from here on; returns `None` if none is configured.
    ///
    /// # Errors
    /// When a TLS file cannot be used, or when an OpenTelemetry environment variable asks for something that
    /// is not built in.
    pub fn start(config: &config::Traces, metrics: &Metrics) -> io::Result<Option<Self>> {
        let Some(export) = &config.metrics else {
            return Ok(None);
        };
        let client = Client::new(Signal::Metrics, &export.collector, config)?;
        let rejected = client.rejected();
        let built = MetricExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_TIMEOUT)
            // A placeholder: the client knows the real address.
            .with_endpoint("http://collector/v1/metrics")
            .build();
        let exporter = Counted {
            inner: built.map_err(|error| io::Error::other(format!("traces.metrics: {error}")))?,
            rejected,
            exported: metrics.metrics_exported.clone(),
            failed: metrics.metrics_failed.clone(),
        };
        let reader = PeriodicReader::builder(exporter)
            .with_interval(export.interval)
            .build();
        let provider = SdkMeterProvider::builder()
            .with_resource(resource(config.service_name.as_deref()))
            .with_reader(reader)
            .build();
        let scope = InstrumentationScope::builder("weir").with_version(env!("CARGO_PKG_VERSION"));
        let meter = provider.meter_with_scope(scope.build());
        metrics.export_gen_ai(GenAi::new(&meter));
        Ok(Some(Self { provider }))
    }

    /// Begins the last export, on a thread of its own. Nothing is measured any more.
    pub fn close(&self) -> LastExport {
        let provider = self.provider.clone();
        let (tell, ended) = mpsc::sync_channel(1);
        let until = Instant::now() + LAST;
        // If there is no thread for it, nobody is left who could tell of success.
        let _ = thread::Builder::new()
            .name("last metrics".to_owned())
            .spawn(move || tell.send(provider.shutdown().is_ok()));
        LastExport { ended, until }
    }
}

impl LastExport {
    /// Waits until it has ended. Blocks for two seconds at most, from its beginning.
    pub fn wait(self) {
        let left = self.until.saturating_duration_since(Instant::now());
        if self.ended.recv_timeout(left) != Ok(true) {
            tracing::warn!("metrics were not exported before the end");
        }
    }
}

/// An exporter that counts what becomes of its exports.
#[derive(Debug)]
struct Counted {
    inner: MetricExporter,
    /// Data points that the collector rejected of the export under way.
    rejected: Arc<AtomicU64>,
    exported: IntCounter,
    failed: IntCounter,
}

impl PushMetricExporter for Counted {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.inner.export(metrics).await;
        let rejected = self.rejected.swap(0, Ordering::Relaxed);
        if result.is_ok() && rejected == 0 {
            self.exported.inc();
        } else {
            self.failed.inc();
        }
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}
