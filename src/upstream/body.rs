//! The body of an upstream's answer, as reads.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use http::HeaderMap;
use http_body::SizeHint;

use super::error::Broken;
use super::http1::Read;
use super::pool::Lease;

/// An upstream's response body. Its connection is driven in the task that reads it, so one wake-up reads,
/// decodes and hands over. Dropping it closes the connection; reading it to the end returns the
/// connection to the pool.
#[derive(Debug)]
pub struct Body {
    /// `None` once the body is complete or broken.
    lease: Option<Lease>,
    trailers: Option<Box<HeaderMap>>,
    /// What broke the body, told once everything before it was handed over.
    failed: Option<Broken>,
    /// Read to look at; lent by the next read.
    peeked: Vec<u8>,
    /// Something of it came.
    began: bool,
}

impl Body {
    pub(super) const fn new(lease: Lease) -> Self {
        Self {
            lease: Some(lease),
            trailers: None,
            failed: None,
            peeked: Vec::new(),
            began: false,
        }
    }

    /// Nothing of use came in time: the endpoint has failed.
    pub fn blame(&self) {
        if let Some(lease) = &self.lease {
            lease.picked.failed();
        }
    }

    /// The first bytes, at least `wanted` unless the body ends before. Later reads begin with them again.
    pub async fn peek(&mut self, wanted: usize) -> &[u8] {
        let mut seen = std::mem::take(&mut self.peeked);
        while seen.len() < wanted && self.lease.is_some() {
            let mut sink = |bytes: &[u8]| seen.extend_from_slice(bytes);
            match poll_fn(|cx| self.poll_wire(cx, &mut sink)).await {
                Ok(Read::Data { .. }) => {}
                Ok(Read::Eof(trailers)) => self.trailers = trailers,
                Err(error) => self.failed = Some(error),
            }
        }
        self.peeked = seen;
        &self.peeked
    }

    /// Lends `sink` what is there; pending when nothing is.
    ///
    /// # Errors
    /// How the body broke, once.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        if !self.peeked.is_empty() {
            sink(&std::mem::take(&mut self.peeked));
            return Poll::Ready(Ok(Read::Data { drained: false }));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        self.poll_wire(cx, sink)
    }

    fn poll_wire(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(Ok(Read::Eof(self.trailers.take())));
        };
        let read = ready!(lease.wire.poll_body(cx, sink));
        match &read {
            Ok(Read::Data { .. }) => {
                if !std::mem::replace(&mut self.began, true) {
                    lease.picked.succeeded();
                }
                if lease.wire.left() == Some(0) {
                    // By its announced length: whoever reads may not ask for more.
                    self.release(cx);
                }
            }
            Ok(Read::Eof(_)) => self.release(cx),
            Err(_) => {
                self.blame();
                self.lease = None;
            }
        }
        Poll::Ready(read)
    }

    /// Nothing more will come: the connection may serve somebody else.
    pub(super) fn release(&mut self, cx: &mut Context<'_>) {
        if let Some(lease) = self.lease.take() {
            lease.give_back(cx);
        }
    }

    /// What the upstream announced about the length.
    pub fn size_hint(&self) -> SizeHint {
        let left = match &self.lease {
            Some(lease) => lease.wire.left(),
            // Trailers, or what broke it, still have to be told.
            None if self.trailers.is_some() || self.failed.is_some() => None,
            None => Some(0),
        };
        left.map_or_else(SizeHint::default, |left| {
            SizeHint::with_exact(left + self.peeked.len() as u64)
        })
    }

    /// Whether nothing will come.
    pub fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }
}
