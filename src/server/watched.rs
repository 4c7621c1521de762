//! A client's socket that tells its [`Link`] what moves.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

use crate::link::Link;

/// Bytes read and thrown away after the last answer, so that it arrives.
const MAX_LINGER_BYTES: usize = 1 << 20;

/// A socket under watch. Lies below TLS, where it sees what the kernel really took.
#[derive(Debug)]
pub(super) struct Watched<S> {
    socket: S,
    link: Arc<Link>,
    /// Told that nothing more comes; since then it may still send so many bytes.
    closing: Option<usize>,
}

impl<S> Watched<S> {
    pub(super) const fn new(socket: S, link: Arc<Link>) -> Self {
        Self {
            socket,
            link,
            closing: None,
        }
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.link.note_full(),
            Poll::Ready(Ok(_)) => self.link.note_written(),
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl<S: Leaves> Watched<S> {
    /// Fails, if it is time to look, when the client has left.
    fn look(&self) -> io::Result<()> {
        if self.link.take_look() && self.socket.has_left() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

/// A socket that knows, without being read from, whether its other end has left.
pub(super) trait Leaves {
    /// Whether the other end will send no more than what already lies here.
    fn has_left(&self) -> bool;
}

impl Leaves for TcpStream {
    fn has_left(&self) -> bool {
        has_left(self.ready(Interest::READABLE))
    }
}

impl Leaves for UnixStream {
    fn has_left(&self) -> bool {
        has_left(self.ready(Interest::READABLE))
    }
}

/// The runtime keeps what the kernel told of the end, whether or not anybody waited for it.
fn has_left(ready: impl Future<Output = io::Result<Ready>>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(ready).poll(&mut cx) {
        Poll::Ready(Ok(ready)) => ready.is_read_closed(),
        Poll::Ready(Err(_)) => true,
        Poll::Pending => false,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.link.note_read();
        }
        read
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Reads what the client still sends until it closes, too, or has sent enough. Closed with bytes unread, a
    /// socket answers them with a reset, which can overtake the last answer. The link bounds the time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        while let Some(left) = self
            .closing
            .filter(|left| *left > 0 && !self.link.has_enough())
        {
            let mut buf = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buf));
            let bytes = buf.filled().len();
            if read.is_err() || bytes == 0 {
                break;
            }
            self.closing = Some(left.saturating_sub(bytes));
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Leaves + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look()?;
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look()?;
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look()?;
        // Asked for only when all that was given has been written.
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.link.note_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.closing = Some(MAX_LINGER_BYTES);
            self.link.note_closing();
        }
        self.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn tcp() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    fn watched<S>(socket: S) -> (Watched<S>, Arc<Link>) {
        let limit = Duration::from_secs(60);
        let link = Arc::new(Link::new(limit, limit));
        (Watched::new(socket, Arc::clone(&link)), link)
    }

    /// Whether a flush fails within a second, looking each time.
    async fn ends<S: AsyncRead + AsyncWrite + Leaves + Unpin>(
        watched: &mut Watched<S>,
        link: &Link,
    ) -> bool {
        for _ in 0..100 {
            link.look();
            if poll_fn(|cx| Pin::new(&mut *watched).poll_flush(cx))
                .await
                .is_err()
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_seen_behind_unread_bytes() {
        let (mut client, accepted) = tcp().await;
        let (mut watched, link) = watched(accepted);
        client.write_all(b"request, and more").await.unwrap();
        let mut some = [0; 7];
        watched.read_exact(&mut some).await.unwrap();
        link.look();
        watched.flush().await.unwrap();
        drop(client);
        assert!(ends(&mut watched, &link).await);
    }

    #[tokio::test]
    async fn a_reset_is_seen_behind_unread_bytes() {
        let (mut client, accepted) = tcp().await;
        let (mut watched, link) = watched(accepted);
        client.write_all(b"request").await.unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        assert!(ends(&mut watched, &link).await);
    }

    #[tokio::test]
    async fn a_unix_client_that_leaves_is_seen_behind_unread_bytes() {
        let (mut client, accepted) = UnixStream::pair().unwrap();
        let (mut watched, link) = watched(accepted);
        client.write_all(b"request").await.unwrap();
        link.look();
        watched.flush().await.unwrap();
        drop(client);
        assert!(ends(&mut watched, &link).await);
    }
}
