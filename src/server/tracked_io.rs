//! A client's socket that reports its reads and writes to its [`ClientConn`].

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

use super::socket::{self, Vanished};
use crate::client_conn::ClientConn;

/// Maximum number of bytes read and discarded after the last response, so that the response arrives (lingering close).
/// This is the rest of most requests that were answered early; reading it takes some milliseconds of the thread's time.
const MAX_LINGER_BYTES: usize = 16 << 20;
/// Maximum number of these bytes in one read.
const LINGER_READ_BYTES: usize = 16 * 1024;

/// A socket whose progress is reported. It lies below TLS, where it sees what the kernel really took.
#[derive(Debug)]
pub(super) struct TrackedIo<S> {
    socket: S,
    conn: Arc<ClientConn>,
    /// The client has ended its side, and all that it sent was read.
    ended: bool,
    /// Set once the write side is shut down: how many bytes the client may still send.
    closing: Option<usize>,
    /// For which limit, and for which state of the socket, the kernel was told when to give the connection up.
    applied: (u64, bool),
}

impl<S> TrackedIo<S> {
    pub(super) const fn new(socket: S, conn: Arc<ClientConn>) -> Self {
        Self {
            socket,
            conn,
            ended: false,
            closing: None,
            applied: (0, false),
        }
    }
}

impl<S: PeerState> TrackedIo<S> {
    fn note(&mut self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => {
                self.conn.note_full();
                self.expect_acks(true);
            }
            Poll::Ready(Ok(_)) => self.conn.note_written(),
            Poll::Ready(Err(_)) => {}
        }
    }

    /// Has the kernel give up the connection when its client acknowledges nothing. This changes only when a request
    /// with another `client_stall` begins, and when the socket fills up or has taken everything again.
    #[inline]
    fn expect_acks(&mut self, full: bool) {
        let now = (self.conn.stall_mark(), full);
        if self.applied != now {
            self.applied = now;
            self.tell(full);
        }
    }

    #[cold]
    fn tell(&self, full: bool) {
        if let Some(stall) = self.conn.allowed_stall() {
            self.socket.give_up_after(Vanished { stall, full });
        }
    }

    /// Fails if a check is due and the client has left.
    fn look(&self) -> io::Result<()> {
        if self.conn.take_look() && self.socket.is_peer_closed() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

/// A socket that can tell, without being read, whether its peer has left, and that notices when it has vanished.
pub(super) trait PeerState {
    /// Reports whether the peer will send nothing beyond what has already arrived.
    fn is_peer_closed(&self) -> bool;

    /// Sets when the kernel gives up a peer that acknowledges nothing. A Unix socket's peer cannot vanish.
    fn give_up_after(&self, _vanished: Vanished) {}
}

impl PeerState for TcpStream {
    fn is_peer_closed(&self) -> bool {
        is_peer_closed(self.ready(Interest::READABLE))
    }

    fn give_up_after(&self, vanished: Vanished) {
        socket::give_up_after(self, vanished);
    }
}

impl PeerState for UnixStream {
    fn is_peer_closed(&self) -> bool {
        is_peer_closed(self.ready(Interest::READABLE))
    }
}

/// Reports whether the read side is closed. The runtime remembers that event even if no task waited for it.
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
        let (before, has_space) = (buf.filled().len(), buf.remaining() > 0);
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.conn.note_read();
        } else if has_space && matches!(read, Poll::Ready(Ok(()))) {
            self.ended = true;
        }
        read
    }
}

impl<S: AsyncRead + Unpin> TrackedIo<S> {
    /// Reads what the client still sends until it closes as well. A socket that is closed with unread bytes
    /// sends a reset, which can overtake the last response. If the client has sent enough, nothing more is read,
    /// but it still has time to read the response. The connection's deadline bounds the time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(left) = self.closing.filter(|_| !self.conn.has_enough()) {
            if left == 0 {
                return Poll::Pending;
            }
            let mut space = [const { MaybeUninit::uninit() }; LINGER_READ_BYTES];
            let mut buf = ReadBuf::uninit(&mut space);
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
        // The layers above flush only after they have written everything.
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.conn.note_flushed();
        self.expect_acks(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.conn.is_tunnel() {
            // The client may still send: the other direction goes on.
            return Pin::new(&mut self.socket).poll_shutdown(cx);
        }
        if self.ended {
            // Closing the socket, which follows at once, tells the client the same, and nothing is left to read.
            return Poll::Ready(Ok(()));
        }
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

    /// Reports whether a flush fails within a second, with a check due each time.
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
    async fn a_client_that_has_ended_gets_what_was_written_before_the_socket_closes() {
        let (mut client, accepted) = tcp().await;
        let (mut tracked, _) = tracked(accepted);
        client.shutdown().await.unwrap();
        assert_eq!(tracked.read(&mut [0; 8]).await.unwrap(), 0);
        tracked.write_all(b"the last").await.unwrap();
        tracked.shutdown().await.unwrap();
        assert_eq!(tracked.closing, None, "nothing is waited for");
        drop(tracked);
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"the last");
    }

    #[tokio::test]
    async fn a_tunnel_that_ends_for_its_client_still_hears_it() {
        let (mut client, accepted) = tcp().await;
        let (mut tracked, conn) = tracked(accepted);
        conn.set_tunnel(true);
        tracked.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        client.write_all(b"more").await.unwrap();
        let mut some = [0; 4];
        tracked.read_exact(&mut some).await.unwrap();
        assert_eq!(&some, b"more");
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
