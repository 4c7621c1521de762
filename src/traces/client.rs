//! How an export reaches the collector: a connection of its own for each, on the exporter's thread.

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

use super::answer::rejected;
use crate::config::{self, Eject, Endpoint, Health, SecretField, Upstream};
use crate::upstream::{self, Connector};

/// No repeat of an export begins after this time.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Longest time of one attempt.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Most bytes of an answer: it says next to nothing.
const MAX_ANSWER: usize = 64 << 10;
/// What an export is.
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// A collector that is away is told once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// The way to one collector.
pub(super) struct Client {
    collector: Endpoint,
    /// The same, as connections are opened.
    upstream: Upstream,
    connector: Option<Connector>,
    headers: Vec<SecretField>,
    /// Spans of answers of success that were refused all the same.
    rejected: Arc<AtomicU64>,
    complained: Mutex<Option<Instant>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.collector).finish()
    }
}

impl Client {
    /// `None` without a collector.
    pub(super) fn new(config: &config::Traces) -> io::Result<Option<Self>> {
        let Some(collector) = config.collector.clone() else {
            return Ok(None);
        };
        let upstream = Upstream {
            name: "traces.endpoint".into(),
            endpoints: vec![collector.clone()],
            pool_idle: Duration::ZERO,
            connect_budget: Duration::ZERO,
            http2: false,
            tls: config.tls.clone(),
            eject: Eject {
                failures: 0,
                pause: Duration::ZERO,
            },
            health: Health {
                path: None,
                interval: Duration::ZERO,
            },
        };
        let connector = upstream::connector(&upstream)
            .map_err(|error| io::Error::new(error.kind(), format!("traces.tls: {error}")))?;
        Ok(Some(Self {
            collector,
            upstream,
            connector,
            headers: config.headers.clone(),
            rejected: Arc::default(),
            complained: Mutex::new(None),
        }))
    }

    /// Where the spans are counted that were refused in an answer of success.
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
                // Its status says enough. To ask once more would be to tell everything twice.
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

    /// The exporter's request, to where the collector really is.
    fn addressed(&self, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, http::Error> {
        let (mut parts, body) = request.into_parts();
        parts.uri = self.collector.path_prefix.parse()?;
        let fields = &mut parts.headers;
        // OpenTelemetry's variables may name any field.
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

    /// A collector may be away for days.
    fn complain(&self, error: &str) {
        // Poisoned only by a panic between two whole values.
        let last = &mut *self.complained.lock().unwrap_or_else(|it| it.into_inner());
        if last.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            *last = Some(Instant::now());
            tracing::warn!(error, "the collector does not take spans");
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    /// Waits on the thread it is called on, which is the exporter's and nobody else's.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .inspect_err(|error| self.complain(&chain(error)))?;
        let result = runtime.block_on(async {
            match timeout(ATTEMPT, self.post(request)).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer within {ATTEMPT:?}").into()),
            }
        });
        // Looking up a name cannot be broken off, and must not be waited for.
        runtime.shutdown_background();
        match &result {
            Ok(answer) if answer.status().is_success() => {
                let rejected = rejected(answer.body());
                if rejected > 0 {
                    self.rejected.fetch_add(rejected, Ordering::Relaxed);
                    self.complain(&format!("{rejected} spans were rejected"));
                }
            }
            Ok(answer) => self.complain(&format!("status {}", answer.status().as_u16())),
            Err(error) => self.complain(&chain(&**error)),
        }
        result
    }
}

/// An error and what is behind it.
fn chain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
