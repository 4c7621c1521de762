//! How often a tunnel reads and writes its sockets.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

/// A socket that counts how often it is read.
struct Counted {
    socket: DuplexStream,
    reads: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_the_agent_costs_no_read_of_the_client() {
    let (mut client, near) = duplex(1000);
    let (far, mut agent) = duplex(1000);
    let (account, ..) = account();
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Counted {
        socket: near,
        reads: Arc::clone(&reads),
    };
    let mut tunnel = Tunnel::new(counted, Bytes::new(), start(far, account), None);
    let talking = async {
        let mut before = None;
        for _ in 0..10 {
            agent.write_all(b"\x81\x02hi").await.unwrap();
            client.read_exact(&mut [0; 4]).await.unwrap();
            // The first read of the client waits for it.
            let reads = reads.load(Ordering::Relaxed);
            assert_eq!(*before.get_or_insert(reads), reads);
        }
        client.write_all(b"\x81\x82mask\0\0").await.unwrap();
        agent.read_exact(&mut [0; 8]).await.unwrap();
        assert!(reads.load(Ordering::Relaxed) > before.unwrap());
        drop((client, agent));
    };
    tokio::join!(std::future::poll_fn(|cx| tunnel.poll(cx)), talking);
}

/// A client that takes nothing. A write looks for its end, so it counts them.
struct Full {
    socket: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Full {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Full {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_is_looked_for_while_both_directions_wait() {
    let (mut client, near) = duplex(1000);
    let (far, mut agent) = duplex(8);
    let (account, ..) = account();
    let writes = Arc::new(AtomicUsize::new(0));
    let full = Full {
        socket: near,
        writes: Arc::clone(&writes),
    };
    let conn = Arc::new(crate::client_conn::ClientConn::new(SECOND, SECOND));
    let mut tunnel = Tunnel::new(full, Bytes::new(), start(far, account), Some(conn));
    agent.write_all(b"\x82\x04abcd").await.unwrap();
    let message = [b"\x82\xfe\0\x80mask".as_slice(), &[7; 128]].concat();
    client.write_all(&message).await.unwrap();
    let mut before = 0;
    for _ in 0..3 {
        assert!(std::future::poll_fn(|cx| Poll::Ready(tunnel.poll(cx).is_pending())).await);
        let now = writes.load(Ordering::Relaxed);
        assert!(now > before, "a poll without a wake flag looks, too");
        before = now;
    }
}
