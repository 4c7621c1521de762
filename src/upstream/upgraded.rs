//! The connection of an upgrade that the agent has accepted: bytes, no longer HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::acks::Acks;
use super::endpoint::Picked;
use super::socket::Io;
use super::sockets::Counted;

/// A connection to an agent after its 101. It counts as a stream of its endpoint, and as a connection, until it is
/// dropped, which closes it. It carries no other request.
#[derive(Debug)]
pub struct Upgraded {
    io: Io,
    /// What the agent has sent with its 101; read first.
    early: Bytes,
    acks: Acks,
    _picked: Option<Picked>,
    _socket: Option<Counted>,
}

impl Upgraded {
    pub(super) fn new(io: Io, early: Bytes, picked: Picked, socket: Option<Counted>) -> Self {
        // The kernel may delay the acknowledgement of the 101 by 40 ms, and the agent may hold back its first message
        // until then (Nagle's algorithm).
        io.delay_acks(false);
        Self {
            io,
            early,
            acks: Acks::new(),
            _picked: Some(picked),
            _socket: socket,
        }
    }

    /// A connection over `stream`.
    #[cfg(test)]
    pub(crate) fn example(stream: tokio::io::DuplexStream) -> Self {
        Self {
            io: Io::Other(Box::new(stream)),
            early: Bytes::new(),
            acks: Acks::new(),
            _picked: None,
            _socket: None,
        }
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.io).poll_read(cx, buf);
            if buf.filled().len() > before && self.acks.read() {
                self.io.delay_acks(true);
            }
            return read;
        }
        let count = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early.split_to(count));
        if self.early.is_empty() {
            // Releases the buffer that these bytes are part of.
            self.early = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_came_with_the_101_is_read_first() {
        let (near, mut far) = duplex(100);
        let mut upgraded = Upgraded::example(near);
        upgraded.early = Bytes::from_static(b"early ");
        far.write_all(b"late").await.unwrap();
        drop(far);
        let mut all = Vec::new();
        upgraded.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"early late");
    }
}
