//! The byte stream below the HTTP/2 library, which shows it the end of a connection only after the streams have taken
//! what came before.
//!
//! An upstream may answer before it has read a whole request, and close. The library gives up a connection at the first
//! write that fails, although responses can still be read. At the end of a connection it fails every stream whose
//! request is incomplete, even if the response is complete and was only not taken yet. So a failed write counts as
//! written here, and reads alone tell when and how the connection ended.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many turns of the connection's task the end waits for. In the first, the task that awaits the response takes its
/// head and starts a task for the body; in the second, that task takes the body. The third is a reserve.
const TURNS: u8 = 3;

/// A byte stream whose end comes last.
#[derive(Debug)]
pub(super) struct ReadToEnd<S> {
    stream: S,
    /// The error of a write: the peer takes nothing more.
    refused: Option<io::Error>,
    /// The end as read, and how many turns it still waits.
    end: Option<(io::Result<()>, u8)>,
    /// Set as soon as the connection can take no more requests.
    retired: Arc<AtomicBool>,
}

impl<S> ReadToEnd<S> {
    /// Sets `retired` as soon as the connection can take no more requests.
    pub(super) const fn new(stream: S, retired: Arc<AtomicBool>) -> Self {
        Self {
            stream,
            refused: None,
            end: None,
            retired,
        }
    }

    /// Returns the result of a write of `bytes` bytes, which counts as written if it failed.
    fn wrote(&mut self, result: io::Result<usize>, bytes: usize) -> usize {
        result.unwrap_or_else(|error| {
            self.refuse(error);
            bytes
        })
    }

    fn refuse(&mut self, error: io::Error) {
        self.refused = Some(error);
        self.retired.store(true, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadToEnd<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.end.is_none() {
            let before = buf.filled().len();
            let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buf) else {
                return Poll::Pending;
            };
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(read);
            }
            this.end = Some((read, TURNS));
            this.retired.store(true, Ordering::Relaxed);
        }
        match &mut this.end {
            Some((_, turns)) if *turns > 0 => {
                *turns -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            end => {
                let read = end.take().map_or(Ok(()), |(read, _)| read);
                // The write took the error from the socket, so the read shows an orderly end.
                Poll::Ready(this.refused.take().map_or(read, Err))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadToEnd<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.refused.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        written.map(|written| Ok(self.wrote(written, buf.len())))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.refused.is_some() {
            return Poll::Ready(Ok(all));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        written.map(|written| Ok(self.wrote(written, all)))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refused.is_some() {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        flushed.map(|flushed| {
            if let Err(error) = flushed {
                self.refuse(error);
            }
            Ok(())
        })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_came_before_a_failed_write_is_read_and_then_the_error() {
        let (near, mut far) = duplex(64);
        far.write_all(b"answer").await.unwrap();
        drop(far);
        let mut near = ReadToEnd::new(near, Arc::default());
        for _ in 0..3 {
            near.write_all(b"more of the request").await.unwrap();
            near.flush().await.unwrap();
        }
        let mut got = [0; 64];
        assert_eq!(near.read(&mut got).await.unwrap(), 6);
        let end = near.read(&mut got).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn the_end_waits_for_the_other_tasks() {
        let (near, far) = duplex(64);
        drop(far);
        let mut near = ReadToEnd::new(near, Arc::default());
        let mut turns = 0;
        let mut got = [0; 64];
        poll_fn(|cx| {
            turns += 1;
            Pin::new(&mut near).poll_read(cx, &mut ReadBuf::new(&mut got))
        })
        .await
        .unwrap();
        assert_eq!(turns, TURNS + 1);
    }
}
