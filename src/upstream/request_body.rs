//! The body of a client's request on its way to the upstream, with limits on its size and on idle time.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep};

use super::Error;
use super::fields::forwardable;
use super::verdict::{Cut, Received, Verdict};

/// The limits of a request body.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Maximum size in bytes.
    pub max_bytes: u64,
    /// Longest time without progress.
    pub idle: Duration,
}

/// Bytes that the listener gets before the request is sent: what tells the kind of request is at the start of the
/// body, or the whole body is short.
const MAX_LISTENED: usize = 64 * 1024;

/// Maximum number of bytes of a body that is kept, so that its request can be sent once more.
const MAX_SPARE_BYTES: u64 = 16 * 1024;

/// A callback for each piece of a request body as it passes.
type Listener = Box<dyn FnMut(&[u8]) + Send>;

/// What a client's connection delivers of a request body.
#[derive(Debug)]
pub enum Payload {
    /// The body arrives piece by piece.
    Incoming(Incoming),
    /// All of it has come in another way; empty once it was handed over.
    Whole(Bytes),
}

impl http_body::Body for Payload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Incoming(incoming) => Pin::new(incoming).poll_frame(cx),
            Self::Whole(bytes) => {
                let all = std::mem::take(bytes);
                Poll::Ready((!all.is_empty()).then(|| Ok(Frame::data(all))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

/// A client's request body, within its limits.
pub struct RequestBody {
    /// A piece that was handed over once and given back, because nobody has seen it.
    returned: Option<Bytes>,
    /// Trailers or an error that `listen` met; handed over next.
    ahead: Option<Result<Frame<Bytes>, std::io::Error>>,
    listener: Option<Listener>,
    incoming: Payload,
    limits: RequestLimits,
    left: u64,
    timer: Option<Pin<Box<Sleep>>>,
    verdict: Verdict,
}

impl RequestBody {
    /// Wraps a body as it arrives from the client.
    pub fn new(incoming: Payload, limits: RequestLimits) -> Self {
        let verdict = Verdict::default();
        if incoming.is_end_stream() {
            verdict.complete();
        }
        Self {
            returned: None,
            ahead: None,
            listener: None,
            incoming,
            limits,
            left: limits.max_bytes,
            timer: None,
            verdict,
        }
    }

    /// Takes out what [`RequestBody::rewrite`] has made of the body.
    pub fn take_rewritten(&mut self) -> Bytes {
        self.returned.take().unwrap_or_default()
    }

    /// Reports whether nothing more arrives.
    fn has_arrived(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// Returns the same body, with a `listener` that gets each piece as it passes.
    pub fn heard_by(mut self, listener: Option<impl FnMut(&[u8]) + Send + 'static>) -> Self {
        self.listener = listener.map(|listener| Box::new(listener) as Listener);
        self
    }

    /// Reads all of the body, and replaces it by what `change` makes of it. The listener hears only that.
    ///
    /// # Errors
    /// If the body is cut off, or `change` fails.
    pub async fn rewrite<E: From<Error>>(
        &mut self,
        change: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<u64, E> {
        let mut listener = self.listener.take();
        let mut whole = BytesMut::new();
        loop {
            match poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
                Some(Ok(frame)) => whole.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(_)) => {
                    let cut = self.verdict.cut().unwrap_or(Cut::Aborted);
                    return Err(cut.error().into());
                }
                None => break,
            }
        }
        let changed = change(&whole)?;
        if let Some(listener) = &mut listener {
            listener(&changed);
        }
        let len = changed.len() as u64;
        self.returned = (!changed.is_empty()).then(|| changed.into());
        Ok(len)
    }

    /// Reads all of the body for its listener alone.
    ///
    /// # Errors
    /// If the body is cut off.
    pub async fn discard(&mut self) -> Result<(), Error> {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
            if frame.is_err() {
                return Err(self.verdict.cut().unwrap_or(Cut::Aborted).error());
            }
        }
        Ok(())
    }

    /// Reads all of the body.
    ///
    /// # Errors
    /// If the body is cut off.
    pub(super) async fn whole(&mut self) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
            match frame {
                Ok(frame) => whole.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => return Err(self.verdict.cut().unwrap_or(Cut::Aborted).error()),
            }
        }
        Ok(whole.freeze())
    }

    /// Reads all of the body, and returns the same one once more, with the same verdict; `None` if it is large, its
    /// length is unknown, or it has trailers. Either way, this one can be sent as before.
    ///
    /// # Errors
    /// If the body is cut off.
    pub(super) async fn spare(&mut self) -> Result<Option<Self>, Error> {
        let length = self.size_hint().exact();
        let Some(length) = length.filter(|length| *length <= MAX_SPARE_BYTES) else {
            return Ok(None);
        };
        if length > 0 {
            let mut whole = BytesMut::new();
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
                match frame.map(Frame::into_data) {
                    Ok(Ok(piece)) => whole.extend_from_slice(&piece),
                    Ok(Err(trailers)) => {
                        self.ahead = Some(Ok(trailers));
                        break;
                    }
                    Err(_) => return Err(self.verdict.cut().unwrap_or(Cut::Aborted).error()),
                }
            }
            self.returned = (!whole.is_empty()).then(|| whole.freeze());
            if self.ahead.is_some() {
                return Ok(None);
            }
        }
        Ok(Some(Self {
            returned: self.returned.clone(),
            ahead: None,
            listener: None,
            incoming: Payload::Whole(Bytes::new()),
            limits: self.limits,
            left: self.left,
            timer: None,
            verdict: self.verdict(),
        }))
    }

    /// Passes to the listener what arrived with the head, before the request is sent.
    pub async fn listen(&mut self) {
        let mut heard = BytesMut::new();
        let mut waited = false;
        while heard.len() < MAX_LISTENED && !self.has_arrived() {
            let next = poll_fn(|cx| Poll::Ready(Pin::new(&mut *self).poll_frame(cx))).await;
            match next.map(|frame| frame.map(|frame| frame.map(Frame::into_data))) {
                // The connection reads more once this task has yielded.
                Poll::Pending if waited => break,
                Poll::Pending => {
                    waited = true;
                    yield_now().await;
                }
                Poll::Ready(Some(Ok(Ok(piece)))) => {
                    waited = false;
                    heard.extend_from_slice(&piece);
                }
                Poll::Ready(Some(Ok(Err(frame)))) => {
                    self.ahead = Some(Ok(frame));
                    break;
                }
                Poll::Ready(Some(Err(error))) => {
                    self.ahead = Some(Err(error));
                    break;
                }
                Poll::Ready(None) => break,
            }
        }
        self.returned = (!heard.is_empty()).then(|| heard.freeze());
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    /// Returns a handle that tells later whether all of the body has arrived.
    pub fn received(&self) -> Received {
        Received::of(self.verdict())
    }

    /// Records that the upstream takes no more: nobody waits for the client any longer, and the response is due.
    pub(super) fn refused(&self) {
        self.verdict.took(Some(Instant::now()));
    }

    /// Takes back the piece that was handed over last.
    pub(super) fn give_back(&mut self, piece: Option<Bytes>) {
        self.returned = piece;
    }

    /// Reports whether the announced length already exceeds the limit.
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
        if let Some(piece) = this.returned.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(ahead) = this.ahead.take() {
            return Poll::Ready(Some(ahead));
        }
        let incoming = &mut this.incoming;
        match Pin::new(&mut *incoming).poll_frame(cx) {
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
                if incoming.is_end_stream() {
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
        self.returned.is_none() && self.ahead.is_none() && self.has_arrived()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.incoming.size_hint();
        match (&self.returned, hint.exact()) {
            (Some(piece), Some(rest)) => SizeHint::with_exact(rest + piece.len() as u64),
            _ => hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(body: &mut RequestBody) -> Option<Result<Frame<Bytes>, std::io::Error>> {
        poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    #[tokio::test]
    async fn a_body_that_has_come_already_is_one_piece_within_the_limit() {
        for (max_bytes, fits) in [(3, true), (2, false)] {
            let limits = RequestLimits {
                max_bytes,
                idle: Duration::from_secs(1),
            };
            let mut body = RequestBody::new(Payload::Whole(Bytes::from_static(b"{1}")), limits);
            assert_eq!(body.is_too_large(), !fits);
            assert_eq!(body.size_hint().exact(), Some(3));
            assert!(!body.received().is_complete());
            let piece = next(&mut body).await.unwrap();
            if !fits {
                assert!(piece.is_err());
                continue;
            }
            assert_eq!(piece.unwrap().into_data().unwrap(), "{1}");
            assert!(next(&mut body).await.is_none());
            assert!(body.is_end_stream() && body.received().is_complete());
        }
        let limits = RequestLimits {
            max_bytes: 0,
            idle: Duration::ZERO,
        };
        let empty = RequestBody::new(Payload::Whole(Bytes::new()), limits);
        assert!(empty.received().is_complete());
    }

    #[tokio::test]
    async fn a_small_body_can_be_sent_twice_and_a_large_one_is_left_alone() {
        let limits = RequestLimits {
            max_bytes: 1 << 20,
            idle: Duration::from_secs(1),
        };
        for (length, twice) in [
            (0, true),
            (8, true),
            (16 * 1024, true),
            (16 * 1024 + 1, false),
        ] {
            let whole = Bytes::from(vec![b'x'; length]);
            let mut body = RequestBody::new(Payload::Whole(whole.clone()), limits);
            let spare = body.spare().await.unwrap();
            assert_eq!(spare.is_some(), twice, "{length}");
            for mut one in [Some(body), spare].into_iter().flatten() {
                assert_eq!(one.size_hint().exact(), Some(length as u64));
                assert_eq!(one.whole().await.unwrap(), whole);
                assert!(one.is_end_stream() && one.received().is_complete());
            }
        }
    }
}
