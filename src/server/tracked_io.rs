//! A client's socket that tells its [`ClientConn`] what moves.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

use crate::client_conn::ClientConn;

/// Bytes read and thrown away after the last answer, so that it arrives.
const MAX_LINGER_BYTES: usize = 1 << 20;

/// A socket under watch. Lies below TLS, where it sees what the kernel really took.
#[derive(Debug)]
pub(super) struct TrackedIo<S> {
    socket: S,
    conn: Arc<ClientConn>,
    /// Told that nothing more comes; since then it may still send so many bytes.
    closing: Option<usize>,
}

impl<S> TrackedIo<S> {
    pub(super) const fn new(socket: S, conn: Arc<ClientConn>) -> Self {
        Self {
            socket,
            conn,
            closing: None,
        }
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.conn.note_full(),
            Poll::Ready(Ok(_)) => self.conn.note_written(),
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl<S: PeerState> TrackedIo<S> {
    /// Fails, if it is time to look, when the client has left.
    fn look(&self) -> io::Result<()> {
        if self.conn.take_look() && self.socket.is_peer_closed() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

/// A socket that knows, without being read from, whether its other end has left.
pub(super) trait PeerState {
    /// Whether the other end will send no more than what already lies here.
    fn is_peer_closed(&self) -> bool;
}

impl PeerState for TcpStream {
    fn is_peer_closed(&self) -> bool {
        is_peer_closed(self.ready(Interest::READABLE))
    }
}

impl PeerState for UnixStream {
    fn is_peer_closed(&self) -> bool {
        is_peer_closed(self.ready(Interest::READABLE))
    }
}

/// The runtime keeps what the kernel told of the end, whether or not anybody waited for it.
fn is_peer_closed(ready: impl Future<Output = io::Result<Ready>>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(ready).poll(&mut cx) {
        Poll::Ready(Ok(ready)) => ready.is_read_closed(),
        Poll::Ready(Err(_)) => true,
        Poll::Pending => false,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.conn.note_read();
        }
        read
    }
}

impl<S: AsyncRead + Unpin> TrackedIo<S> {
    /// Reads what the client still sends until it closes, too, or has sent enough. Closed with bytes unread, a
    /// socket answers them with a reset, which can overtake the last answer. The connection bounds the time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        while let Some(left) = self
            .closing
            .filter(|left| *left > 0 && !self.conn.has_enough())
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

impl<S: AsyncRead + AsyncWrite + PeerState + Unpin> AsyncWrite for TrackedIo<S> {
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
        self.conn.note_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.closing = Some(MAX_LINGER_BYTES);
            self.conn.note_closing();
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

    fn tracked<S>(socket: S) -> (TrackedIo<S>, Arc<ClientConn>) {
        let limit = Duration::from_secs(60);
        let conn = Arc::new(ClientConn::new(limit, limit));
        (TrackedIo::new(socket, Arc::clone(&conn)), conn)
    }

    /// Whether a flush fails within a second, looking each time.
    async fn ends<S: AsyncRead + AsyncWrite + PeerState + Unpin>(
        tracked: &mut TrackedIo<S>,
        conn: &ClientConn,
    ) -> bool {
        for _ in 0..100 {
            conn.look();
            if poll_fn(|cx| Pin::new(&mut *tracked).poll_flush(cx))
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
        let (mut tracked, conn) = tracked(accepted);
        client.write_all(b"request, and more").await.unwrap();
        let mut some = [0; 7];
        tracked.read_exact(&mut some).await.unwrap();
        conn.look();
        tracked.flush().await.unwrap();
        drop(client);
        assert!(ends(&mut tracked, &conn).await);
    }

    #[tokio::test]
    async fn a_reset_is_seen_behind_unread_bytes() {
        let (mut client, accepted) = tcp().await;
        let (mut tracked, conn) = tracked(accepted);
        client.write_all(b"request").await.unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        assert!(ends(&mut tracked, &conn).await);
    }

    #[tokio::test]
    async fn a_unix_client_that_leaves_is_seen_behind_unread_bytes() {
        let (mut client, accepted) = UnixStream::pair().unwrap();
        let (mut tracked, conn) = tracked(accepted);
        client.write_all(b"request").await.unwrap();
        conn.look();
        tracked.flush().await.unwrap();
        drop(client);
        assert!(ends(&mut tracked, &conn).await);
    }
}
