//! A stream on its way to an HTTP/1.1 client, after its head: its frames as chunks, each with one write.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::link::Link;
use crate::reply::body::Body;

/// Bytes that a client may send ahead of the end of its answer: its next request, or several.
const MAX_EARLY_BYTES: usize = 64 * 1024;
/// The same for one look.
const LOOK_BYTES: usize = 1024;
/// The end of a body in chunks.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

thread_local! {
    /// Where every stream of a thread frames what it writes. Nothing stays in it between two writes.
    static CHUNK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A stream that has left its engine. Dropping it tells its pump that the client is gone.
#[derive(Debug)]
pub(super) struct Flow<S> {
    stream: S,
    link: Arc<Link>,
    body: Body,
    /// The last chunk was framed.
    ended: bool,
    /// Framed, and not taken by the socket yet.
    rest: Bytes,
    /// What the client sent meanwhile.
    early: BytesMut,
    ear: Option<Ear>,
}

/// Tells a wake-up by the client's side of the socket from all others: the client is listened to only then.
#[derive(Debug)]
struct Ear {
    state: Arc<Heard>,
    /// The same, as the socket wants it.
    waker: Waker,
}

#[derive(Debug)]
struct Heard {
    since: AtomicBool,
    task: Waker,
}

impl Wake for Heard {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.since.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Ear {
    fn new(task: &Waker) -> Self {
        let state = Arc::new(Heard {
            since: AtomicBool::new(true),
            task: task.clone(),
        });
        Self {
            waker: Waker::from(Arc::clone(&state)),
            state,
        }
    }
}

impl<S> Flow<S> {
    /// `early`: what was read of the client behind its request.
    pub(super) fn new(stream: S, link: Arc<Link>, early: &[u8], body: Body) -> Self {
        Self {
            stream,
            link,
            body,
            ended: false,
            rest: Bytes::new(),
            early: early.into(),
            ear: None,
        }
    }

    /// The stream, and what the client sent during the answer.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.early.freeze())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Flow<S> {
    /// Ready when all of the body was written.
    ///
    /// # Errors
    /// When the client is gone, or the body breaks off: what was written shows no end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.body.drive(cx);
        let ear = match self.ear.take() {
            Some(ear) if ear.state.task.will_wake(cx.waker()) => ear,
            _ => Ear::new(cx.waker()),
        };
        if ear.state.since.load(Ordering::Acquire) {
            ear.state.since.store(false, Ordering::Release);
            self.listen(&mut Context::from_waker(&ear.waker))?;
        }
        self.ear = Some(ear);
        self.poll_write_all(cx)
    }

    /// Writes what there is.
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_rest(cx))?;
            if self.ended {
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => {
                    if let Ok(data) = frame?.into_data()
                        && !data.is_empty()
                    {
                        self.write(cx, &data)?;
                    }
                }
                Poll::Ready(None) => {
                    self.rest = Bytes::from_static(LAST_CHUNK);
                    self.ended = true;
                }
                Poll::Pending => {
                    // Also the moment to look whether the client is there.
                    ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Keeps what the client sends for later. Its end is the end of the stream.
    fn listen(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.early.len() < MAX_EARLY_BYTES {
            let mut space = [const { MaybeUninit::uninit() }; LOOK_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer)?;
            self.link.note_listening(read.is_pending());
            match read {
                Poll::Ready(()) if buffer.filled().is_empty() => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Poll::Ready(()) => self.early.extend_from_slice(buffer.filled()),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// One chunk, with one write if the socket takes it.
    fn write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> io::Result<()> {
        CHUNK.with_borrow_mut(|chunk| {
            chunk.clear();
            frame(data, chunk);
            let written = match Pin::new(&mut self.stream).poll_write(cx, chunk)? {
                Poll::Ready(written) => written,
                Poll::Pending => 0,
            };
            self.rest = Bytes::copy_from_slice(chunk.get(written..).unwrap_or_default());
            Ok(())
        })
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.rest.has_remaining() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Appends `data` as a chunk (RFC 9112, 7.1).
fn frame(data: &[u8], chunk: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let length = data.len();
    let bits = usize::BITS - length.leading_zeros();
    for digit in (0..bits.div_ceil(4)).rev() {
        chunk.extend(DIGITS.get((length >> (4 * digit)) & 15));
    }
    chunk.extend_from_slice(b"\r\n");
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn flow(room: usize, body: &'static [u8]) -> (Flow<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(room);
        let limit = Duration::from_secs(60);
        let link = Arc::new(Link::new(limit, limit));
        let body = Body::fixed(Bytes::from_static(body));
        (Flow::new(near, link, b"first ", body), far)
    }

    #[tokio::test]
    async fn a_chunk_passes_a_socket_that_takes_little() {
        let (mut flow, mut far) = flow(7, &[b'x'; 300]);
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
        let (written, got) = tokio::join!(poll_fn(|cx| flow.poll(cx)), client);
        written.unwrap();
        assert_eq!(
            got,
            [b"12c\r\n", &[b'x'; 300][..], b"\r\n", LAST_CHUNK].concat()
        );
        let (_, early) = flow.into_parts();
        assert_eq!(&early[..], b"first next", "the next request is kept");
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_it() {
        let (mut flow, far) = flow(7, &[b'x'; 300]);
        drop(far);
        poll_fn(|cx| flow.poll(cx)).await.unwrap_err();
    }

    #[test]
    fn a_chunk_says_its_length_in_hexadecimal_digits() {
        for length in [1, 9, 15, 16, 255, 256, 4096, 65_535, 65_536] {
            let data = vec![b'x'; length];
            let mut chunk = Vec::new();
            frame(&data, &mut chunk);
            let expected = [format!("{length:x}\r\n").as_bytes(), &data, b"\r\n"].concat();
            assert_eq!(chunk, expected);
        }
    }
}
