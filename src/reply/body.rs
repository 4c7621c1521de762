//! The body of a response: a live stream, an upstream body passed through, or a few fixed bytes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};

use crate::body_deadline::BodyDeadline;
use crate::client_conn::ClientConn;
use crate::metrics::RouteMetrics;
use crate::queue::{Close, Receiver};
use crate::stream::pump::{Reader as _, Running};
use crate::tunnel;
use crate::upstream::fields::forwardable;
use crate::upstream::{self, Broken, Received};

use super::stream::{Held, Stream, Took};

/// How many bytes are handed to the connection at a time. More would only wait in the connection's buffers.
pub(crate) const FRAME_BYTES: usize = 32 * 1024;

/// How many bytes are handed to a shared (HTTP/2) connection at a time. Its engine asks for more only when the client
/// has taken these bytes, and does not show how many of them it still holds.
const SHARED_FRAME_BYTES: usize = 16 * 1024;

/// A response body, with the values that must live as long as it does.
pub struct Body {
    kind: Kind,
    breaking: Breaking,
    /// For a stream: shows whether all of its request has been read.
    received: Option<Received>,
    /// Dropped with the body.
    held: Option<Held>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

/// Delays the error of a body that breaks off until everything before it has been written: the connection discards
/// unwritten data when a body returns an error.
#[derive(Default)]
struct Breaking {
    /// Bytes were handed over, and the connection has not had a chance to write them since.
    fresh: bool,
    error: Option<io::Error>,
    conn: Option<Arc<ClientConn>>,
}

impl Breaking {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if std::mem::take(&mut self.fresh) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // The body is polled again when the socket accepts data; the connection's deadline bounds the wait.
        if self
            .conn
            .as_ref()
            .is_some_and(|conn| conn.last_progress().is_some())
        {
            return Poll::Pending;
        }
        Poll::Ready(self.error.take().map(Err))
    }
}

/// Learns how a body that is passed through ended. If it is dropped before, the body was abandoned.
pub(crate) trait Witness: Send + Sync {
    /// Called when the connection takes bytes of the body.
    fn handed(&mut self, bytes: usize);

    /// Called when the whole body has been handed over, or when the upstream broke it off.
    fn ended(&mut self, how: Result<(), &Broken>);
}

/// Writes a body of Weir's own that takes time.
pub(crate) trait Source: Send + Sync {
    /// Returns the next bytes; `None` is the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

enum Kind {
    Fixed(Option<Bytes>),
    Own(Box<Own>),
    Pass(Box<Pass>),
    Stream(Box<Stream>),
    /// There is no body: what follows the head is no longer HTTP.
    Tunnel(Option<Box<tunnel::Start>>),
}

struct Own {
    source: Box<dyn Source>,
    /// On a shared connection: records what the client takes.
    deadline: Option<Arc<BodyDeadline>>,
}

struct Pass {
    body: upstream::Body,
    ready: Vec<Bytes>,
    /// On a shared connection: records what the client takes.
    deadline: Option<Arc<BodyDeadline>>,
    witness: Box<dyn Witness>,
    done: bool,
}

impl Body {
    /// Creates a body of a few bytes, or an empty one.
    pub fn fixed(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Fixed((!bytes.is_empty()).then_some(bytes)),
            breaking: Breaking::default(),
            received: None,
            held: None,
        }
    }

    /// Creates a body that `source` writes. On a shared connection, `deadline` records what the client takes.
    pub(crate) fn own(source: Box<dyn Source>, deadline: Option<Arc<BodyDeadline>>) -> Self {
        Self {
            kind: Kind::Own(Box::new(Own { source, deadline })),
            breaking: Breaking::default(),
            received: None,
            held: None,
        }
    }

    /// Creates a body that passes an upstream's body through unchanged. On a shared connection, `deadline` records what
    /// the client takes. The `witness` is dropped with the body.
    pub(crate) fn pass(
        body: upstream::Body,
        deadline: Option<Arc<BodyDeadline>>,
        witness: Box<dyn Witness>,
    ) -> Self {
        let mut pass = Pass {
            body,
            ready: Vec::new(),
            deadline,
            witness,
            done: false,
        };
        pass.look();
        Self {
            kind: Kind::Pass(Box::new(pass)),
            breaking: Breaking::default(),
            received: None,
            held: None,
        }
    }

    /// Creates the body of a stream that begins with `preamble`. The stream does not run until it is driven or
    /// released.
    pub fn stream(
        queue: Receiver,
        pump: Running,
        metrics: Arc<RouteMetrics>,
        preamble: Bytes,
    ) -> Self {
        let stream = Stream::new(queue, pump, metrics, preamble);
        Self {
            kind: Kind::Stream(Box::new(stream)),
            breaking: Breaking::default(),
            received: None,
            held: None,
        }
    }

    /// Creates the body of an accepted upgrade: nothing, and a tunnel that begins behind the head.
    pub(crate) fn tunnel(start: tunnel::Start) -> Self {
        Self {
            kind: Kind::Tunnel(Some(Box::new(start))),
            breaking: Breaking::default(),
            received: None,
            held: None,
        }
    }

    /// Creates the body of an accepted upgrade whose bytes somebody else takes.
    pub(crate) fn upgraded() -> Self {
        Self {
            kind: Kind::Tunnel(None),
            breaking: Breaking::default(),
            received: None,
            held: None,
        }
    }

    /// Takes the values that live as long as the body, for what follows it on its connection.
    pub(crate) fn take_held(&mut self) -> Option<Held> {
        self.held.take()
    }

    /// Reports whether the body is a stream.
    pub(crate) const fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream(_))
    }

    /// Takes the tunnel that begins behind the head, with the values that live as long, if the response accepts an
    /// upgrade.
    pub(crate) fn take_tunnel(&mut self) -> Option<Box<tunnel::Start>> {
        let Kind::Tunnel(start) = &mut self.kind else {
            return None;
        };
        let mut start = start.take()?;
        start.account.keep(self.held.take());
        Some(start)
    }

    /// Runs a stream to its end before anything of it is sent. Returns the status of a response that says how it has
    /// failed, if it has.
    pub(crate) async fn closed(&mut self) -> Option<StatusCode> {
        let Kind::Stream(stream) = &mut self.kind else {
            return None;
        };
        poll_fn(|cx| stream.poll_closed(cx)).await
    }

    /// Reports whether the body is a few bytes of Weir itself.
    pub(crate) const fn is_fixed(&self) -> bool {
        matches!(self.kind, Kind::Fixed(_))
    }

    /// Sets the connection that the body is sent over.
    pub fn over(mut self, conn: Arc<ClientConn>) -> Self {
        self.breaking.conn = Some(conn);
        self
    }

    /// Sets the state of the request that the body responds to, which may still be incomplete.
    pub fn after(mut self, received: Received) -> Self {
        self.received = Some(received);
        self
    }

    /// Lets a stream run in a task of its own.
    pub(crate) fn release(&mut self) {
        if let Kind::Stream(stream) = &mut self.kind {
            stream.release();
        }
    }

    /// Reports whether the connection only has to send this body: it is a stream, and its request has been read
    /// completely.
    pub(crate) fn is_alone(&self) -> bool {
        let received = self.received.as_ref();
        matches!(self.kind, Kind::Stream(..)) && received.is_some_and(Received::is_complete)
    }

    /// Returns the stream, with the values that live as long, to be written without the HTTP engine.
    pub(crate) fn into_stream(self) -> Option<Box<Stream>> {
        match self.kind {
            Kind::Stream(mut stream) => {
                stream.keep(self.held);
                Some(stream)
            }
            Kind::Fixed(_) | Kind::Own(_) | Kind::Pass(_) | Kind::Tunnel(_) => None,
        }
    }

    /// Keeps `held` until the body is dropped.
    pub fn holding(mut self, held: impl Send + Sync + 'static) -> Self {
        self.held = Some(Box::new((self.held.take(), held)));
        self
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.breaking.error.is_some() {
            return this.breaking.poll(cx);
        }
        let shared = (this.breaking.conn.as_ref()).is_some_and(|conn| conn.is_multiplexed());
        let max = if shared {
            SHARED_FRAME_BYTES
        } else {
            FRAME_BYTES
        };
        match this.kind.poll_frame(cx, max) {
            Poll::Ready(Some(Err(error))) => {
                this.breaking.error = Some(error);
                this.breaking.poll(cx)
            }
            other => {
                this.breaking.fresh = other.is_ready();
                other
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Fixed(bytes) => bytes.is_none(),
            Kind::Pass(pass) => pass.done || (pass.ready.is_empty() && pass.body.is_end_stream()),
            Kind::Own(_) | Kind::Stream(..) => false,
            Kind::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Fixed(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Pass(pass) => pass.body.size_hint(),
            Kind::Own(_) | Kind::Stream(..) => SizeHint::default(),
            Kind::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}

impl Kind {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        max_bytes: usize,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self {
            Self::Fixed(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Own(own) => own.poll_frame(cx),
            Self::Pass(pass) => pass.poll_frame(cx),
            Self::Tunnel(_) => Poll::Ready(None),
            Self::Stream(stream) => {
                let mut bytes = Vec::new();
                let took = stream.poll_take(cx, max_bytes, &mut bytes);
                took.map(|took| match took {
                    Took::Some => Some(Ok(Frame::data(bytes.into()))),
                    Took::Large(bytes) => Some(Ok(Frame::data(bytes.into()))),
                    Took::End(Close::Clean) => None,
                    Took::End(Close::Abort) => Some(Err(broke())),
                })
            }
        }
    }
}

/// Returns the error that shows a client that its stream was truncated.
pub(crate) fn broke() -> io::Error {
    io::Error::other("the stream broke")
}

impl Own {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let next = self.source.poll_next(cx);
        match (&self.deadline, &next) {
            (Some(deadline), Poll::Ready(Some(_))) => deadline.note_handed(),
            (Some(deadline), Poll::Pending) => deadline.note_wanted(),
            _ => {}
        }
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Pass {
    /// Reports the end of a body of known length, because the connection does not poll for it.
    fn look(&mut self) {
        if self.ready.is_empty() && self.body.is_end_stream() {
            self.witness.ended(Ok(()));
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.done {
            return Poll::Ready(None);
        }
        if self.ready.is_empty() {
            let ready = &mut self.ready;
            let mut keep = |bytes: &[u8]| ready.push(Bytes::copy_from_slice(bytes));
            match self.body.poll_read(cx, &mut keep) {
                Poll::Ready(Ok(upstream::Read::Data { .. })) => self.ready.reverse(),
                Poll::Ready(Ok(upstream::Read::Eof(trailers))) => {
                    self.done = true;
                    self.witness.ended(Ok(()));
                    let frame = trailers.map(|trailers| Frame::trailers(forwardable(*trailers)));
                    return Poll::Ready(frame.map(Ok));
                }
                Poll::Ready(Err(error)) => {
                    self.done = true;
                    self.witness.ended(Err(&error));
                    return Poll::Ready(Some(Err(io::Error::other(error))));
                }
                Poll::Pending => {
                    if let Some(deadline) = &self.deadline {
                        deadline.note_wanted();
                    }
                    return Poll::Pending;
                }
            }
        }
        let Some(mut bytes) = self.ready.pop() else {
            return Poll::Ready(None);
        };
        if let Some(deadline) = &self.deadline {
            deadline.note_handed();
            if bytes.len() > SHARED_FRAME_BYTES {
                self.ready.push(bytes.split_off(SHARED_FRAME_BYTES));
            }
        }
        self.witness.handed(bytes.len());
        self.look();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
