//! From ended spans to the collector: a bounded queue, and the exporter's own thread behind it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter as Exporter, SpanProcessor,
};
use prometheus::IntCounter;

use super::client::{Client, PATIENCE};
use super::given::place;
use super::span::Span;
use super::{Given, Request};
use crate::config;
use crate::metrics::Metrics;

/// Most spans that wait or are under way, some 2 KiB each. More are counted as dropped.
const MAX_WAITING: usize = 2048;
/// Most spans of one export.
const MAX_BATCH: usize = 512;
/// Longest time that a span waits for others to go with.
const DELAY: Duration = Duration::from_secs(1);
/// Longest time for the last export of a process that ends.
const LAST: Duration = Duration::from_secs(2);

/// Where spans go.
#[derive(Debug)]
pub struct Traces {
    outbox: Arc<Outbox>,
    /// Share of the traces that begin here.
    sample: f64,
}

/// Takes spans that have ended.
#[derive(Debug)]
pub(super) struct Outbox {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    waiting: Arc<AtomicUsize>,
    dropped: IntCounter,
}

impl Traces {
    /// Starts the exporter; `None` without a collector.
    ///
    /// # Errors
    /// When a TLS file cannot be used, or a variable of OpenTelemetry asks for what is not built in.
    pub fn start(config: &config::Traces, metrics: &Metrics) -> io::Result<Option<Self>> {
        let Some(client) = Client::new(config)? else {
            return Ok(None);
        };
        let built = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(PATIENCE)
            // The client knows where it really is.
            .with_endpoint("http://collector/v1/traces")
            .build();
        let inner = built.map_err(|error| io::Error::other(format!("traces: {error}")))?;
        let waiting = Arc::<AtomicUsize>::default();
        let exporter = Counted {
            inner,
            waiting: Arc::clone(&waiting),
            exported: metrics.spans_exported.clone(),
            failed: metrics.spans_failed.clone(),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_WAITING)
            .with_max_export_batch_size(MAX_BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let mut processor = BatchSpanProcessor::new(exporter, batches);
        processor.set_resource(&resource(config.service_name.as_deref()));
        let scope = InstrumentationScope::builder("weir").with_version(env!("CARGO_PKG_VERSION"));
        let outbox = Outbox {
            processor,
            scope: scope.build(),
            waiting,
            dropped: metrics.spans_dropped.clone(),
        };
        Ok(Some(Self {
            outbox: Arc::new(outbox),
            sample: config.sample,
        }))
    }

    /// The span of a request, if it is recorded, and the `traceparent` for its upstream, if it changes.
    pub fn begin(&self, given: Given<'_>, request: Request) -> (Option<Span>, Option<HeaderValue>) {
        let (place, told) = place(given, self.sample);
        let span = place.map(|place| Span::new(Arc::clone(&self.outbox), place, request));
        (span, told)
    }

    /// Sends what waits, and stops. Blocks for [`LAST`] at most.
    pub fn flush(&self) {
        let ended = self.outbox.processor.shutdown_with_timeout(LAST);
        let lost = self.outbox.waiting.load(Ordering::Relaxed);
        if ended.is_err() || lost > 0 {
            tracing::warn!(lost, "spans were not exported before the end");
        }
    }
}

impl Outbox {
    pub(super) fn put(&self, span: SpanData) {
        let more = |waiting: usize| (waiting < MAX_WAITING).then_some(waiting + 1);
        let taken = (self.waiting).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if taken.is_ok() {
            // Has room: it holds fewer than are counted as waiting.
            self.processor.on_end(span);
        } else {
            self.dropped.inc();
        }
    }

    pub(super) fn scope(&self) -> InstrumentationScope {
        self.scope.clone()
    }
}

/// Counts what becomes of spans.
#[derive(Debug)]
struct Counted {
    inner: SpanExporter,
    waiting: Arc<AtomicUsize>,
    exported: IntCounter,
    failed: IntCounter,
}

impl Exporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        let counter = if result.is_ok() {
            &self.exported
        } else {
            &self.failed
        };
        counter.inc_by(spans as u64);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// What OpenTelemetry's variables say of this process, the file's name before theirs.
fn resource(service_name: Option<&str>) -> Resource {
    let found = Resource::builder().build();
    let told = found.get(&"service.name".into());
    let told = told.filter(|name| !name.as_str().starts_with("unknown_service"));
    let given = service_name.map(|name| name.to_owned().into());
    let name = given.or(told).unwrap_or_else(|| "weir".into());
    Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_service_name(name)
        .build()
}
