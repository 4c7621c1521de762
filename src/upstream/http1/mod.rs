//! One HTTP/1.1 connection to an upstream, driven by whoever waits for its answer.
//!
//! ```text
//! begin ── poll_head ──► Head ── poll_body ──► Data* ── Eof ──► is_ready: the next request
//! ```
//!
//! It has no task and, between two reads, no buffer: bytes are read into a buffer of the thread, and what is
//! not framing is lent to whoever asked, in one piece for each read, however many chunks it came in. That is
//! what a quiet stream costs nothing for, and why this is not a client library's connection.

mod chunked;
mod head;
mod upload;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use http::{HeaderMap, StatusCode, request, response};
use memchr::memmem;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::error::{Broken, Malformed};
use super::request_body::RequestBody;
use super::socket::Io;
use chunked::Chunked;
use head::{Head, Length};
use upload::Upload;

/// Most bytes of one read: many small events at once, and yet a fair share of the thread's time.
const READ_BYTES: usize = 16 * 1024;

/// Reads of one poll that may bring nothing but interim heads.
const READS_PER_POLL: usize = 4;

thread_local! {
    /// Where every connection of a thread reads into. Nothing stays in it between two reads.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A connection.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Connection {
    io: Io,
    /// The request, until all of it was written.
    upload: Option<Box<Upload>>,
    state: State,
    /// Read, and not yet understood: a part of a head, or the body's bytes that came with it.
    unread: BytesMut,
    is_head: bool,
    keep_alive: bool,
}

#[derive(Debug)]
enum State {
    /// A request may be sent.
    Idle,
    /// A request was sent, at least in part.
    Head,
    Chunked(Chunked),
    /// So many bytes are missing.
    Exact(u64),
    /// Up to the end of the connection.
    Close,
    /// The body is complete.
    Over(Option<Box<HeaderMap>>),
    /// It broke here; told once.
    Broken(Option<Broken>),
}

/// Why there is no response head.
#[derive(Debug)]
pub(super) enum Failure {
    /// What came is none.
    Malformed(Malformed),
    /// The request's body broke off; its verdict says why.
    RequestBody,
    /// The connection ended.
    Reset(io::Error),
}

/// What one read of an upstream's body gave.
#[derive(Debug)]
pub enum Read {
    /// Bytes, which were lent.
    Data {
        /// All that was there: the task is woken when there are more, and need not ask before.
        drained: bool,
    },
    /// The body is complete; trailers if there were any.
    Eof(Option<Box<HeaderMap>>),
}

impl Connection {
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            upload: None,
            state: State::Idle,
            unread: BytesMut::new(),
            is_head: false,
            keep_alive: true,
        }
    }

    /// Begins a request; [`Connection::poll_head`] sends it.
    pub(super) fn begin(&mut self, parts: &request::Parts, body: Option<RequestBody>) {
        self.is_head = parts.method == http::Method::HEAD;
        self.upload = Some(Box::new(Upload::new(parts, body)));
        self.state = State::Head;
    }

    /// The request's body as it was, if nothing of the request has left.
    pub(super) fn take_unsent(&mut self) -> Option<RequestBody> {
        self.upload.take()?.into_unsent()
    }

    /// Sends, and reads up to the end of the response head. Interim ones are told to `interim`.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        mut interim: impl FnMut(StatusCode, &HeaderMap),
    ) -> Poll<Result<response::Parts, Failure>> {
        let mut refused = None;
        match self.poll_upload(cx) {
            Poll::Ready(Err(upload::Broken::Body)) => {
                return Poll::Ready(Err(Failure::RequestBody));
            }
            // It takes no more, but it may have said why.
            Poll::Ready(Err(upload::Broken::Socket(error))) => refused = Some(error),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        for _ in 0..READS_PER_POLL {
            let before = self.unread.len();
            let read = match self.poll_more(cx) {
                Poll::Pending => match refused.take() {
                    None => return Poll::Pending,
                    Some(error) => Err(error),
                },
                Poll::Ready(read) => read,
            };
            let failure = match read {
                Ok(0) => {
                    let error = refused.take();
                    Failure::Reset(error.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
                }
                Ok(_) => match self.take_heads(before, &mut interim) {
                    Ok(Some(head)) => return Poll::Ready(Ok(self.answered(head))),
                    Ok(None) => continue,
                    Err(malformed) => Failure::Malformed(malformed),
                },
                Err(error) => Failure::Reset(error),
            };
            return Poll::Ready(Err(failure));
        }
        // Others have their turn, the deadline among them.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, to the end of `unread`.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { io, unread, .. } = self;
        poll_read(io, cx, |bytes| {
            unread.extend_from_slice(bytes);
            bytes.len()
        })
    }

    /// The final head, once it is there. `before`: so much of `unread` was looked at in vain.
    fn take_heads(
        &mut self,
        before: usize,
        interim: &mut impl FnMut(StatusCode, &HeaderMap),
    ) -> Result<Option<Head>, Malformed> {
        let mut seen = before;
        loop {
            // A head that comes byte by byte is not read again for each of them.
            let fresh = self
                .unread
                .get(seen.saturating_sub(3)..)
                .unwrap_or_default();
            let whole =
                memmem::find(fresh, b"\n\r\n").is_some() || memmem::find(fresh, b"\n\n").is_some();
            if seen > 0 && !whole && self.unread.len() < head::MAX_HEAD_BYTES {
                return Ok(None);
            }
            let Some((head, size)) = head::parse(&self.unread, self.is_head)? else {
                return Ok(None);
            };
            self.unread.advance(size);
            let status = head.parts.status;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            interim(status, &head.parts.headers);
            seen = 0;
            if self.unread.is_empty() {
                return Ok(None);
            }
        }
    }

    fn answered(&mut self, head: Head) -> response::Parts {
        self.keep_alive = head.keep_alive;
        self.state = match head.length {
            Length::Chunked => State::Chunked(Chunked::new()),
            Length::Exact(0) => State::Over(None),
            Length::Exact(left) => State::Exact(left),
            Length::Close => State::Close,
        };
        if self.unread.is_empty() {
            // Between two reads a connection holds no memory.
            self.unread = BytesMut::new();
        }
        head.parts
    }

    /// Lends `sink` the next piece of the body: what one read brought.
    ///
    /// # Errors
    /// When the body broke. What came before was lent.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        if self.upload.is_some() && matches!(self.poll_upload(cx), Poll::Ready(Err(_))) {
            // The answer is under way all the same; nobody asks for the rest of the request.
            self.upload = None;
            self.keep_alive = false;
        }
        loop {
            match &mut self.state {
                State::Over(trailers) => return Poll::Ready(Ok(Read::Eof(trailers.take()))),
                State::Broken(broken) => {
                    let broken = broken.take().unwrap_or(Broken::Truncated);
                    return Poll::Ready(Err(broken));
                }
                State::Idle | State::Head => return Poll::Ready(Ok(Read::Eof(None))),
                State::Chunked(_) | State::Exact(_) | State::Close => {}
            }
            let Piece { any, short } = ready!(self.poll_piece(cx, sink))?;
            if any {
                let drained = short && self.poll_another(cx, sink);
                return Poll::Ready(Ok(Read::Data { drained }));
            }
        }
    }

    /// After a short read: has the task woken when there is more. There hardly ever is at once; then it is lent,
    /// too, and this gives `false`.
    fn poll_another(&mut self, cx: &mut Context<'_>, sink: &mut dyn FnMut(&[u8])) -> bool {
        if !matches!(
            self.state,
            State::Chunked(_) | State::Exact(_) | State::Close
        ) {
            return false;
        }
        match self.poll_piece(cx, sink) {
            Poll::Pending => true,
            Poll::Ready(Ok(_)) => false,
            Poll::Ready(Err(broken)) => {
                self.state = State::Broken(Some(broken));
                false
            }
        }
    }

    /// One read.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Piece, Broken>> {
        let Self {
            io, state, unread, ..
        } = self;
        let (undone, short) = if unread.is_empty() {
            let undo = |bytes: &mut [u8]| (state.undo(bytes, sink), bytes.len() < READ_BYTES);
            ready!(poll_read(io, cx, undo)).map_err(Broken::Reset)?
        } else {
            (state.undo(&mut std::mem::take(unread), sink), false)
        };
        let Undone { any, surplus } = undone.ok_or(Broken::Truncated)?;
        self.keep_alive &= !surplus;
        Poll::Ready(Ok(Piece { any, short }))
    }

    /// The length of what is left of the body, if it was announced.
    pub(super) const fn left(&self) -> Option<u64> {
        match &self.state {
            State::Exact(left) => Some(*left),
            State::Idle | State::Over(None) => Some(0),
            _ => None,
        }
    }

    /// Whether the next request may go out on it: everything of the last one is over, and it is still open.
    pub(super) fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.keep_alive || !matches!(self.state, State::Idle | State::Over(_)) {
            return false;
        }
        if self.upload.is_some() && !matches!(self.poll_upload(cx), Poll::Ready(Ok(()))) {
            return false;
        }
        self.state = State::Idle;
        // Whatever can be read now, its end or bytes that nobody asked for, makes it useless.
        self.unread.is_empty() && poll_read(&mut self.io, cx, |_| ()).is_pending()
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), upload::Broken>> {
        let Some(upload) = &mut self.upload else {
            return Poll::Ready(Ok(()));
        };
        ready!(upload.poll(cx, &mut self.io))?;
        self.upload = None;
        Poll::Ready(Ok(()))
    }
}

/// What one read was.
struct Piece {
    /// It held something of the body.
    any: bool,
    /// There was no more.
    short: bool,
}

/// What some bytes of a connection held of a body.
struct Undone {
    /// Anything.
    any: bool,
    /// More came than the body.
    surplus: bool,
}

impl State {
    const fn broken(malformed: Malformed) -> Self {
        Self::Broken(Some(Broken::Malformed(malformed)))
    }

    /// Lends the body's part of what one read brought; no bytes are the end of the connection. `None` if it ends
    /// too early.
    fn undo(&mut self, bytes: &mut [u8], sink: &mut dyn FnMut(&[u8])) -> Option<Undone> {
        let all = bytes.len();
        let (body, used) = match self {
            Self::Close => (0..all, all),
            _ if bytes.is_empty() => return None,
            Self::Exact(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(all);
                *left -= here as u64;
                (0..here, here)
            }
            Self::Chunked(chunked) => {
                let undone = chunked.undo(bytes);
                match undone.broken {
                    Some(malformed) => *self = Self::broken(malformed),
                    None if chunked.is_done() => {
                        *self = match chunked.trailers() {
                            Ok(trailers) => Self::Over(trailers.map(Box::new)),
                            Err(malformed) => Self::broken(malformed),
                        };
                    }
                    None => {}
                }
                (undone.body, undone.used)
            }
            _ => (0..0, 0),
        };
        if matches!(self, Self::Exact(0)) || (all == 0 && matches!(self, Self::Close)) {
            *self = Self::Over(None);
        }
        let body = bytes.get(body).unwrap_or_default();
        let (any, surplus) = (!body.is_empty(), used < all);
        if any {
            sink(body);
        }
        Some(Undone { any, surplus })
    }
}

/// Reads once, into the thread's buffer.
fn poll_read<T>(
    io: &mut Io,
    cx: &mut Context<'_>,
    then: impl FnOnce(&mut [u8]) -> T,
) -> Poll<io::Result<T>> {
    READ.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(then(buffer.filled_mut())))
    })
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::Request;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// A connection on which a GET was begun, and its other end.
    fn asked() -> (Connection, DuplexStream) {
        let (near, far) = duplex(1 << 16);
        let mut connection = Connection::new(Io::Other(Box::new(near)));
        connection.begin(&get(), None);
        (connection, far)
    }

    fn get() -> request::Parts {
        Request::get("/x")
            .header("host", "h")
            .body(())
            .unwrap()
            .into_parts()
            .0
    }

    async fn head(connection: &mut Connection) -> Result<response::Parts, Failure> {
        poll_fn(|cx| connection.poll_head(cx, |_, _| {})).await
    }

    async fn body(connection: &mut Connection) -> (Vec<u8>, Result<Option<HeaderMap>, Broken>) {
        let mut all = Vec::new();
        loop {
            let mut sink = |bytes: &[u8]| all.extend_from_slice(bytes);
            match poll_fn(|cx| connection.poll_body(cx, &mut sink)).await {
                Ok(Read::Data { .. }) => {}
                Ok(Read::Eof(trailers)) => return (all, Ok(trailers.map(|trailers| *trailers))),
                Err(broken) => return (all, Err(broken)),
            }
        }
    }

    async fn is_ready(connection: &mut Connection) -> bool {
        poll_fn(|cx| Poll::Ready(connection.is_ready(cx))).await
    }

    #[tokio::test]
    async fn a_connection_serves_one_request_after_the_other() {
        let (mut connection, mut far) = asked();
        for turn in 0..3 {
            if turn > 0 {
                connection.begin(&get(), None);
            }
            far.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\n")
                .await
                .unwrap();
            let mut told = Vec::new();
            let head = poll_fn(|cx| connection.poll_head(cx, |status, _| told.push(status)));
            assert_eq!(head.await.unwrap().status, StatusCode::OK);
            assert_eq!(told, [StatusCode::EARLY_HINTS]);
            let mut sent = [0; 30];
            let length = far.read(&mut sent).await.unwrap();
            assert_eq!(&sent[..length], b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n");
            assert!(!is_ready(&mut connection).await, "inside an answer");
            far.write_all(b"de\r\n0\r\nx-sum: 1\r\n\r\n").await.unwrap();
            let (all, end) = body(&mut connection).await;
            assert_eq!(all, b"abcde");
            assert_eq!(end.unwrap().unwrap()["x-sum"], "1");
            assert!(is_ready(&mut connection).await);
            assert_eq!(connection.unread.capacity(), 0, "nothing is held");
        }
        drop(far);
        assert!(!is_ready(&mut connection).await, "closed");
    }

    #[tokio::test]
    async fn what_follows_an_answer_is_nobodys() {
        for answer in [
            "content-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
            "connection: close\r\ncontent-length: 2\r\n\r\nok",
        ] {
            let (mut connection, mut far) = asked();
            far.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes())
                .await
                .unwrap();
            head(&mut connection).await.unwrap();
            let (all, end) = body(&mut connection).await;
            assert_eq!((all.as_slice(), end.unwrap()), (&b"ok"[..], None));
            assert!(!is_ready(&mut connection).await, "{answer}");
        }
    }

    #[tokio::test]
    async fn what_came_before_a_break_is_handed_over() {
        let cases = [
            (
                "transfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
                "malformed",
            ),
            (
                "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n5\r\n",
                "ended",
            ),
            ("transfer-encoding: chunked\r\n\r\n2\r\nok\r\n", "ended"),
            ("content-length: 3\r\n\r\nok", "ended"),
        ];
        for (answer, word) in cases {
            let (mut connection, mut far) = asked();
            far.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes())
                .await
                .unwrap();
            drop(far);
            head(&mut connection).await.unwrap();
            let (all, end) = body(&mut connection).await;
            assert_eq!(all, b"ok");
            let broken = end.unwrap_err().to_string();
            assert!(broken.contains(word), "{answer:?}: {broken}");
        }
        let (mut connection, mut far) = asked();
        far.write_all(b"HTTP/1.1 200 OK\r\n\r\nok").await.unwrap();
        drop(far);
        head(&mut connection).await.unwrap();
        let (all, end) = body(&mut connection).await;
        assert_eq!(
            (all.as_slice(), end.is_ok()),
            (&b"ok"[..], true),
            "up to the end"
        );
    }

    #[tokio::test]
    async fn an_end_before_the_head_is_a_reset() {
        for start in ["", "HTTP/1.1 200 OK\r\ncontent-"] {
            let (mut connection, mut far) = asked();
            far.write_all(start.as_bytes()).await.unwrap();
            drop(far);
            assert!(matches!(
                head(&mut connection).await,
                Err(Failure::Reset(_))
            ));
        }
    }

    #[tokio::test]
    async fn a_head_may_come_byte_by_byte() {
        let (mut connection, mut far) = asked();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let (parts, ()) = tokio::join!(head(&mut connection), async {
            for byte in answer {
                far.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(parts.unwrap().headers["content-length"], "2");
        assert_eq!(body(&mut connection).await.0, b"ok");
    }
}
