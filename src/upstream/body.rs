//! Bodies on their way: the client's to the upstream (bounded), the upstream's to us (as reads).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::pool::Lease;

/// Why a request body was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The client broke it off.
    Aborted = 1,
    /// No progress in time.
    Timeout = 2,
    /// Larger than allowed.
    TooLarge = 3,
}

/// Tells the caller why the request body was cut off, if it was: hyper only says "user error".
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict(Arc<AtomicU8>);

impl Verdict {
    pub(super) fn cut(&self) -> Option<Cut> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(Cut::Aborted),
            2 => Some(Cut::Timeout),
            3 => Some(Cut::TooLarge),
            _ => None,
        }
    }

    fn set(&self, cut: Cut) -> std::io::Error {
        self.0.store(cut as u8, Ordering::Relaxed);
        std::io::Error::other("request body cut off")
    }
}

/// Bounds of a request body.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Most bytes.
    pub max_bytes: u64,
    /// Longest time without progress.
    pub idle: Duration,
}

/// A client's request body, within its bounds.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    limits: RequestLimits,
    left: u64,
    timer: Option<Pin<Box<Sleep>>>,
    verdict: Verdict,
}

impl RequestBody {
    /// Wraps a body as it comes from the client.
    pub fn new(incoming: Incoming, limits: RequestLimits) -> Self {
        Self {
            incoming,
            limits,
            left: limits.max_bytes,
            timer: None,
            verdict: Verdict::default(),
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    /// Whether its announced length already exceeds the bound.
    pub fn is_too_large(&self) -> bool {
        self.incoming.size_hint().lower() > self.limits.max_bytes
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(left) = this.left.checked_sub(bytes) else {
                    return Poll::Ready(Some(Err(this.verdict.set(Cut::TooLarge))));
                };
                this.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(this.verdict.set(Cut::Aborted)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let idle = this.limits.idle;
                let timer = this
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(this.verdict.set(Cut::Timeout))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// What one read of an upstream's body gave.
#[derive(Debug)]
pub enum Read {
    /// Bytes, in one or more pieces.
    Data,
    /// The body is complete; trailers if there were any.
    Eof(Option<HeaderMap>),
}

/// An upstream's response body. Its connection is driven in the task that reads it, so one wake-up reads,
/// decodes and hands over. Dropping it closes the connection; reading it to the end returns the
/// connection to the pool.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    lease: Option<Lease>,
    trailers: Option<HeaderMap>,
    /// What broke the body, told once everything before it was handed over.
    failed: Option<hyper::Error>,
}

/// Pieces taken in one read. Bounds the work of one poll; the rest follows at the next.
const PIECES_PER_READ: usize = 64;

impl Body {
    pub(super) fn new(incoming: Incoming, lease: Lease) -> Self {
        Self {
            incoming,
            lease: Some(lease),
            trailers: None,
            failed: None,
        }
    }

    /// Appends what is there to `out`; pending when nothing is.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Bytes>,
    ) -> Poll<hyper::Result<Read>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let before = out.len();
        loop {
            // The connection hands over one piece at a time, so the two take turns.
            if let Some(lease) = &mut self.lease {
                lease.drive(cx);
            }
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => out.push(data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Poll::Ready(Some(Err(error))) => {
                    self.lease = None;
                    if out.len() > before {
                        self.failed = Some(error);
                        break;
                    }
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(None) => {
                    if out.len() > before {
                        break;
                    }
                    if let Some(lease) = self.lease.take() {
                        lease.give_back(cx);
                    }
                    return Poll::Ready(Ok(Read::Eof(self.trailers.take())));
                }
                Poll::Pending if out.len() > before => break,
                Poll::Pending => return Poll::Pending,
            }
            if out.len() - before >= PIECES_PER_READ {
                break;
            }
        }
        Poll::Ready(Ok(Read::Data))
    }

    /// What the upstream announced about the length.
    pub fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    /// Whether nothing will come.
    pub fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
}
