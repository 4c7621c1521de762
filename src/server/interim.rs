//! Interim (1xx) responses to HTTP/1.1 clients, written by a layer below the HTTP engine.
//!
//! The HTTP engine cannot send them, so this layer writes them in front of the engine's own bytes, and only
//! between two of its messages. It recognizes these moments by the flush: the engine flushes if and only if a
//! message, or a part of one, is complete and written; and an interim response is handed in before the final
//! response has begun. It also adds an id to the engine's own answers.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::refusal;
use crate::client_conn::ClientConn;

/// A byte stream that also sends interim responses. It lies above TLS.
#[derive(Debug)]
pub(super) struct Interim<S> {
    stream: S,
    conn: Arc<ClientConn>,
    /// Whether everything given so far has been written.
    between: bool,
    head: Bytes,
    /// How many bytes of the engine `head` replaces.
    replaced: usize,
}

impl<S> Interim<S> {
    pub(super) const fn new(stream: S, conn: Arc<ClientConn>) -> Self {
        Self {
            stream,
            conn,
            between: true,
            head: Bytes::new(),
            replaced: 0,
        }
    }
}

impl<S> Interim<S> {
    /// Returns the byte stream. Call it only when no interim response is left to write.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncWrite + Unpin> Interim<S> {
    /// Writes the interim responses that wait. Begins only between two messages; what was begun is written to
    /// its end.
    fn poll_heads(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.head.is_empty()
            && self.between
            && let Some(head) = self.conn.take_interim()
        {
            self.head = head;
        }
        while !self.head.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.head))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.head.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what waits, and what replaces `given` if something does. Returns how many of its bytes are done with.
    fn poll_replaced(&mut self, cx: &mut Context<'_>, given: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_heads(cx))?;
        if self.between
            && let Some(named) = refusal::named(&self.conn, given)
        {
            self.head = named;
            self.replaced = given.len();
        }
        self.between = false;
        self.conn.set_flushed(false);
        ready!(self.poll_heads(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.replaced)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Interim<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        // Noted here and not below TLS, which may read more from the socket although it still has bytes to
        // hand out.
        self.conn.note_listening(read.is_pending());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Interim<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_replaced(cx, buf))? {
            0 => Pin::new(&mut self.stream).poll_write(cx, buf),
            replaced => Poll::Ready(Ok(replaced)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // An answer of the engine's own is in one piece.
        let given = match bufs {
            [given] => &**given,
            _ => &[][..],
        };
        match ready!(self.poll_replaced(cx, given))? {
            0 => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
            replaced => Poll::Ready(Ok(replaced)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.between = true;
        ready!(self.poll_heads(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.conn.set_flushed(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
