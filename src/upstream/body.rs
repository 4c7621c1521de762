//! The body of an upstream's answer, as reads.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::SizeHint;

use super::error::Broken;
use super::http1;
use super::pool::Lease;

/// What one read of an upstream's body gave.
#[derive(Debug)]
pub enum Read {
    /// Bytes, in one or more pieces.
    Data,
    /// The body is complete; trailers if there were any.
    Eof(Option<Box<HeaderMap>>),
}

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
    /// Read to look at; handed over by the next read.
    peeked: Vec<Bytes>,
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
    pub async fn peek(&mut self, wanted: usize) -> Vec<u8> {
        let mut seen = Vec::new();
        while seen.len() < wanted && self.lease.is_some() {
            match poll_fn(|cx| self.poll_wire(cx)).await {
                Ok(http1::Read::Data(bytes)) => {
                    seen.extend_from_slice(&bytes);
                    self.peeked.push(bytes);
                }
                Ok(http1::Read::Eof(trailers)) => self.trailers = trailers,
                Err(error) => self.failed = Some(error),
            }
        }
        seen
    }

    /// Appends what is there to `out`; pending when nothing is.
    ///
    /// # Errors
    /// How the body broke, once.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Bytes>,
    ) -> Poll<Result<Read, Broken>> {
        if !self.peeked.is_empty() {
            out.append(&mut self.peeked);
            return Poll::Ready(Ok(Read::Data));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(match ready!(self.poll_wire(cx))? {
            http1::Read::Data(bytes) => {
                out.push(bytes);
                Ok(Read::Data)
            }
            http1::Read::Eof(trailers) => Ok(Read::Eof(trailers)),
        })
    }

    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<Result<http1::Read, Broken>> {
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(Ok(http1::Read::Eof(self.trailers.take())));
        };
        let read = ready!(lease.wire.poll_body(cx));
        match &read {
            Ok(http1::Read::Data(_)) => {
                if !std::mem::replace(&mut self.began, true) {
                    lease.picked.succeeded();
                }
                if lease.wire.left() == Some(0) {
                    // By its announced length: whoever reads may not ask for more.
                    self.release(cx);
                }
            }
            Ok(http1::Read::Eof(_)) => self.release(cx),
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
        let peeked: usize = self.peeked.iter().map(Bytes::len).sum();
        let left = match &self.lease {
            Some(lease) => lease.wire.left(),
            // Trailers, or what broke it, still have to be told.
            None if self.trailers.is_some() || self.failed.is_some() => None,
            None => Some(0),
        };
        left.map_or_else(SizeHint::default, |left| {
            SizeHint::with_exact(left + peeked as u64)
        })
    }

    /// Whether nothing will come.
    pub fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }
}
