//! The body of an upstream's response, as a sequence of reads.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::SizeHint;

use super::error::Broken;
use super::pool::Lease;
use super::progress::Read;
use super::socket::Io;
use super::sockets::Counted;
use super::upgraded::Upgraded;
use super::websocket::conversation::Conversation;

/// An upstream's response body. The task that reads it also drives its connection (HTTP/1.1), so one wake-up reads,
/// decodes and hands over. Dropping it closes the connection, or resets the stream on a shared one; reading it to the
/// end returns the connection to the pool.
#[derive(Debug)]
#[repr(C)]
pub struct Body {
    /// `None` once the body is complete or broken.
    lease: Option<Lease>,
    /// Whether some of it has arrived.
    began: bool,
    /// It is the body of a subscription, whose end is no failure of the endpoint.
    subscription: bool,
    ahead: Option<Box<Ahead>>,
}

/// What `peek` has read of a body; the next reads return it.
#[derive(Debug, Default)]
struct Ahead {
    bytes: Vec<u8>,
    /// The error that broke the body after these bytes.
    broken: Option<Broken>,
    /// The trailers that followed these bytes.
    trailers: Option<Box<HeaderMap>>,
}

impl Body {
    pub(super) const fn new(lease: Lease) -> Self {
        Self {
            lease: Some(lease),
            began: false,
            subscription: false,
            ahead: None,
        }
    }

    /// Notes that this is a subscription: its end is no failure of the endpoint, and as it may be silent for long, the
    /// kernel is asked to notice if the endpoint vanishes.
    pub fn set_subscription(&mut self) {
        self.subscription = true;
        if let Some(lease) = &self.lease {
            lease.exchange.probe_when_silent();
        }
    }

    /// Counts a failure against the endpoint: nothing of use arrived in time, or the connection broke.
    pub fn report_failure(&self) {
        if let Some(lease) = &self.lease
            && !self.subscription
        {
            lease.failed();
        }
    }

    /// Returns the connection, after a 101 to an upgrade.
    pub fn into_upgraded(self) -> Option<Upgraded> {
        self.lease?.into_upgraded()
    }

    /// Returns the body of the conversation that `start` makes of the connection, after a 101.
    pub(super) fn converse(
        self,
        start: impl FnOnce(Io, Bytes, Option<Counted>) -> Conversation,
    ) -> Option<Self> {
        self.lease?.converse(start).map(Self::new)
    }

    /// Notes that the stream has ended well, whatever may still come.
    pub fn complete(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.exchange.complete();
        }
    }

    /// Sets whether the body is read a little at a time, with a small kernel buffer, because its client takes nothing;
    /// or as usual.
    pub fn set_low_rate(&mut self, low_rate: bool) {
        if let Some(lease) = &mut self.lease {
            lease.exchange.set_low_rate(low_rate);
        }
    }

    /// Returns the first bytes, at least `wanted` unless the body ends before. Later reads begin with them again.
    pub async fn peek(&mut self, wanted: usize) -> &[u8] {
        let mut ahead = self.ahead.take().unwrap_or_default();
        while ahead.bytes.len() < wanted && self.lease.is_some() {
            let mut sink = |bytes: &[u8]| ahead.bytes.extend_from_slice(bytes);
            match poll_fn(|cx| self.poll_wire(cx, &mut sink)).await {
                Ok(Read::Data { .. }) => {}
                Ok(Read::Eof(trailers)) => ahead.trailers = trailers,
                Err(error) => ahead.broken = Some(error),
            }
        }
        &self.ahead.insert(ahead).bytes
    }

    /// Passes what is available to `sink`; pending if nothing is.
    ///
    /// # Errors
    /// If the body broke. This is reported once.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        if let Some(ahead) = &mut self.ahead {
            if !ahead.bytes.is_empty() {
                sink(&std::mem::take(&mut ahead.bytes));
                return Poll::Ready(Ok(Read::Data { drained: false }));
            }
            if let Some(error) = ahead.broken.take() {
                return Poll::Ready(Err(error));
            }
        }
        self.poll_wire(cx, sink)
    }

    fn poll_wire(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        let Some(lease) = &mut self.lease else {
            let trailers = self.ahead.take().and_then(|ahead| ahead.trailers);
            return Poll::Ready(Ok(Read::Eof(trailers)));
        };
        let read = ready!(lease.exchange.poll_body(cx, sink));
        match &read {
            Ok(Read::Data { .. }) => {
                if !std::mem::replace(&mut self.began, true) {
                    lease.picked.succeeded();
                }
                if lease.exchange.left() == Some(0) {
                    // The body has its announced length, so its reader may not poll again.
                    self.release(cx);
                }
            }
            Ok(Read::Eof(_)) => self.release(cx),
            Err(error) => {
                // An event beyond a limit of Weir's is no failure of the endpoint.
                if !matches!(error, Broken::TooLarge) {
                    self.report_failure();
                }
                self.lease = None;
            }
        }
        Poll::Ready(read)
    }

    /// Releases the connection for other requests: nothing more will arrive.
    pub(super) fn release(&mut self, cx: &mut Context<'_>) {
        if let Some(lease) = self.lease.take() {
            lease.give_back(cx);
        }
    }

    /// Returns what the upstream announced about the length.
    pub fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.as_ref();
        let left = match &self.lease {
            Some(lease) => lease.exchange.left(),
            // The trailers or the error must still be reported.
            None if ahead.is_some_and(|it| it.trailers.is_some() || it.broken.is_some()) => None,
            None => Some(0),
        };
        let bytes = ahead.map_or(0, |ahead| ahead.bytes.len() as u64);
        left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + bytes))
    }

    /// Reports whether nothing more will arrive.
    pub fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }
}
