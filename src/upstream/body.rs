//! Bodies on their way: the client's to the upstream (bounded), the upstream's to us (as reads).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::fields::forwardable;
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

/// What became of a request body: hyper only says "user error" when it was cut off.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict(Arc<Fate>);

#[derive(Debug, Default)]
struct Fate {
    cut: AtomicU8,
    sent: OnceLock<Instant>,
    /// When the last piece was handed over; `None` while the next one has not come from the client. Held
    /// for a read or a write.
    taken: Mutex<Option<Instant>>,
}

impl Verdict {
    /// Why it was cut off, if it was.
    pub(super) fn cut(&self) -> Option<Cut> {
        match self.0.cut.load(Ordering::Relaxed) {
            1 => Some(Cut::Aborted),
            2 => Some(Cut::Timeout),
            3 => Some(Cut::TooLarge),
            _ => None,
        }
    }

    /// When the last of it was handed over.
    pub(super) fn sent(&self) -> Option<Instant> {
        self.0.sent.get().copied()
    }

    /// Since when the upstream has taken nothing of what there is for it, or has had everything; `None` while
    /// the client is awaited.
    pub(super) fn upstream_silent(&self) -> Option<Instant> {
        let taken = || *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.sent().or_else(taken)
    }

    fn took(&self, at: Option<Instant>) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn set(&self, cut: Cut) -> std::io::Error {
        self.0.cut.store(cut as u8, Ordering::Relaxed);
        std::io::Error::other("request body cut off")
    }

    fn complete(&self) {
        self.0.sent.get_or_init(Instant::now);
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

/// Hears each piece of a request body as it passes.
type Listener = Box<dyn FnMut(&[u8]) + Send>;

/// A client's request body, within its bounds.
pub struct RequestBody {
    listener: Option<Listener>,
    incoming: Incoming,
    limits: RequestLimits,
    left: u64,
    timer: Option<Pin<Box<Sleep>>>,
    verdict: Verdict,
}

impl RequestBody {
    /// Wraps a body as it comes from the client.
    pub fn new(incoming: Incoming, limits: RequestLimits) -> Self {
        let verdict = Verdict::default();
        if incoming.is_end_stream() {
            verdict.complete();
        }
        Self {
            listener: None,
            incoming,
            limits,
            left: limits.max_bytes,
            timer: None,
            verdict,
        }
    }

    /// The same body, heard by `listener` as it passes.
    pub fn heard_by(self, listener: Option<impl FnMut(&[u8]) + Send + 'static>) -> Self {
        let listener = listener.map(|listener| Box::new(listener) as Listener);
        Self { listener, ..self }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    /// Whether its announced length already exceeds the bound.
    pub fn is_too_large(&self) -> bool {
        self.incoming.size_hint().lower() > self.limits.max_bytes
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
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
                this.verdict.took(Some(Instant::now()));
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(left) = this.left.checked_sub(bytes) else {
                    return Poll::Ready(Some(Err(this.verdict.set(Cut::TooLarge))));
                };
                this.left = left;
                if let (Some(listener), Some(data)) = (&mut this.listener, frame.data_ref()) {
                    listener(data);
                }
                if this.incoming.is_end_stream() {
                    this.verdict.complete();
                }
                let frame = match frame.into_trailers() {
                    Ok(trailers) => Frame::trailers(forwardable(trailers)),
                    Err(data) => data,
                };
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(this.verdict.set(Cut::Aborted)))),
            Poll::Ready(None) => {
                this.verdict.complete();
                Poll::Ready(None)
            }
            Poll::Pending => {
                this.verdict.took(None);
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
    /// Read to look at; handed over by the next read.
    peeked: Vec<Bytes>,
    /// Something of it came.
    began: bool,
    ended: bool,
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
            peeked: Vec::new(),
            began: false,
            ended: false,
        }
    }

    /// Nothing of use came in time: the endpoint has failed.
    pub fn blame(&self) {
        if let Some(lease) = &self.lease {
            lease.picked.failed();
        }
    }

    /// The first bytes, at least `wanted` unless the body ends before. Later reads begin with them again.
    pub async fn peek(&mut self, wanted: usize) -> Vec<u8> {
        let mut seen = Vec::new();
        while seen.len() < wanted && !self.ended {
            let mut pieces = Vec::new();
            match poll_fn(|cx| self.poll_wire(cx, &mut pieces)).await {
                Ok(Read::Data) => {}
                Ok(Read::Eof(trailers)) => {
                    self.trailers = trailers;
                    self.ended = true;
                }
                Err(error) => {
                    self.failed = Some(error);
                    self.ended = true;
                }
            }
            seen.extend(pieces.iter().flatten());
            self.peeked.append(&mut pieces);
        }
        seen
    }

    /// Appends what is there to `out`; pending when nothing is.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Bytes>,
    ) -> Poll<hyper::Result<Read>> {
        if !self.peeked.is_empty() {
            out.append(&mut self.peeked);
            return Poll::Ready(Ok(Read::Data));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.ended {
            return Poll::Ready(Ok(Read::Eof(self.trailers.take())));
        }
        self.poll_wire(cx, out)
    }

    fn poll_wire(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Bytes>,
    ) -> Poll<hyper::Result<Read>> {
        let before = out.len();
        loop {
            // The connection hands over one piece at a time, so the two take turns.
            if let Some(lease) = &mut self.lease {
                lease.drive(cx);
            }
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        out.push(data);
                        if !std::mem::replace(&mut self.began, true)
                            && let Some(lease) = &self.lease
                        {
                            lease.picked.succeeded();
                        }
                        if self.incoming.is_end_stream() {
                            // By its announced length: whoever reads may not ask for more.
                            self.release(cx);
                            break;
                        }
                    }
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Poll::Ready(Some(Err(error))) => {
                    self.blame();
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
                    self.release(cx);
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

    /// Nothing more will come: the connection may serve somebody else.
    pub(super) fn release(&mut self, cx: &mut Context<'_>) {
        if let Some(lease) = self.lease.take() {
            lease.give_back(cx);
        }
    }

    /// What the upstream announced about the length.
    pub fn size_hint(&self) -> SizeHint {
        let hint = self.incoming.size_hint();
        let peeked: usize = self.peeked.iter().map(Bytes::len).sum();
        match hint.exact() {
            Some(rest) => SizeHint::with_exact(rest + peeked as u64),
            None => hint,
        }
    }

    /// Whether nothing will come.
    pub fn is_end_stream(&self) -> bool {
        self.peeked.is_empty() && self.incoming.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_upstream_is_silent_from_the_last_piece_it_took() {
        let verdict = Verdict::default();
        assert_eq!(verdict.upstream_silent(), None, "nothing to take yet");
        let first = Instant::now();
        verdict.took(Some(first));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(verdict.upstream_silent(), Some(first));
        verdict.took(None);
        assert_eq!(verdict.upstream_silent(), None, "the client's turn");
        verdict.took(Some(Instant::now()));
        verdict.complete();
        let end = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(verdict.upstream_silent(), Some(end));
    }
}
