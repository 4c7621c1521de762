//! The byte stream to an upstream: TCP, TLS or a Unix socket.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// Receive buffer (`SO_RCVBUF`) of an upstream socket. The kernel doubles this value, for its own bookkeeping. The
/// buffer is bounded because events that wait in the kernel can be neither merged nor dropped, and yet holds far more
/// than a model writes between two reads.
pub(super) const RECEIVE_BUFFER_BYTES: u32 = 256 * 1024;
/// Receive buffer while the client takes nothing of the response, so that everything in the buffer is late.
pub(super) const NARROW_RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;

/// TCP keep-alive of a connection that may be silent for long: a peer that has vanished is noticed after two minutes.
const PROBES: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Any byte stream. TCP, the usual one, needs no dynamic dispatch.
#[derive(Debug)]
pub(super) enum Io {
    Tcp(TcpStream),
    Other(Box<dyn Stream>),
}

/// A byte stream other than plain TCP: TLS or a Unix socket.
pub(super) trait Stream: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {
    /// Sets how much the kernel keeps unread. Does nothing where the buffer is the writer's, as in a Unix socket.
    fn set_receive_buffer(&self, _bytes: u32) {}

    /// Sets whether the kernel may delay its acknowledgements.
    fn delay_acks(&self, _delay: bool) {}

    /// Lets the kernel test the connection when it is silent for long. Does nothing where the peer cannot vanish
    /// unseen, as with a Unix socket.
    fn probe_when_silent(&self) {}
}

impl Stream for UnixStream {}

#[cfg(test)]
impl Stream for tokio::io::DuplexStream {}

impl Stream for TlsStream<Io> {
    fn set_receive_buffer(&self, bytes: u32) {
        self.get_ref().0.set_receive_buffer(bytes);
    }

    fn delay_acks(&self, delay: bool) {
        self.get_ref().0.delay_acks(delay);
    }

    fn probe_when_silent(&self) {
        self.get_ref().0.probe_when_silent();
    }
}

impl Io {
    /// Reports whether it is known, without a read, that there is nothing to read. If so, the task is woken when there
    /// is.
    pub(super) fn is_drained(&self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx).is_pending(),
            Self::Other(_) => false,
        }
    }

    /// Lets the kernel test the connection when it is silent for long (TCP keep-alive).
    pub(super) fn probe_when_silent(&self) {
        match self {
            Self::Tcp(stream) => {
                if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&PROBES) {
                    tracing::debug!(%error, "a socket option was refused");
                }
            }
            Self::Other(stream) => stream.probe_when_silent(),
        }
    }

    /// Sets how much the kernel keeps unread.
    pub(super) fn set_receive_buffer(&self, bytes: u32) {
        match self {
            Self::Tcp(stream) => {
                if let Err(error) = SockRef::from(stream).set_recv_buffer_size(bytes as usize) {
                    tracing::debug!(%error, "a socket option was refused");
                }
            }
            Self::Other(stream) => stream.set_receive_buffer(bytes),
        }
    }

    /// Sets whether the kernel may delay its acknowledgements. The kernel may change this by itself later. With
    /// `false`, what it has not acknowledged yet is acknowledged at once.
    pub(super) fn delay_acks(&self, delay: bool) {
        match self {
            // Other systems have no such option.
            #[cfg(target_os = "linux")]
            Self::Tcp(stream) => {
                if let Err(error) = stream.set_quickack(!delay) {
                    tracing::debug!(%error, "a socket option was refused");
                }
            }
            #[cfg(not(target_os = "linux"))]
            Self::Tcp(_) => {}
            Self::Other(stream) => stream.delay_acks(delay),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Other(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_tests_a_silent_connection_if_asked() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let io = Io::Tcp(TcpStream::connect(address).await.unwrap());
        let is_tested = || match &io {
            Io::Tcp(stream) => SockRef::from(stream).keepalive().unwrap(),
            Io::Other(_) => false,
        };
        assert!(!is_tested());
        io.probe_when_silent();
        assert!(is_tested());
    }
}
