//! A client of one upstream: sends a request, and waits for the head of its response.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, response};
use tokio::time::{Instant, sleep, timeout};

use super::body::Body;
use super::connect::{self, Speaks};
use super::endpoint::{Endpoints, Picked};
use super::error::Error;
use super::exchange::Exchange;
use super::http1;
use super::http2::{self, Stream};
use super::pool::{Lease, Pool};
use super::request::{self, Origin};
use super::request_body::RequestBody;
use super::sockets::{Budget, Counted};
use super::verdict::Verdict;
use super::{Connector, progress};
use crate::config::{Deadlines, Upstream};

/// Pause between attempts while an agent is still starting.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// A worker's client of one upstream.
///
/// How it works: the loaded configuration (`app::Loaded`) owns one client for each worker and upstream. Workers share
/// only the [`Endpoints`], which know how busy and how healthy each endpoint is. An HTTP/1.1 connection has no task:
/// the task that awaits [`Client::call`] and then reads the [`Body`] polls the socket, so the socket wakes that task.
/// An HTTP/2 connection has a task that drives its socket; for each stream, another task buffers the response body and
/// wakes the task that reads it. `deadlines.connect` and `connect_budget` bound connecting, `deadlines.head` bounds
/// the wait for the response head. The pool keeps at most 64 idle HTTP/1.1 connections, each for at most `pool_idle`,
/// and offers one that has carried a body only once it may be trusted to stay open;
/// an HTTP/2 connection carries at most 100 streams; and no connection takes a request once it is older than 60 s. All
/// clients together open as many connections as the [`Budget`] allows. The number of concurrent calls is bounded by the
/// callers, not here.
#[derive(Debug)]
pub struct Client {
    pub(super) upstream: Arc<Upstream>,
    endpoints: Arc<Endpoints>,
    connector: Option<Connector>,
    pool: Arc<Pool>,
    shared: http2::Pool,
    budget: Budget,
}

/// An upstream's response.
#[derive(Debug)]
pub struct Answer {
    /// Status and headers, as they arrived.
    pub head: response::Parts,
    /// The body.
    pub body: Body,
    /// When the whole request had been sent.
    pub sent: Instant,
    /// How long connecting took, if a new connection was needed.
    pub connected: Option<Duration>,
    /// Whether it is the answer to a repeated request.
    pub repeated: bool,
}

/// A call on its way to the head of its response. Dropping it cancels it.
pub type Calling = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// A callback for each interim (1xx) response, with its status and headers.
pub type Interim = Arc<dyn Fn(StatusCode, &HeaderMap) + Send + Sync>;

impl Client {
    /// Creates a client with an empty pool.
    pub fn new(
        upstream: Arc<Upstream>,
        endpoints: Arc<Endpoints>,
        connector: Option<Connector>,
        budget: Budget,
    ) -> Self {
        let pool = Arc::new(Pool::new(upstream.pool_idle, budget.clone()));
        let shared = http2::Pool::new(upstream.endpoints.len(), upstream.pool_idle);
        Self {
            upstream,
            endpoints,
            connector,
            pool,
            shared,
            budget,
        }
    }

    /// Closes all idle connections, and keeps none from here on. Calls in progress continue.
    pub fn retire(&self) {
        self.pool.retire();
        self.shared.retire();
    }

    /// Closes idle connections that are too old.
    pub fn prune(&self) {
        self.pool.prune();
        self.shared.prune();
    }

    /// Drops all connections that are kept for further requests.
    pub fn forget_connections(&self) {
        self.pool.clear();
        self.shared.clear();
    }

    /// Sends `request` and waits for the response head. Dropping the future closes the connection, or resets the
    /// stream on a shared one.
    ///
    /// # Errors
    /// The error says whose fault it was. Nothing has been sent to the client yet.
    pub async fn call(
        &self,
        request: Request<RequestBody>,
        origin: &Origin,
        deadlines: &Deadlines,
        interim: Option<Interim>,
    ) -> Result<Answer, Error> {
        let (mut parts, mut body) = request.into_parts();
        let verdict = body.verdict();
        let mut spare = if parts.method.is_safe() {
            body.spare().await?
        } else {
            None
        };
        let mut body = Some(body);
        let mut repeated = false;
        loop {
            let from = if repeated { Supply::New } else { Supply::Pool };
            let Leased {
                mut lease,
                connected,
            } = self.lease(from, deadlines).await?;
            let index = lease.picked.index;
            let Some(endpoint) = lease.picked.endpoint() else {
                return Err(self.no_endpoint());
            };
            // Only a request on a reused connection may be sent a second time. Others do not keep their head, which may
            // be large, while they wait for the response.
            let head = if connected.is_some() {
                std::mem::replace(&mut parts, Request::new(()).into_parts().0)
            } else {
                parts.clone()
            };
            let forwarded = request::forwarded(head, endpoint, origin);
            let forwarded = forwarded.map_err(|_| Error::Connect {
                upstream: self.upstream.name.to_string(),
                source: io::Error::new(io::ErrorKind::InvalidInput, "request target"),
            })?;
            lease.exchange.begin(&forwarded, body);
            drop(forwarded);
            let sending = self.send(lease, interim.as_ref(), deadlines.head, &verdict);
            match sending.await {
                Ok(answer) => {
                    return Ok(Answer {
                        connected,
                        repeated,
                        ..answer
                    });
                }
                Err(Failure {
                    error,
                    unsent: Some(unsent),
                    ..
                }) if connected.is_none() => {
                    tracing::debug!(upstream = %self.upstream.name, %error, "reused connection was closed, trying another");
                    body = Some(*unsent);
                }
                // The agent may have closed the idle connection while the request was on its way.
                Err(Failure {
                    error,
                    is_silent: true,
                    ..
                }) if connected.is_none() => {
                    self.pool.distrust(index);
                    if spare.is_none() {
                        return Err(error);
                    }
                    tracing::debug!(upstream = %self.upstream.name, %error, "reused connection was closed, repeating the request");
                    (body, repeated) = (spare.take(), true);
                }
                Err(Failure { error, .. }) => return Err(error),
            }
        }
    }

    /// Takes an idle connection from the pool, or else opens one within `deadlines.connect` and `connect_budget`.
    pub(super) async fn lease(&self, from: Supply, deadlines: &Deadlines) -> Result<Leased, Error> {
        let started = Instant::now();
        let mut avoid = None;
        let mut tried = 0;
        loop {
            let picked = self
                .endpoints
                .pick(avoid)
                .ok_or_else(|| self.no_endpoint())?;
            let kept = poll_fn(|cx| Poll::Ready(self.pool.take(picked.index, cx)));
            if from == Supply::Pool
                && let Some((wire, socket)) = kept.await
            {
                let opened = Opened {
                    exchange: Exchange::Own(wire),
                    socket: Some(socket),
                    is_new: false,
                };
                return Ok(self.leased(opened, picked, None));
            }
            let began = Instant::now();
            match self.open(&picked, from, deadlines.connect).await {
                Ok(opened) => {
                    let connected = opened.is_new.then(|| began.elapsed());
                    return Ok(self.leased(opened, picked, connected));
                }
                // No endpoint is to blame, and trying another one would not help.
                Err(error @ Error::NoSocket { .. }) => return Err(error),
                Err(error) => {
                    picked.failed();
                    tried += 1;
                    avoid = Some(picked.index);
                    drop(picked);
                    if tried < self.upstream.endpoints.len() && error.is_before_request() {
                        continue;
                    }
                    if started.elapsed() + CONNECT_PAUSE > self.upstream.connect_budget {
                        return Err(error);
                    }
                    tried = 0;
                    sleep(CONNECT_PAUSE).await;
                }
            }
        }
    }

    fn leased(&self, opened: Opened, picked: Picked, connected: Option<Duration>) -> Leased {
        let lease = Lease {
            exchange: opened.exchange,
            picked,
            pool: Arc::clone(&self.pool),
            socket: opened.socket,
        };
        Leased { lease, connected }
    }

    /// Opens a connection, or takes a place on a shared one.
    async fn open(
        &self,
        picked: &Picked,
        supply: Supply,
        limit: Duration,
    ) -> Result<Opened, Error> {
        let Some(endpoint) = picked.endpoint() else {
            return Err(self.no_endpoint());
        };
        let connector = self.connector.as_ref().map(|connector| &connector.0);
        let upstream = &self.upstream;
        let opening = async {
            if !upstream.http2 || supply == Supply::Upgrade {
                let socket = self.socket()?;
                let io = connect::connect(upstream, endpoint, connector, Speaks::Http1).await?;
                return Ok(Opened {
                    exchange: Exchange::Own(http1::Connection::new(io)),
                    socket: Some(socket),
                    is_new: true,
                });
            }
            let connecting = async {
                let socket = self.socket()?;
                let connection = connect::shared(upstream, endpoint, connector).await?;
                connection.holds(socket);
                Ok(connection)
            };
            let (place, is_new) = self.shared.place(picked.index, connecting).await?;
            Ok(Opened {
                exchange: Exchange::Shared(Box::new(Stream::new(place))),
                socket: None,
                is_new,
            })
        };
        let late = |_| Error::ConnectTimeout {
            upstream: upstream.name.to_string(),
            limit,
        };
        timeout(limit, opening).await.map_err(late)?
    }

    /// Counts a connection that is about to be opened.
    fn socket(&self) -> Result<Counted, Error> {
        self.budget.open().ok_or_else(|| Error::NoSocket {
            upstream: self.upstream.name.to_string(),
            source: None,
        })
    }

    /// Sends the request that has begun on `lease`, and waits for the response head.
    pub(super) async fn send(
        &self,
        mut lease: Lease,
        interim: Option<&Interim>,
        limit: Duration,
        verdict: &Verdict,
    ) -> Result<Answer, Failure> {
        let began = Instant::now();
        let mut late = pin!(sleep(limit));
        let head = poll_fn(|cx| {
            let told = |status, fields: &HeaderMap| {
                if let Some(interim) = interim {
                    interim(status, fields);
                }
            };
            if let Poll::Ready(result) = lease.exchange.poll_head(cx, told) {
                return Poll::Ready(Some(result));
            }
            loop {
                ready!(late.as_mut().poll(cx));
                // An upload may take long, so the limit counts from when the upstream last took a piece of it.
                // Waiting for the client has a limit of its own.
                let since = verdict.upstream_silent().unwrap_or_else(Instant::now);
                let since = since.max(began);
                if since + limit <= Instant::now() {
                    return Poll::Ready(None);
                }
                late.as_mut().reset(since + limit);
            }
        });
        let Some(result) = head.await else {
            lease.failed();
            return Err(Error::HeadTimeout {
                upstream: self.upstream.name.to_string(),
                limit,
            }
            .into());
        };
        match result {
            Ok(head) => Ok(answer(head, lease, verdict).await),
            Err(failure) => Err(self.failed(failure, lease, verdict)),
        }
    }

    fn failed(&self, failure: progress::Failure, mut lease: Lease, verdict: &Verdict) -> Failure {
        if let Some(cut) = verdict.cut() {
            return Failure::from(cut.error());
        }
        let upstream = self.upstream.name.to_string();
        let error = match failure {
            progress::Failure::Malformed(source) => Error::Protocol { upstream, source },
            // The body was shorter than announced, although its transfer gave no error.
            progress::Failure::RequestBody => return Error::RequestAborted.into(),
            progress::Failure::Reset(source) => Error::Reset { upstream, source },
        };
        let unsent = lease.exchange.take_unsent().map(Box::new);
        let is_silent = matches!(error, Error::Reset { .. }) && !lease.exchange.has_heard();
        if unsent.is_none() {
            lease.failed();
        }
        Failure {
            error,
            unsent,
            is_silent,
        }
    }

    pub(super) fn no_endpoint(&self) -> Error {
        let source = io::Error::new(io::ErrorKind::NotFound, "no endpoint");
        Error::Connect {
            upstream: self.upstream.name.to_string(),
            source,
        }
    }
}

async fn answer(head: response::Parts, lease: Lease, verdict: &Verdict) -> Answer {
    if lease.exchange.left().is_some() {
        // Without an announced length, the first piece of the body shows whether the agent is healthy.
        lease.picked.succeeded();
    }
    let mut body = Body::new(lease);
    if body.is_end_stream() && head.status != StatusCode::SWITCHING_PROTOCOLS {
        // An empty body is never read, so its connection is released here.
        poll_fn(|cx| {
            body.release(cx);
            Poll::Ready(())
        })
        .await;
    }
    Answer {
        head,
        body,
        sent: verdict.sent().unwrap_or_else(Instant::now),
        connected: None,
        repeated: false,
    }
}

/// Where a connection may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supply {
    New,
    Pool,
    /// New, and HTTP/1.1 whatever is configured.
    Upgrade,
}

/// A connection, or a place on a shared one.
struct Opened {
    exchange: Exchange,
    /// Counts the connection as open. A shared one is counted by itself.
    socket: Option<Counted>,
    is_new: bool,
}

/// A connection to use, and how long connecting took, or `None` if it was reused.
pub(super) struct Leased {
    pub(super) lease: Lease,
    pub(super) connected: Option<Duration>,
}

/// A failed attempt, with the request body if the request may be sent again.
pub(super) struct Failure {
    pub(super) error: Error,
    unsent: Option<Box<RequestBody>>,
    /// The connection ended without a byte of a response.
    is_silent: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            unsent: None,
            is_silent: false,
        }
    }
}
