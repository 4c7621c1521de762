//! Filters in front of the HTTP engines that prevent request smuggling and bound frame floods.
//!
//! - [`smuggling`] prevents HTTP/1.1 request smuggling: it rejects requests whose body length is ambiguous.
//! - [`frame_flood`] bounds HTTP/2 frame floods (rapid reset, CONTINUATION, empty DATA, SETTINGS, PING and others).
//!
//! [`StrictIo`] wraps the byte stream of a connection and shows a [`Rule`] every byte that arrives before the engine
//! reads it. Where the rule refuses, the engine reads [`Rule::INSTEAD`] in place of the peer's bytes. This is a
//! protocol error, so the engine itself reports the error and closes the connection.

pub mod frame_flood;
pub mod smuggling;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Decides which of a peer's bytes may pass to the engine.
pub trait Rule {
    /// The bytes that the engine reads, repeatedly, once the rule has refused. They are a protocol error wherever the
    /// peer's bytes stopped.
    const INSTEAD: &'static [u8];

    /// Inspects the bytes that arrived and returns how many of them may pass. If it is not all of them, nothing passes
    /// any more.
    fn pass(&mut self, bytes: &[u8]) -> usize;

    /// Reports whether the rule has refused, so that nothing passes any more.
    fn refuses(&self) -> bool;

    /// Notes how many bytes were written in the other direction.
    fn wrote(&mut self, _bytes: usize) {}
}

/// A byte stream whose incoming bytes are subject to a rule.
#[derive(Debug)]
pub struct StrictIo<S, R> {
    /// Bytes that were already read from the stream; the engine reads them first.
    early: Bytes,
    stream: S,
    rule: R,
    /// The end of the stream has not come, and comes one read late.
    ends_late: bool,
}

impl<S, R: Rule> StrictIo<S, R> {
    pub const fn new(early: Bytes, stream: S, rule: R) -> Self {
        Self {
            early,
            stream,
            rule,
            ends_late: false,
        }
    }

    /// Lets the engine see the end of the stream one read late. An HTTP/2 engine that reads the end together with
    /// requests drops them, and nobody hears of them.
    #[must_use]
    pub fn ending_late(mut self) -> Self {
        self.ends_late = true;
        self
    }

    /// Notes what was written of `all` bytes. As long as the end of the stream is still to come, it says the rest:
    /// nobody reads what is written after a reset, and an engine that learns of it by a write drops requests, too.
    fn wrote(&mut self, written: io::Result<usize>, all: usize) -> Poll<io::Result<usize>> {
        let written = match written {
            Err(_) if self.ends_late => all,
            written => written?,
        };
        self.rule.wrote(written);
        Poll::Ready(Ok(written))
    }

    /// Returns the early bytes that the engine has not read, and the stream.
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
                let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
                let is_end = read.is_err() || (buf.filled().len() == before && buf.remaining() > 0);
                if is_end && std::mem::take(&mut self.ends_late) {
                    // Not a loop: the engine has to do something else in between. After a reset, the next read returns
                    // the end.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                read?;
            } else {
                let count = self.early.len().min(buf.remaining());
                buf.put_slice(&self.early.split_to(count));
                if self.early.is_empty() {
                    // Releases the buffer that these bytes are part of.
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
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.wrote(written, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.wrote(written, bufs.iter().map(|buf| buf.len()).sum())
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::frame_flood::FrameFlood;
    use super::*;

    #[test]
    fn the_end_comes_one_read_late() {
        let mut context = Context::from_waker(Waker::noop());
        let mut read = |io: &mut StrictIo<&[u8], FrameFlood>| {
            let mut space = [0; 8];
            let mut buf = ReadBuf::new(&mut space);
            let poll = Pin::new(io).poll_read(&mut context, &mut buf);
            poll.map(|read| read.map(|()| buf.filled().len()).unwrap())
        };
        let io = || StrictIo::new(Bytes::new(), &b"PRI"[..], FrameFlood::of_client());
        let mut late = io().ending_late();
        assert_eq!(read(&mut late), Poll::Ready(3));
        assert_eq!(read(&mut late), Poll::Pending);
        assert_eq!(read(&mut late), Poll::Ready(0));
        let mut plain = io();
        assert_eq!(read(&mut plain), Poll::Ready(3));
        assert_eq!(read(&mut plain), Poll::Ready(0));
    }
}
