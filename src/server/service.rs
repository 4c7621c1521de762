//! The service that the HTTP engine calls for each request, and the handover of streams that leave the
//! engine.
//!
//! An engine keeps its buffers and the framing of a message for as long as a response lasts. A stream lasts
//! for minutes and needs neither. Once the head of an HTTP/1.1 stream is written and its request is complete,
//! the stream hands its body to the driver of the connection, which writes it without the engine.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Version, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::{service, upgrade};

use super::over_http2;
use crate::app::App;
use crate::bridge;
use crate::proxy::{self, Arrived, Peer};
use crate::reply::body::Body;
use crate::reply::stream::Stream;
use crate::strict::smuggling;
use crate::tasks;
use crate::tunnel;

/// Answers the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Service {
    app: Arc<App>,
    pub(super) peer: Peer,
    pub(super) handover: Arc<Handover>,
}

impl Service {
    pub(super) fn new(app: Arc<App>, peer: Peer) -> Self {
        Self {
            app,
            peer,
            handover: Arc::default(),
        }
    }

    /// Returns how many requests one more connection could have in progress now.
    pub(super) fn share(&self) -> usize {
        let max = self.app.loaded().config.limits.max_requests;
        self.app.admitted.share(max)
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

impl service::Service<Request<Incoming>> for Service {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Self {
            app,
            peer,
            handover,
        } = self.clone();
        // The engine may drop the future before it has run.
        let mut arrived = Arrived::new(request, peer.origin.client);
        // Boxed: hyper keeps room for this future as long as the connection lives, although the future ends
        // when the head of a stream is sent.
        Box::pin(async move {
            let Some(mut request) = arrived.take() else {
                // Never: a future begins once.
                return pending::<Result<Response<Answer>, Infallible>>().await;
            };
            let may_leave = request.version() == Version::HTTP_11;
            // Behind such a head, the strict reader lets pass what may be frames. It must not be read as a request.
            let ends = request.version() <= Version::HTTP_11 && names_websocket(&request);
            let last = closes(&request) || ends;
            let connects = request.method() == Method::CONNECT && !may_leave;
            let upgrade = connects.then(|| upgrade::on(&mut request));
            let mut response = proxy::serve(&app, &peer, request).await;
            if !may_leave {
                response.body_mut().release();
            }
            let accepted = response.extensions_mut().remove::<bridge::Accepted>();
            let bridge = accepted.and_then(|accepted| accepted.take());
            if let Some(mut start) = bridge {
                start.account.keep(response.body_mut().take_held());
                match upgrade {
                    Some(upgrade) => {
                        tasks::spawn(over_http2::run_bridge(upgrade, *start));
                    }
                    None => handover.put(Leaves::Bridge(start)),
                }
                return Ok(response.map(|body| Answer {
                    body: Some(body),
                    handover: None,
                    last,
                }));
            }
            match (response.body_mut().take_tunnel(), upgrade) {
                (Some(start), Some(upgrade)) => {
                    tasks::spawn(over_http2::run(upgrade, *start));
                }
                // The driver takes it from there once the engine has written the head and ends.
                (Some(start), None) => handover.put(Leaves::Tunnel(start)),
                (None, _) if ends => {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                (None, _) => {}
            }
            Ok(response.map(|body| Answer {
                body: Some(body),
                handover: may_leave.then_some(handover),
                last,
            }))
        })
    }
}

/// Reports whether the client wants the connection closed after this response.
fn closes(request: &Request<Incoming>) -> bool {
    let values = request.headers().get_all(header::CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("close"))
}

/// Reports whether the strict reader takes the request for an upgrade to a WebSocket, whatever else it is.
fn names_websocket(request: &Request<Incoming>) -> bool {
    let mut upgrades = request.headers().get_all(header::UPGRADE).iter();
    upgrades.any(|value| smuggling::names_websocket(value.as_bytes()))
}

/// A stream that has left its engine.
#[derive(Debug)]
pub(super) struct HandedOver {
    pub(super) body: Box<Stream>,
    /// Whether the connection closes after it.
    pub(super) last: bool,
}

/// The place where a body waits for the driver of its connection.
#[derive(Debug, Default)]
pub(super) struct Handover(Mutex<Option<Leaves>>);

/// What leaves the engine of its connection.
#[derive(Debug)]
pub(super) enum Leaves {
    /// A stream, once the engine has written everything.
    Stream(HandedOver),
    /// A tunnel, once the engine has ended.
    Tunnel(Box<tunnel::Start>),
    /// The same for a bridge.
    Bridge(Box<bridge::Start>),
}

impl Handover {
    /// Takes a stream, if one waits.
    pub(super) fn take_stream(&self) -> Option<HandedOver> {
        let mut waits = self.lock();
        match waits.take()? {
            Leaves::Stream(stream) => Some(stream),
            other => {
                *waits = Some(other);
                None
            }
        }
    }

    /// Takes whatever waits.
    pub(super) fn take(&self) -> Option<Leaves> {
        self.lock().take()
    }

    fn put(&self, leaves: Leaves) {
        *self.lock() = Some(leaves);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Leaves>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A response body as the engine sees it.
#[derive(Debug)]
pub(super) struct Answer {
    /// `None` once it has left the engine.
    body: Option<Body>,
    /// `None` if the body cannot leave: HTTP/1.0 has no chunked transfer coding, and an HTTP/2 connection has
    /// other streams.
    handover: Option<Arc<Handover>>,
    last: bool,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if let Some(handover) = &this.handover
            && this.body.as_ref().is_some_and(Body::is_alone)
            && let Some(body) = this.body.take().and_then(Body::into_stream)
        {
            // The engine writes what it still has, and waits. The driver that polls the engine then takes the
            // body.
            let last = this.last;
            handover.put(Leaves::Stream(HandedOver { body, last }));
        }
        match &mut this.body {
            Some(body) => {
                body.release();
                Pin::new(body).poll_frame(cx)
            }
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body
            .as_ref()
            .is_some_and(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}
