//! An HTTP/1.1 connection to an upstream, driven by the task that waits for the response.
//!
//! ```text
//! begin ── poll_head ──► Head ── poll_body ──► Data* ── Eof ──► is_ready: the next request
//! ```
//!
//! A connection has no task and, between two reads, no buffer. Bytes are read into a buffer of the thread; what is
//! not framing is passed to the caller's sink, in one piece for each read, however many chunks it arrived in. A quiet
//! stream therefore costs nothing, which is why this is not a client library's connection.

mod answer;
pub mod head;
mod read;
mod state;
mod upload;

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request;
use tokio::time::Instant;

use super::MAX_AGE;
use super::acks::Acks;
use super::error::Broken;
use super::progress::Read;
use super::request_body::RequestBody;
use super::socket::{Io, NARROW_RECEIVE_BUFFER_BYTES, RECEIVE_BUFFER_BYTES};
use super::trust::{Doubt, PROBATION};
use read::{NARROW_READ_BYTES, READ_BYTES, poll_read};
use state::{State, Undone};
use upload::Upload;

/// An HTTP/1.1 connection.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Connection {
    io: Io,
    /// The request, until all of it has been written.
    upload: Option<Box<Upload>>,
    state: State,
    /// Bytes that were read but not parsed: part of a head, or body bytes that arrived with it.
    unread: Vec<u8>,
    acks: Acks,
    /// The size of the kernel's receive buffer, as last requested.
    receive: u32,
    /// A read of the body takes few bytes.
    low_rate: bool,
    is_head: bool,
    /// Whether the upstream has sent anything since the request began.
    heard: bool,
    keep_alive: bool,
    /// The connection carries no other request.
    is_last: bool,
    /// The last request has a body.
    has_body: bool,
    /// Why the upstream may be about to close the connection after its answer.
    doubt: Option<Doubt>,
    /// When all of that body had been written, in milliseconds after `opened`.
    sent: u32,
    /// How many bytes of the last request were written, once that is all of it.
    written: u64,
    /// The error of a write: the upstream takes no more of the request. What it has sent is still read.
    refused: Option<io::Error>,
    opened: Instant,
}

impl Connection {
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            upload: None,
            state: State::Idle,
            unread: Vec::new(),
            low_rate: false,
            acks: Acks::new(),
            receive: RECEIVE_BUFFER_BYTES,
            is_head: false,
            heard: false,
            keep_alive: true,
            is_last: false,
            written: 0,
            has_body: false,
            sent: 0,
            doubt: None,
            refused: None,
            opened: Instant::now(),
        }
    }

    /// Begins a request; [`Connection::poll_head`] sends it.
    pub(super) fn begin(&mut self, parts: &request::Parts, body: Option<RequestBody>) {
        self.set_low_rate(false);
        self.is_head = parts.method == http::Method::HEAD;
        self.heard = false;
        self.refused = None;
        self.doubt = None;
        let upload = Upload::new(parts, body);
        self.has_body = !upload.is_complete();
        self.upload = Some(Box::new(upload));
        self.state = State::Head;
    }

    /// Keeps the connection from carrying another request.
    pub(super) const fn set_last(&mut self) {
        self.is_last = true;
    }

    /// Sets whether each read takes few bytes, while the kernel's buffer shrinks step by step; or as many as usual.
    pub(super) fn set_low_rate(&mut self, low_rate: bool) {
        self.low_rate = low_rate;
        if !low_rate && self.receive < RECEIVE_BUFFER_BYTES {
            self.set_receive_buffer(RECEIVE_BUFFER_BYTES);
        }
    }

    /// Lets the kernel test the connection when it is silent for long.
    pub(super) fn probe_when_silent(&self) {
        self.io.probe_when_silent();
    }

    /// Shrinks the kernel's receive buffer by the room that a narrow read of `read` bytes made. The kernel sets aside
    /// twice the requested size, so this is half of them. Shrunk at once, the buffer would be smaller than the TCP
    /// window already advertised: the kernel would drop what the upstream sends, and the upstream would wait for
    /// seconds before it retransmits.
    fn shrink(&mut self, read: usize) {
        let made = u32::try_from(read / 2).unwrap_or(u32::MAX);
        let bytes = self.receive.saturating_sub(made);
        self.set_receive_buffer(bytes.max(NARROW_RECEIVE_BUFFER_BYTES));
    }

    fn set_receive_buffer(&mut self, bytes: u32) {
        self.receive = bytes;
        self.io.set_receive_buffer(bytes);
    }

    /// Takes back the complete request body, if nothing of the request was sent.
    pub(super) fn take_unsent(&mut self) -> Option<RequestBody> {
        self.upload.take()?.into_unsent()
    }

    /// Returns the byte stream, and what was read of it behind the last head.
    pub(super) fn into_unread(self) -> (Io, Bytes) {
        (self.io, self.unread.into())
    }

    /// Reports whether the upstream has sent anything since the request began.
    pub(super) const fn has_heard(&self) -> bool {
        self.heard
    }

    /// Passes the next piece of the body to `sink`: what one read brought.
    ///
    /// # Errors
    /// If the body broke. What arrived before was passed to `sink`.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        if self.upload.is_some() && matches!(self.poll_upload(cx), Poll::Ready(Err(_))) {
            // The response continues all the same; the upstream does not need the rest of the request.
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

    /// Has the task woken when there is more, after a short read. Returns whether nothing more is available now. If
    /// more is, which is rare, passes it to `sink` as well.
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

    /// Reads once, and passes the body's part to `sink`.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Piece, Broken>> {
        let Self {
            io,
            state,
            unread,
            low_rate,
            acks,
            refused,
            ..
        } = self;
        let (undone, short) = if unread.is_empty() {
            let most = if *low_rate {
                NARROW_READ_BYTES
            } else {
                READ_BYTES
            };
            let mut read = 0;
            let undo = |bytes: &mut [u8]| {
                read = bytes.len();
                if read == 0 && refused.as_ref().is_some_and(is_reset) {
                    return (None, true);
                }
                (state.undo(bytes, sink), read < most)
            };
            let undone = ready!(poll_read(io, cx, most, undo)).map_err(Broken::Reset)?;
            if acks.read() {
                io.delay_acks(true);
            }
            if *low_rate && self.receive > NARROW_RECEIVE_BUFFER_BYTES {
                self.shrink(read);
            }
            undone
        } else {
            (state.undo(&mut std::mem::take(unread), sink), false)
        };
        let Some(Undone { any, surplus }) = undone else {
            let reset = self.refused.take_if(|error| is_reset(error));
            return Poll::Ready(Err(reset.map_or(Broken::Truncated, Broken::Reset)));
        };
        self.keep_alive &= !surplus;
        Poll::Ready(Ok(Piece { any, short }))
    }

    /// Returns how many bytes of the body are missing, if its length was announced.
    pub(super) const fn left(&self) -> Option<u64> {
        match &self.state {
            State::Exact(left) => Some(*left),
            State::Idle | State::Over(None) => Some(0),
            _ => None,
        }
    }

    /// Returns how old the connection is, in milliseconds: at most 49 days.
    fn millis(&self) -> u32 {
        u32::try_from(self.opened.elapsed().as_millis()).unwrap_or(u32::MAX)
    }

    /// Reports whether the next request may be sent: the last exchange is complete, and the connection is still open.
    pub(super) fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        let is_usable = self.keep_alive && !self.is_last && self.refused.is_none();
        if self.is_old() || !is_usable || !matches!(self.state, State::Idle | State::Over(_)) {
            return false;
        }
        if self.upload.is_some() && !matches!(self.poll_upload(cx), Poll::Ready(Ok(()))) {
            return false;
        }
        self.state = State::Idle;
        // Anything that can be read now, the end or unsolicited bytes, makes the connection unusable.
        self.unread.is_empty() && poll_read(&mut self.io, cx, READ_BYTES, |_| ()).is_pending()
    }

    /// Reports whether the connection has become too old for another request.
    pub(super) fn is_old(&self) -> bool {
        self.opened.elapsed() > MAX_AGE
    }

    /// Returns why the upstream may be about to close the connection, although the last exchange is complete. `None` if
    /// the request had no body, or the answer took so long that the request must have been read.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        let is_recent = || {
            let ago = self.millis().saturating_sub(self.sent);
            Duration::from_millis(ago.into()) < PROBATION
        };
        self.doubt
            .filter(|doubt| *doubt == Doubt::Early || is_recent())
    }

    /// Writes what can be written of the request. Ready when nothing more can be, or with an error if the client's body
    /// was cut off.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), upload::Cut>> {
        if self.refused.is_some() {
            return Poll::Ready(Ok(()));
        }
        let Some(upload) = &mut self.upload else {
            return Poll::Ready(Ok(()));
        };
        match ready!(upload.poll(cx, &mut self.io)) {
            Ok(()) => {
                self.written = upload.written();
                self.upload = None;
                if self.has_body {
                    self.sent = self.millis();
                }
            }
            Err(upload::Broken::Body) => return Poll::Ready(Err(upload::Cut)),
            Err(upload::Broken::Socket(error)) => {
                self.refused = Some(error);
                // If nothing was sent, the request may go to another connection.
                self.upload = self.upload.take().and_then(Upload::refused);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Reports whether the upstream reset the connection. The write that got this error took it from the socket, so that
/// the next read shows an orderly end instead.
fn is_reset(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}

/// The result of one read.
struct Piece {
    /// The read contained body bytes.
    any: bool,
    /// The read took fewer bytes than it could, so there were no more.
    short: bool,
}

#[cfg(test)]
mod tests;
