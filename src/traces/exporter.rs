//! Starts the export of spans, and begins the span of a request.

use std::io;
use std::sync::Arc;

use http::HeaderValue;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};

use super::client::{Client, EXPORT_TIMEOUT, Signal};
use super::outbox::Outbox;
use super::parent::place;
use super::resource::resource;
use super::span::Span;
use super::{Parent, Request};
use crate::config;
use crate::metrics::Metrics;

/// The trace exporter.
#[derive(Debug)]
pub struct Traces {
    outbox: Arc<Outbox>,
    /// The share of traces that is recorded, among those that begin here.
    sample: f64,
}

impl Traces {
    /// Starts the exporter; returns `None` without a collector.
    ///
    /// # Errors
    /// When a TLS file cannot be used, or when an OpenTelemetry environment variable asks for something that
    /// is not built in.
    pub fn start(config: &config::Traces, metrics: &Metrics) -> io::Result<Option<Self>> {
        let Some(collector) = &config.collector else {
            return Ok(None);
        };
        let client = Client::new(Signal::Spans, collector, config)?;
        let rejected = client.rejected();
        let built = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_TIMEOUT)
            // A placeholder: the client knows the real address.
            .with_endpoint("http://collector/v1/traces")
            .build();
        let exporter = built.map_err(|error| io::Error::other(format!("traces: {error}")))?;
        let outbox = Outbox::new(exporter, metrics, rejected);
        metrics.sample_traces();
        let outbox = outbox.on_behalf_of(&resource(config.service_name.as_deref()));
        Ok(Some(Self {
            outbox: Arc::new(outbox),
            sample: config.sample,
        }))
    }

    /// Returns the span of a request, if it is recorded, and the `traceparent` for its upstream, if it
    /// changes.
    pub fn begin(
        &self,
        parent: Parent<'_>,
        request: Request,
    ) -> (Option<Span>, Option<HeaderValue>) {
        let (place, told) = place(parent, self.sample);
        let span = place.map(|place| Span::new(Arc::clone(&self.outbox), place, request));
        (span, told)
    }

    /// Exports the spans that wait, and stops. Blocks for two seconds at most.
    pub fn flush(&self) {
        let (ended, lost) = self.outbox.drain();
        if ended.is_err() || lost > 0 {
            tracing::warn!(lost, "spans were not exported before the end");
        }
    }
}
