//! The HTTP client of an exporter: it opens a connection for each export, on the exporter's thread.

use std::error::Error;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fmt, io};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::time::{Instant, timeout};

use super::export_response::rejected;
use crate::config::{self, Endpoint, SecretField, Upstream};
use crate::upstream::{self, Connector};

/// No retry of an export begins after this time.
pub(super) const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time of one attempt.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Maximum number of bytes of a response, which contains next to nothing.
const MAX_ANSWER: usize = 64 << 10;
/// The content type of an export.
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// At most one warning about the collector is logged in this time.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What a client exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Metrics,
    Spans,
}

impl Signal {
    /// Returns the key that names the collector.
    const fn key(self) -> &'static str {
        match self {
            Self::Metrics => "traces.metrics_endpoint",
            Self::Spans => "traces.endpoint",
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Spans => "spans",
        }
    }
}

/// The client of one collector.
pub(super) struct Client {
    signal: Signal,
    collector: Endpoint,
    /// The collector, in the form that connections are opened with.
    upstream: Upstream,
    connector: Option<Connector>,
    headers: Vec<SecretField>,
    /// Spans or data points that the collector rejected in successful responses (partial success).
    rejected: Arc<AtomicU64>,
    warned_at: Mutex<Option<Instant>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.collector).finish()
    }
}

impl Client {
    /// Creates the client that exports `signal` to `collector`.
    pub(super) fn new(
        signal: Signal,
        collector: &Endpoint,
        config: &config::Traces,
    ) -> io::Result<Self> {
        let upstream = Upstream::single(signal.key(), collector.clone(), config.tls.clone());
        let connector = upstream::connector(&upstream)
            .map_err(|error| io::Error::new(error.kind(), format!("traces.tls: {error}")))?;
        Ok(Self {
            signal,
            collector: collector.clone(),
            upstream,
            connector,
            headers: config.headers.clone(),
            rejected: Arc::default(),
            warned_at: Mutex::new(None),
        })
    }

    /// Returns the counter of what was rejected in successful responses: spans, or data points of metrics.
    pub(super) fn rejected(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.rejected)
    }

    async fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let connector = self.connector.as_ref();
        let io = upstream::dial(&self.upstream, &self.collector, connector).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        let request = self.addressed(request)?;
        let mut exchange = pin!(async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = match Limited::new(body, MAX_ANSWER).collect().await {
                Ok(body) => body.to_bytes(),
                // The status says enough. A retry would export all spans twice.
                Err(error) if error.is::<LengthLimitError>() => Bytes::new(),
                Err(error) => return Err(error),
            };
            Ok(Response::from_parts(head, body))
        });
        tokio::select! {
            answer = &mut exchange => answer,
            ended = connection => {
                ended?;
                exchange.await
            }
        }
    }

    /// Turns the exporter's request into one to the collector's real address.
    fn addressed(&self, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, http::Error> {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.collector.path_prefix.parse()?;
        let fields = &mut parts.headers;
        // OpenTelemetry's environment variables may set any header.
        for name in &config::FRAMING {
            fields.remove(name);
        }
        fields.insert(header::HOST, self.collector.authority.parse()?);
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        fields.insert(header::CONTENT_TYPE, PROTOBUF);
        fields.insert(header::CONTENT_LENGTH, body.len().into());
        for field in &self.headers {
            fields.insert(field.name.clone(), field.value.clone());
        }
        Ok(Request::from_parts(parts, Full::new(body)))
    }

    /// Logs a warning, at most one in [`WARN_EVERY`]: a collector may be away for days.
    fn warn(&self, error: &str) {
        // A poisoned lock still holds a complete value.
        let last = &mut *self.warned_at.lock().unwrap_or_else(|it| it.into_inner());
        if last.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            *last = Some(Instant::now());
            let signal = self.signal.as_str();
            tracing::warn!(error, "the collector does not take {signal}");
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    /// Blocks the thread it is called on, which only the exporter uses.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .inspect_err(|error| self.warn(&chain(error)))?;
        let result = runtime.block_on(async {
            match timeout(ATTEMPT, self.post(request)).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer within {ATTEMPT:?}").into()),
            }
        });
        // A name look-up cannot be cancelled, and must not be waited for.
        runtime.shutdown_background();
        match &result {
            Ok(answer) if answer.status().is_success() => {
                let rejected = rejected(answer.body());
                if rejected > 0 {
                    self.rejected.fetch_add(rejected, Ordering::Relaxed);
                    let signal = self.signal.as_str();
                    self.warn(&format!("{rejected} {signal} were rejected"));
                }
            }
            Ok(answer) => self.warn(&format!("status {}", answer.status().as_u16())),
            Err(error) => self.warn(&chain(&**error)),
        }
        result
    }
}

/// Returns the text of an error and of its sources.
fn chain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
