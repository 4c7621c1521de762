//! One HTTP/1.1 connection to an upstream, driven by whoever waits for its answer.
//!
//! ```text
//! begin ── poll_head ──► Head ── poll_body ──► Data* ── Eof ──► is_ready: the next request
//! ```
//!
//! It has no task and, between two reads, no buffer: bytes are read into a buffer of the thread, and what is
//! not framing is lent to whoever asked, in one piece for each read, however many chunks it came in. That is
//! what a quiet stream costs nothing for, and why this is not a client library's connection.

mod acks;
pub mod head;
mod state;
mod upload;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use http::{HeaderMap, StatusCode, request, response};
use memchr::memmem;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::Instant;

use super::MAX_AGE;
use super::error::{Broken, Malformed};
use super::exchange::{Failure, Read};
use super::request_body::RequestBody;
use super::socket::{Io, NARROW_RECEIVE_BUFFER_BYTES, RECEIVE_BUFFER_BYTES};
use acks::Acks;
use head::{Head, Length};
use state::{State, Undone};
use upload::Upload;

use crate::wire::chunked::Chunked;

/// Most bytes of one read: many small events at once, and yet a fair share of the thread's time.
const READ_BYTES: usize = 16 * 1024;
/// The same of a body that is read on although nobody takes it: 20 events, 10 us of the thread's time.
const NARROW_READ_BYTES: usize = 4 * 1024;

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
    /// Most bytes of one read of the body.
    most: usize,
    acks: Acks,
    /// The kernel's buffer for what is not read yet.
    receive: u32,
    is_head: bool,
    keep_alive: bool,
    opened: Instant,
}

impl Connection {
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            upload: None,
            state: State::Idle,
            unread: BytesMut::new(),
            most: READ_BYTES,
            acks: Acks::new(),
            receive: RECEIVE_BUFFER_BYTES,
            is_head: false,
            keep_alive: true,
            opened: Instant::now(),
        }
    }

    /// Begins a request; [`Connection::poll_head`] sends it.
    pub(super) fn begin(&mut self, parts: &request::Parts, body: Option<RequestBody>) {
        self.set_low_rate(false);
        self.is_head = parts.method == http::Method::HEAD;
        self.upload = Some(Box::new(Upload::new(parts, body)));
        self.state = State::Head;
    }

    /// Few bytes a read and, by and by, few in the kernel; or as many as usual.
    pub(super) fn set_low_rate(&mut self, low_rate: bool) {
        self.most = if low_rate {
            NARROW_READ_BYTES
        } else {
            READ_BYTES
        };
        if !low_rate && self.receive < RECEIVE_BUFFER_BYTES {
            self.set_receive_buffer(RECEIVE_BUFFER_BYTES);
        }
    }

    /// A narrow read of so many bytes: the kernel's buffer shrinks by the room that it made, of which twice as much is
    /// set aside. At once it would be smaller than what the upstream was invited to send: that would be thrown away, and
    /// its sender would wait for seconds before it tried again.
    fn shrink(&mut self, read: usize) {
        let made = u32::try_from(read / 2).unwrap_or(u32::MAX);
        let bytes = self.receive.saturating_sub(made);
        self.set_receive_buffer(bytes.max(NARROW_RECEIVE_BUFFER_BYTES));
    }

    fn set_receive_buffer(&mut self, bytes: u32) {
        self.receive = bytes;
        self.io.set_receive_buffer(bytes);
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
        poll_read(io, cx, READ_BYTES, |bytes| {
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
            Length::Chunked => State::Chunked(Chunked::default()),
            Length::Exact(0) => State::Over(None),
            Length::Exact(left) => State::Exact(left),
            Length::Close => State::Close,
        };
        if matches!(self.state, State::Chunked(_) | State::Close) {
            self.acks.begin();
            // After a request the kernel would wait 40 ms for another to send it along with. The upstream may wait
            // for it with its first event (Nagle's algorithm).
            self.io.delay_acks(false);
        }
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
        if self.io.is_drained(cx) {
            return true;
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
            io,
            state,
            unread,
            most,
            acks,
            ..
        } = self;
        let (undone, short) = if unread.is_empty() {
            let mut read = 0;
            let undo = |bytes: &mut [u8]| {
                read = bytes.len();
                (state.undo(bytes, sink), bytes.len() < *most)
            };
            let undone = ready!(poll_read(io, cx, *most, undo)).map_err(Broken::Reset)?;
            if acks.read() {
                io.delay_acks(true);
            }
            if *most < READ_BYTES && self.receive > NARROW_RECEIVE_BUFFER_BYTES {
                self.shrink(read);
            }
            undone
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
        let is_old = self.opened.elapsed() > MAX_AGE;
        if is_old || !self.keep_alive || !matches!(self.state, State::Idle | State::Over(_)) {
            return false;
        }
        if self.upload.is_some() && !matches!(self.poll_upload(cx), Poll::Ready(Ok(()))) {
            return false;
        }
        self.state = State::Idle;
        // Whatever can be read now, its end or bytes that nobody asked for, makes it useless.
        self.unread.is_empty() && poll_read(&mut self.io, cx, READ_BYTES, |_| ()).is_pending()
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

/// Reads once, at most so many bytes, into the thread's buffer.
fn poll_read<T>(
    io: &mut Io,
    cx: &mut Context<'_>,
    most: usize,
    then: impl FnOnce(&mut [u8]) -> T,
) -> Poll<io::Result<T>> {
    READ.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer.get_mut(..most).unwrap_or_default());
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(then(buffer.filled_mut())))
    })
}

#[cfg(test)]
mod tests;
