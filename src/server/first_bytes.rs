//! Which protocol a connection speaks: decided by its first bytes, before any engine runs.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::interim::Interim;

/// The preface of an HTTP/2 connection (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes per read while a connection waits. Most request heads fit.
const FIRST_BYTES: usize = 1024;

/// A connection of which nothing of the next request was read, or too little to tell its protocol.
pub(super) struct Waiting<S> {
    pub(super) stream: Interim<S>,
    pub(super) seen: BytesMut,
    /// Whether the connection is new: HTTP/2 can only start at its beginning.
    pub(super) first: bool,
}

/// What the first bytes of a connection show.
pub(super) enum First {
    Http1,
    Http2,
    /// No request has begun, and the connection closes.
    Nothing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Waiting<S> {
    /// Reads until the protocol is known. With `closing`, does not wait for a request that has not begun.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, closing: bool) -> Poll<io::Result<First>> {
        loop {
            match self.protocol() {
                Some(first) => return Poll::Ready(Ok(first)),
                None if closing => return Poll::Ready(Ok(First::Nothing)),
                None => {}
            }
            let mut space = [const { MaybeUninit::uninit() }; FIRST_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                let nothing = self.seen.is_empty();
                return Poll::Ready(Ok(if nothing {
                    First::Nothing
                } else {
                    First::Http1
                }));
            }
            self.seen.extend_from_slice(buffer.filled());
        }
    }

    fn protocol(&self) -> Option<First> {
        if self.seen.is_empty() {
            None
        } else if self.first && self.seen.starts_with(PREFACE) {
            Some(First::Http2)
        } else if self.first && PREFACE.starts_with(&self.seen) {
            None
        } else {
            Some(First::Http1)
        }
    }
}
