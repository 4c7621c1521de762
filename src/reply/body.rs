//! The body of a response: a queue drained, an upstream passed through, or a few fixed bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;

use crate::bounds::Bounds;
use crate::link::Link;
use crate::metrics::RouteMetrics;
use crate::queue::{Close, Next, Receiver};
use crate::stream::pump::Reader as _;
use crate::tasks;
use crate::upstream::fields::forwardable;
use crate::upstream::{self, Received};

/// Bytes handed to the connection at a time: more would only hide in its buffers.
const FRAME_BYTES: usize = 32 * 1024;

/// The same for a shared connection, of HTTP/2: its engine asks for more when the client has taken these, so what
/// lies there cannot be told from what was taken.
const SHARED_FRAME_BYTES: usize = 16 * 1024;

/// A client that takes nothing for longer than this while something waits is worth a note.
pub const STALL: Duration = Duration::from_millis(100);

/// A stream's pump at work, up to its last word.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A response body, with whatever must live as long as it does.
pub struct Body {
    kind: Kind,
    breaking: Breaking,
    /// Of a stream: whether its request is complete.
    received: Option<Received>,
    /// The pump of a stream, while nobody else runs it.
    pump: Option<Running>,
    /// Dropped with the body: guards that count what is under way.
    _held: Option<Box<dyn Send + Sync>>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

/// How a body breaks off: after everything before the break has left. The connection throws away what it
/// has not written yet when it sees an error.
#[derive(Default)]
struct Breaking {
    /// Bytes were handed over since the connection last had a moment to write them.
    fresh: bool,
    error: Option<io::Error>,
    link: Option<Arc<Link>>,
}

impl Breaking {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if std::mem::take(&mut self.fresh) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Polled again when the socket takes something; the link's deadline bounds the wait.
        if self
            .link
            .as_ref()
            .is_some_and(|link| link.last_progress().is_some())
        {
            return Poll::Pending;
        }
        Poll::Ready(self.error.take().map(Err))
    }
}

enum Kind {
    Fixed(Option<Bytes>),
    Pass(Box<Pass>),
    Stream(Receiver, Arc<RouteMetrics>, Option<Bytes>),
}

struct Pass {
    body: upstream::Body,
    ready: Vec<Bytes>,
    /// Of a shared connection: hears what the client takes.
    bounds: Option<Arc<Bounds>>,
    done: bool,
}

impl Body {
    /// A few bytes, or none.
    pub fn fixed(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Fixed((!bytes.is_empty()).then_some(bytes)),
            breaking: Breaking::default(),
            received: None,
            pump: None,
            _held: None,
        }
    }

    /// An upstream's body, byte for byte. On a shared connection it tells `bounds` what the client takes.
    pub(crate) fn pass(body: upstream::Body, bounds: Option<Arc<Bounds>>) -> Self {
        let pass = Pass {
            body,
            ready: Vec::new(),
            bounds,
            done: false,
        };
        Self {
            kind: Kind::Pass(Box::new(pass)),
            breaking: Breaking::default(),
            received: None,
            pump: None,
            _held: None,
        }
    }

    /// A stream, after `preamble`. It does not flow before somebody drives it or releases it.
    pub fn stream(
        queue: Receiver,
        pump: Running,
        metrics: Arc<RouteMetrics>,
        preamble: Bytes,
    ) -> Self {
        let preamble = (!preamble.is_empty()).then_some(preamble);
        Self {
            kind: Kind::Stream(queue, metrics, preamble),
            breaking: Breaking::default(),
            received: None,
            pump: Some(pump),
            _held: None,
        }
    }

    /// The same body, on its way over `link`.
    pub fn over(mut self, link: Arc<Link>) -> Self {
        self.breaking.link = Some(link);
        self
    }

    /// The same body, in answer to a request that may not be complete yet.
    pub fn after(mut self, received: Received) -> Self {
        self.received = Some(received);
        self
    }

    /// Runs the pump in the caller's task, which saves a wake-up for each read. To be called whenever the task
    /// wakes up, whether or not the client takes anything: the pump keeps the stream's deadlines.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(pump) = &mut self.pump
            && pump.as_mut().poll(cx).is_ready()
        {
            self.pump = None;
        }
    }

    /// Runs the pump in a task of its own: nobody here may be there when it has something to do.
    pub(crate) fn release(&mut self) {
        if let Some(pump) = self.pump.take()
            && Handle::try_current().is_ok()
        {
            tasks::spawn(pump);
        }
    }

    /// Whether its connection has nothing else to do than to send it: it is a stream, and its request is complete.
    pub(crate) fn is_alone(&self) -> bool {
        let received = self.received.as_ref();
        matches!(self.kind, Kind::Stream(..)) && received.is_some_and(Received::is_complete)
    }

    /// The same body, keeping `held` until it is dropped.
    pub fn holding(mut self, held: impl Send + Sync + 'static) -> Self {
        self._held = Some(Box::new((self._held.take(), held)));
        self
    }
}

impl Drop for Body {
    /// The pump still has to say how the stream ended, and to end the upstream call.
    fn drop(&mut self) {
        self.release();
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
        let shared = (this.breaking.link.as_ref()).is_some_and(|link| link.is_multiplexed());
        let max = if shared {
            SHARED_FRAME_BYTES
        } else {
            FRAME_BYTES
        };
        // With its pump in this task a stream needs nobody to wake it.
        let mut asleep = Context::from_waker(Waker::noop());
        let queue_cx = if this.pump.is_some() {
            &mut asleep
        } else {
            &mut *cx
        };
        match this.kind.poll_frame(queue_cx, max) {
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
            Kind::Stream(..) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Fixed(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Pass(pass) => pass.body.size_hint(),
            Kind::Stream(..) => SizeHint::default(),
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
            Self::Pass(pass) => pass.poll_frame(cx),
            Self::Stream(queue, metrics, preamble) => {
                if let Some(preamble) = preamble.take() {
                    return Poll::Ready(Some(Ok(Frame::data(preamble))));
                }
                queue.poll_next(cx, max_bytes).map(|next| match next {
                    Next::Data {
                        taken,
                        waited,
                        aged,
                    } => {
                        if waited > STALL {
                            metrics.client_stall.observe(waited.as_secs_f64());
                        }
                        metrics.added.observe(aged.as_secs_f64());
                        Some(Ok(Frame::data(taken.bytes)))
                    }
                    Next::End(Close::Clean) => None,
                    Next::End(Close::Abort) => Some(Err(io::Error::other("the stream broke"))),
                })
            }
        }
    }
}

impl Pass {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.done {
            return Poll::Ready(None);
        }
        if self.ready.is_empty() {
            match self.body.poll_read(cx, &mut self.ready) {
                Poll::Ready(Ok(upstream::Read::Data)) => self.ready.reverse(),
                Poll::Ready(Ok(upstream::Read::Eof(trailers))) => {
                    self.done = true;
                    let frame = trailers.map(|trailers| Frame::trailers(forwardable(*trailers)));
                    return Poll::Ready(frame.map(Ok));
                }
                Poll::Ready(Err(error)) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(io::Error::other(error))));
                }
                Poll::Pending => {
                    if let Some(bounds) = &self.bounds {
                        bounds.note_wanted();
                    }
                    return Poll::Pending;
                }
            }
        }
        let Some(mut bytes) = self.ready.pop() else {
            return Poll::Ready(None);
        };
        if let Some(bounds) = &self.bounds {
            bounds.note_handed();
            if bytes.len() > SHARED_FRAME_BYTES {
                self.ready.push(bytes.split_off(SHARED_FRAME_BYTES));
            }
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
