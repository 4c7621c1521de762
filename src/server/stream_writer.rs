//! Writes a stream to an HTTP/1.1 client after its head: in chunked transfer coding, each chunk with one
//! write.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wake::{FlagWaker, WokenBy};
use crate::client_conn::ClientConn;
use crate::queue::Close;
use crate::reply::body::{FRAME_BYTES, broke};
use crate::reply::stream::{Stream, Took};

/// Maximum number of bytes that a client may send before its response has ended: its next request, or several
/// (pipelining).
const MAX_EARLY_BYTES: usize = 64 * 1024;
/// Maximum number of these bytes in one read.
const LOOK_BYTES: usize = 1024;
/// The last chunk, and the end of the body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Room for the size line in front of a chunk's bytes.
const SIZE_LINE: usize = 18;
/// Capacity that [`CHUNK`] keeps between two writes.
const KEEP_BYTES: usize = 2 * FRAME_BYTES;

thread_local! {
    /// The buffer in which every stream of a thread frames its chunks. It is empty between two writes.
    static CHUNK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A stream that has left its engine. Dropping it tells its pump that the client is gone.
///
/// The order of the fields keeps together what each event needs (see [`Pump`](crate::stream::pump::Pump)).
#[derive(Debug)]
#[repr(C)]
pub(super) struct StreamWriter<S> {
    /// Tells wake-ups by the client's side of the socket from all others: the socket is read only after
    /// those.
    client_waker: Option<FlagWaker>,
    conn: Arc<ClientConn>,
    /// Framed bytes that the socket has not taken yet.
    rest: Bytes,
    /// Set once the queue has ended.
    end: Option<Close>,
    /// The last chunk is written, or part of `rest`.
    has_last_chunk: bool,
    body: Stream,
    stream: S,
    /// What the client sent during the response, if it sent anything.
    early: Option<Box<BytesMut>>,
    /// What follows `rest`, if anything does. Boxed, because most streams have none.
    parts: Option<Box<Parts>>,
}

/// What follows the bytes that are being written, the last part first: a large event is not copied into a chunk.
#[derive(Debug)]
struct Parts(Vec<Bytes>);

impl<S> StreamWriter<S> {
    /// Creates a writer. `early` holds the bytes that were read after the client's request.
    pub(super) fn new(stream: S, conn: Arc<ClientConn>, early: &[u8], body: Stream) -> Self {
        Self {
            client_waker: None,
            conn,
            rest: Bytes::new(),
            end: None,
            has_last_chunk: false,
            body,
            stream,
            early: (!early.is_empty()).then(|| Box::new(early.into())),
            parts: None,
        }
    }

    /// Returns the byte stream, and what the client sent during the response.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        let early = self.early.map(|early| early.freeze());
        (self.stream, early.unwrap_or_default())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> StreamWriter<S> {
    /// Drives the stream. Ready when the whole body is written.
    ///
    /// # Errors
    /// When the client is gone, or when the body breaks off; the client then gets no last chunk.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.body.drive(cx);
        if self.conn.take_heard()
            || !self
                .client_waker
                .as_ref()
                .is_some_and(|client_waker| client_waker.wakes(cx.waker()))
        {
            self.listen(cx)?;
        }
        self.poll_write_all(cx)
    }

    /// Writes everything that is available.
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_rest(cx))?;
            match self.end {
                None => {}
                Some(Close::Clean) => return Pin::new(&mut self.stream).poll_flush(cx),
                Some(Close::Abort) => {
                    ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                    return Poll::Ready(Err(broke()));
                }
            }
            if self.poll_chunk(cx)?.is_pending() {
                // The flush also checks whether the client is still there.
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                return Poll::Pending;
            }
        }
    }

    /// Writes one chunk, with one write if the socket takes all of it, or notes the end of the body.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        CHUNK.with_borrow_mut(|chunk| {
            chunk.clear();
            chunk.extend_from_slice(&[0; SIZE_LINE]);
            match ready!(self.body.poll_take(cx, FRAME_BYTES, chunk)) {
                // The queue was ended in another way after its end had been written.
                Took::Some | Took::Large(_) if self.has_last_chunk => chunk.clear(),
                Took::Some => {
                    let start = frame(chunk);
                    if self.body.ends() {
                        // One write less: the client gets the end with the last events.
                        chunk.extend_from_slice(LAST_CHUNK);
                        self.has_last_chunk = true;
                    }
                    self.write(cx, chunk.get(start..).unwrap_or_default())?;
                    chunk.clear();
                    chunk.shrink_to(KEEP_BYTES);
                }
                Took::Large(event) => {
                    self.rest = format!("{:x}\r\n", event.len()).into();
                    self.parts = Some(Box::new(Parts(vec![
                        Bytes::from_static(b"\r\n"),
                        event.into(),
                    ])));
                }
                Took::End(close) => {
                    self.end = Some(close);
                    if close == Close::Clean && !self.has_last_chunk {
                        self.rest = Bytes::from_static(LAST_CHUNK);
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Reads what the client sends, and keeps it for the next request. Fails if the client closed its side.
    #[inline(never)]
    fn listen(&mut self, cx: &Context<'_>) -> io::Result<()> {
        let known = self
            .client_waker
            .take()
            .filter(|client_waker| client_waker.wakes(cx.waker()));
        let client_waker =
            known.unwrap_or_else(|| FlagWaker::new(WokenBy::Client, &self.conn, cx.waker()));
        let cx = &mut Context::from_waker(client_waker.waker());
        while self
            .early
            .as_ref()
            .is_none_or(|early| early.len() < MAX_EARLY_BYTES)
        {
            let mut space = [const { MaybeUninit::uninit() }; LOOK_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer)?;
            self.conn.note_listening(read.is_pending());
            match read {
                Poll::Ready(()) if buffer.filled().is_empty() => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Poll::Ready(()) => {
                    let early = self.early.get_or_insert_default();
                    early.extend_from_slice(buffer.filled());
                }
                Poll::Pending => break,
            }
        }
        self.client_waker = Some(client_waker);
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let written = match Pin::new(&mut self.stream).poll_write(cx, bytes)? {
            Poll::Ready(written) => written,
            Poll::Pending => 0,
        };
        if let Some(rest) = bytes.get(written..)
            && !rest.is_empty()
        {
            self.rest = Bytes::copy_from_slice(rest);
        }
        Ok(())
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.rest.has_remaining() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.rest))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.rest.advance(written);
            }
            let Some(parts) = &mut self.parts else {
                return Poll::Ready(Ok(()));
            };
            match parts.0.pop() {
                Some(next) => self.rest = next,
                None => self.parts = None,
            }
        }
    }
}

/// Frames what follows the first [`SIZE_LINE`] bytes as a chunk (RFC 9112, 7.1). Returns where the chunk
/// starts.
fn frame(chunk: &mut Vec<u8>) -> usize {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut length = chunk.len() - SIZE_LINE;
    chunk.extend_from_slice(b"\r\n");
    if let Some([digits @ .., cr, lf]) = chunk.first_chunk_mut::<SIZE_LINE>() {
        [*cr, *lf] = *b"\r\n";
        for (start, digit) in digits.iter_mut().enumerate().rev() {
            *digit = DIGITS.get(length & 15).copied().unwrap_or_default();
            length >>= 4;
            if length == 0 {
                return start;
            }
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;
    use crate::encode::Encoder;
    use crate::metrics::Metrics;
    use crate::queue::{Limits, Overflow, queue};
    use crate::reply::body::Body;
    use crate::wire::Framing;

    const LIMITS: Limits = Limits {
        max_events: 8,
        max_bytes: 1024,
        merge: false,
        overflow: Overflow::Block,
    };

    /// Returns a writer of one event, over a socket that holds `room` bytes.
    fn writer(room: usize, event: &[u8]) -> (StreamWriter<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(room);
        let limit = Duration::from_secs(60);
        let conn = Arc::new(ClientConn::new(limit, limit));
        let (sender, receiver) = queue(LIMITS, Encoder::identity(None, Framing::Sse));
        sender.close(Close::Clean, Some(event), Instant::now());
        let metrics = Metrics::new().route("x");
        let body = Body::stream(receiver, Box::pin(async {}), metrics, Bytes::new());
        let body = *body.into_stream().unwrap();
        (StreamWriter::new(near, conn, b"first ", body), far)
    }

    #[tokio::test]
    async fn a_chunk_passes_a_socket_that_takes_little() {
        let (mut writer, mut far) = writer(7, &[b'x'; 300]);
        let client = async {
            far.write_all(b"next").await.unwrap();
            let mut got = Vec::new();
            while !got.ends_with(LAST_CHUNK) {
                let mut some = [0; 64];
                let count = far.read(&mut some).await.unwrap();
                got.extend_from_slice(&some[..count]);
            }
            got
        };
        let (written, got) = tokio::join!(poll_fn(|cx| writer.poll(cx)), client);
        written.unwrap();
        assert_eq!(
            got,
            [b"12c\r\n", &[b'x'; 300][..], b"\r\n", LAST_CHUNK].concat()
        );
        let (_, early) = writer.into_parts();
        assert_eq!(&early[..], b"first next", "the next request is kept");
    }

    #[tokio::test]
    async fn the_end_comes_with_the_last_events() {
        let (mut writer, mut far) = writer(1024, b"data: x\n\n");
        poll_fn(|cx| writer.poll(cx)).await.unwrap();
        assert!(writer.has_last_chunk, "no write of its own");
        let (near, _) = writer.into_parts();
        drop(near);
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"9\r\ndata: x\n\n\r\n0\r\n\r\n", "one end");
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_it() {
        let (mut writer, far) = writer(7, &[b'x'; 300]);
        drop(far);
        poll_fn(|cx| writer.poll(cx)).await.unwrap_err();
    }

    #[test]
    fn a_chunk_says_its_length_in_hexadecimal_digits() {
        for length in [1, 9, 15, 16, 255, 256, 4096, 65_535, 65_536] {
            let data = vec![b'x'; length];
            let mut chunk = [&[0; SIZE_LINE][..], &data].concat();
            let start = frame(&mut chunk);
            let expected = [format!("{length:x}\r\n").as_bytes(), &data, b"\r\n"].concat();
            assert_eq!(chunk.get(start..).unwrap(), expected);
        }
    }

    #[test]
    fn a_stream_without_a_rest_takes_little_room() {
        // The allocator gives out 256 bytes, and then 320. The socket is the one of TCP.
        let size =
            size_of::<StreamWriter<super::super::tracked_io::TrackedIo<tokio::net::TcpStream>>>();
        assert!(size <= 256, "{size}");
    }
}
