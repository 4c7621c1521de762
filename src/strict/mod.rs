//! What an engine gets to read: nothing that has two readings, and no flood.
//!
//! A byte stream in front of an engine of HTTP, with what was read of it before. A rule looks at all that comes; where it
//! stops, the engine gets bytes instead that it takes for an error, so that it says so and closes.

pub mod frame_flood;
pub mod smuggling;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What may pass.
pub trait Rule {
    /// What the engine gets, again and again, once something was refused: an error wherever that was.
    const INSTEAD: &'static [u8];

    /// Looks at what came: so many bytes of it may pass. If not all of them do, nothing further does.
    fn pass(&mut self, bytes: &[u8]) -> usize;

    /// Whether nothing further passes.
    fn refuses(&self) -> bool;

    /// So many bytes went the other way.
    fn wrote(&mut self, _bytes: usize) {}
}

/// A byte stream behind a rule.
#[derive(Debug)]
pub struct StrictIo<S, R> {
    /// Read before, and to be read again first.
    early: Bytes,
    stream: S,
    rule: R,
}

impl<S, R: Rule> StrictIo<S, R> {
    pub const fn new(early: Bytes, stream: S, rule: R) -> Self {
        Self {
            early,
            stream,
            rule,
        }
    }

    /// What was not read again, and the stream.
    pub fn into_parts(self) -> (Bytes, S) {
        (self.early, self.stream)
    }
}

impl<S: AsyncRead + Unpin, R: Rule + Unpin> AsyncRead for StrictIo<S, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if !self.rule.refuses() {
            if self.early.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            } else {
                let count = self.early.len().min(buf.remaining());
                buf.put_slice(&self.early.split_to(count));
                if self.early.is_empty() {
                    // Lets go of the memory it is a part of.
                    self.early = Bytes::new();
                }
            }
            let fresh = buf.filled().get(before..).unwrap_or_default();
            let passed = self.rule.pass(fresh);
            buf.set_filled(before + passed);
        }
        if self.rule.refuses() {
            let room = R::INSTEAD.len().min(buf.remaining());
            buf.put_slice(R::INSTEAD.get(..room).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, R: Rule + Unpin> AsyncWrite for StrictIo<S, R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.rule.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.rule.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
