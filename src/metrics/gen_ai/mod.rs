//! Metrics of finished streams by the names of the OpenTelemetry GenAI conventions.
//!
//! They are exported over OTLP (`traces::metrics`), never scraped, and measured once per stream, at its end. Without
//! the feature `otel`, [`GenAi`] is empty, and nothing is measured.

#[cfg(feature = "otel")]
mod instruments;
#[cfg(feature = "otel")]
mod models;
#[cfg(not(feature = "otel"))]
mod off;

use std::time::Duration;

#[cfg(feature = "otel")]
pub use instruments::GenAi;
#[cfg(not(feature = "otel"))]
pub use off::GenAi;

/// What is measured of a stream that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// `gen_ai.operation.name`.
    pub operation: &'static str,
    /// `gen_ai.provider.name`; `None` for frameworks.
    pub provider: Option<&'static str>,
    /// The model that was asked for, if the request names it.
    pub request_model: Option<&'a str>,
    /// The model that answered, if the stream names it.
    pub response_model: Option<&'a str>,
    /// `error.type`, if the stream ended in trouble.
    pub error: Option<&'static str>,
    /// Request head read to the end of the stream.
    pub duration: Duration,
    /// Request head read to the first text of the answer or of its reasoning.
    pub first_token: Option<Duration>,
    /// Seconds per output token after the first.
    pub per_token: Option<f64>,
    /// Input tokens, if the upstream stated them.
    pub input_tokens: Option<u64>,
    /// Output tokens, if the upstream stated them.
    pub output_tokens: Option<u64>,
}
