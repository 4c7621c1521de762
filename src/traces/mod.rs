//! Export to an OpenTelemetry collector, over OTLP/HTTP: one span for each request that matched a route, and metrics of
//! finished streams (`metrics`).
//!
//! ```text
//! begin ──► Span ── stream, failed or passing, and dropped ──► Outbox ──► a thread of the exporter ──► collector
//! ```
//!
//! A span is written once, at the end of its request, from what the log and the metrics know then. Nothing is
//! done for single events. Without the feature `otel`, the types [`Span`], [`Traces`] and [`MetricsExport`] are empty:
//! nothing is exported, and there is no code that does.

#[cfg(feature = "otel")]
mod attributes;
#[cfg(feature = "otel")]
mod client;
#[cfg(feature = "otel")]
mod export_response;
#[cfg(feature = "otel")]
mod exporter;
#[cfg(feature = "otel")]
mod metrics;
#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod outbox;
#[cfg(feature = "otel")]
mod parent;
#[cfg(feature = "otel")]
mod resource;
#[cfg(feature = "otel")]
mod semconv;
mod shared;
#[cfg(feature = "otel")]
mod span;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;

#[cfg(feature = "otel")]
pub use exporter::Traces;
#[cfg(feature = "otel")]
pub use metrics::{LastExport, MetricsExport};
#[cfg(not(feature = "otel"))]
pub use off::{LastExport, MetricsExport, Span, Traces};
pub use shared::SharedSpan;
#[cfg(feature = "otel")]
pub use span::Span;

/// What a span tells about its request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the route.
    pub route: Arc<str>,
    /// Method.
    pub method: Method,
    /// `http` or `https`, as the listener speaks.
    pub scheme: &'static str,
    /// Path without its query, limited in length.
    pub path: Arc<str>,
    /// The id of the request in the log.
    pub request_id: HeaderValue,
    /// When the request head was read.
    pub started: Instant,
}

/// The trace that a request belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Parent<'a> {
    /// A valid `traceparent`.
    pub traceparent: &'a str,
    /// Whether Weir generated it: the trace then begins here.
    pub is_own: bool,
    /// The head of the request, for `tracestate`.
    pub headers: &'a HeaderMap,
}
