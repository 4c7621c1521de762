//! One conversation with an agent over a WebSocket: the first message is written, and what the agent says is read.
//!
//! ```text
//! Open ─┬─ the stream has ended well ──► close 1000 is written ──► the agent closes ──► Eof
//!       ├─ the agent closes with 1000, or without a code ─────────────────────────────► Eof
//!       ├─ the agent closes with another code, or breaks a rule ──────────────────────► Broken
//!       └─ dropped ──► the interrupt message and close 1001 ──► a second for the agent to close
//! ```
//!
//! The task that reads the body also writes, answers pings and sends them: nothing is read while nobody asks for the
//! body. What cannot be written when the conversation is dropped is written by a task, for a second at most.

mod leave;
mod pings;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::Terms;
use super::frame::{self, GOING_AWAY, NORMAL};
use super::messages::{Fault, Messages};
use crate::config::Upstream;
use crate::upstream::acks::Acks;
use crate::upstream::error::{Broken, Malformed};
use crate::upstream::progress::Read;
use crate::upstream::socket::Io;
use crate::upstream::sockets::Counted;
use pings::{Due, Pings};

/// Maximum number of bytes in one read.
const READ_BYTES: usize = 16 * 1024;
/// Maximum number of bytes in one read of a conversation whose client takes nothing.
const NARROW_READ_BYTES: usize = 4 * 1024;
/// Maximum number of reads in one poll that bring nothing but control frames.
const READS_PER_POLL: usize = 4;
/// Memory that the thread's buffer of events keeps. Messages of line breaks only need more for a moment.
const KEPT_BYTES: usize = 64 * 1024;

thread_local! {
    /// The buffers that all conversations of a thread read into: bytes, and the events in them. Nothing stays in them
    /// between two reads.
    static BUFFERS: RefCell<(Box<[u8]>, Vec<u8>)> =
        RefCell::new((vec![0; READ_BYTES].into(), Vec::new()));
}

/// What a conversation begins with.
pub(in crate::upstream) struct Parts {
    pub(in crate::upstream) io: Io,
    /// What the agent has sent with its 101.
    pub(in crate::upstream) early: Bytes,
    /// Counts the connection as open.
    pub(in crate::upstream) socket: Option<Counted>,
    pub(in crate::upstream) upstream: Arc<Upstream>,
    /// The first message.
    pub(in crate::upstream) first: Option<String>,
    pub(in crate::upstream) terms: Terms,
}

/// A conversation.
#[derive(Debug)]
pub(in crate::upstream) struct Conversation {
    /// `None` once the connection has ended.
    io: Option<Io>,
    acks: Acks,
    early: Bytes,
    messages: Messages,
    /// Frames that the agent has not taken yet.
    out: BytesMut,
    /// The agent has taken a part of the first frame in `out`.
    torn: bool,
    /// Something was taken, and not flushed.
    unflushed: bool,
    /// A ping or a pong is in `out`. There is one at most, whatever the agent does.
    waiting: bool,
    /// The agent has taken something of the first message, or there is none.
    asked: bool,
    /// A close frame of Weir's own is in `out`, or was taken.
    closing: bool,
    /// How the conversation has ended.
    over: Option<Over>,
    /// The error of a write: the agent takes nothing more. What it has sent is still read.
    refused: Option<io::Error>,
    pings: Option<Pings>,
    /// Maximum number of bytes in one read.
    most: usize,
    upstream: Arc<Upstream>,
    socket: Option<Counted>,
}

#[derive(Debug)]
enum Over {
    Well,
    /// The error is reported once.
    Broken(Option<Broken>),
}

impl Conversation {
    pub(in crate::upstream) fn new(parts: Parts) -> Self {
        let Parts {
            io,
            early,
            socket,
            upstream,
            first,
            terms,
        } = parts;
        // The kernel would delay the acknowledgement of the 101 by 40 ms, and the agent may hold back its first message
        // until then (Nagle's algorithm).
        io.delay_acks(false);
        let mut out = BytesMut::new();
        if let Some(first) = &first {
            frame::put(frame::TEXT, first.as_bytes(), &mut out);
        }
        Self {
            io: Some(io),
            acks: Acks::new(),
            early,
            messages: Messages::new(terms.max_message),
            out,
            torn: false,
            unflushed: false,
            waiting: false,
            asked: first.is_none(),
            closing: false,
            over: None,
            refused: None,
            pings: Pings::new(terms.ping),
            most: READ_BYTES,
            upstream,
            socket,
        }
    }

    /// Sets whether each read takes few bytes, or as many as usual.
    pub(in crate::upstream) const fn set_low_rate(&mut self, low_rate: bool) {
        self.most = if low_rate {
            NARROW_READ_BYTES
        } else {
            READ_BYTES
        };
    }

    /// Notes that the stream has ended well: the WebSocket is closed, and what may still come is not needed.
    pub(in crate::upstream) fn complete(&mut self) {
        if !self.closing && self.over.is_none() {
            self.close(NORMAL);
        }
    }

    /// Passes the events in what has arrived to `sink`.
    ///
    /// # Errors
    /// If the conversation ended badly. What was said before was passed to `sink`.
    pub(in crate::upstream) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        for _ in 0..READS_PER_POLL {
            match &mut self.over {
                Some(Over::Well) => return Poll::Ready(Ok(Read::Eof(None))),
                Some(Over::Broken(broken)) => {
                    return Poll::Ready(Err(broken.take().unwrap_or(Broken::Truncated)));
                }
                None => {}
            }
            self.write(cx);
            match self.poll_messages(cx, sink) {
                Poll::Ready(any) => {
                    if any {
                        return Poll::Ready(Ok(Read::Data { drained: false }));
                    }
                }
                Poll::Pending => match ready!(self.poll_due(cx)) {
                    Due::Ping => self.put(frame::PING, b""),
                    Due::Dead => {
                        // There is nobody to send a close frame to.
                        self.io = None;
                        self.end(Broken::Reset(io::ErrorKind::TimedOut.into()));
                    }
                },
            }
        }
        // Yields to other tasks.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and passes the events in it to `sink`, if there are any. Returns whether there were.
    fn poll_messages(&mut self, cx: &mut Context<'_>, sink: &mut dyn FnMut(&[u8])) -> Poll<bool> {
        let Some(io) = &mut self.io else {
            self.end(Broken::Truncated);
            return Poll::Ready(false);
        };
        let (messages, early, most) = (&mut self.messages, &mut self.early, self.most);
        let read = BUFFERS.with_borrow_mut(|(buffer, events)| {
            events.clear();
            let read = if early.is_empty() {
                let mut buffer = ReadBuf::new(buffer.get_mut(..most).unwrap_or_default());
                ready!(Pin::new(io).poll_read(cx, &mut buffer)).map(|()| {
                    let bytes = buffer.filled();
                    (bytes.len(), messages.feed(bytes, events))
                })
            } else {
                let bytes = std::mem::take(early);
                Ok((bytes.len(), messages.feed(&bytes, events)))
            };
            let any = !events.is_empty();
            if any {
                sink(events);
            }
            events.clear();
            events.shrink_to(KEPT_BYTES);
            Poll::Ready(read.map(|(count, result)| (count, result, any)))
        });
        let (count, result, any) = match ready!(read) {
            Ok(read) => read,
            Err(error) => {
                self.ended(Broken::Reset(error));
                return Poll::Ready(false);
            }
        };
        if let Some(pings) = &mut self.pings {
            pings.heard();
        }
        if let Some(io) = &self.io
            && count > 0
            && self.acks.read()
        {
            io.delay_acks(true);
        }
        if let Err(fault) = result {
            self.refuse(fault);
        } else if count == 0 {
            let reset = self.refused.take();
            let reset = reset.filter(|error| error.kind() == io::ErrorKind::ConnectionReset);
            self.ended(reset.map_or(Broken::Truncated, Broken::Reset));
        } else if let Some(closed) = self.messages.closed() {
            self.closed(closed.code, closed.is_good());
        }
        // Nobody may ask for more for long, and the agent waits for its pong.
        self.write(cx);
        Poll::Ready(any)
    }

    /// Reacts to the end of the connection.
    fn ended(&mut self, broken: Broken) {
        self.io = None;
        if self.closing {
            self.over = Some(Over::Well);
        } else {
            self.end(broken);
        }
    }

    /// Reacts to the agent's close frame: answers it, unless it is the answer to Weir's own.
    fn closed(&mut self, code: Option<u16>, is_good: bool) {
        if self.closing {
            self.over = Some(Over::Well);
            return;
        }
        self.close(code.unwrap_or(NORMAL));
        match code.filter(|_| !is_good) {
            None => self.over = Some(Over::Well),
            Some(code) => {
                let upstream = &*self.upstream.name;
                tracing::info!(
                    upstream,
                    code,
                    "the agent closed its WebSocket before the end"
                );
                self.end(Broken::Closed(code));
            }
        }
    }

    /// Closes the WebSocket because the agent has sent what cannot be read.
    fn refuse(&mut self, fault: Fault) {
        if self.closing {
            self.io = None;
            self.over = Some(Over::Well);
            return;
        }
        self.close(fault.code());
        self.end(match fault {
            Fault::Protocol(what) => Broken::Malformed(Malformed(what)),
            Fault::NotText { .. } => Broken::Malformed(Malformed("a message that is not text")),
            Fault::TooLarge => Broken::TooLarge,
        });
        if let Some(Over::Broken(Some(broken))) = &self.over {
            let upstream = &*self.upstream.name;
            tracing::info!(upstream, %broken, "a WebSocket was closed");
        }
    }

    fn end(&mut self, broken: Broken) {
        self.over.get_or_insert(Over::Broken(Some(broken)));
    }

    /// Closes Weir's side: nothing is written after this frame.
    fn close(&mut self, code: u16) {
        self.closing = true;
        if self.refused.is_none() {
            frame::put_close(code, &mut self.out);
        }
    }

    /// Has a ping or a pong written, unless one waits.
    fn put(&mut self, opcode: u8, payload: &[u8]) {
        if !self.closing && self.refused.is_none() && !self.waiting {
            frame::put(opcode, payload, &mut self.out);
            self.waiting = true;
        }
    }

    /// Writes what the agent takes, and the answer to its last ping.
    fn write(&mut self, cx: &mut Context<'_>) {
        self.write_out(cx);
        if !self.waiting
            && let Some(ping) = self.messages.take_ping()
        {
            self.put(frame::PONG, ping.bytes());
            self.write_out(cx);
        }
    }

    fn write_out(&mut self, cx: &mut Context<'_>) {
        let Some(io) = &mut self.io else { return };
        if let Poll::Ready(Err(error)) = poll_write(io, cx, &mut self.out, &mut self.unflushed) {
            self.out.clear();
            self.unflushed = false;
            self.refused = Some(error);
        }
        self.torn = !self.out.is_empty() && self.unflushed;
        self.asked |= self.torn || self.out.is_empty();
        self.waiting &= !self.out.is_empty();
    }

    /// Is ready when a ping is due, or the agent has answered none of the last ones.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        let closing = self.closing;
        match self.pings.as_mut().filter(|_| !closing) {
            Some(pings) => pings.poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Writes what `io` takes of `out`; ready when that is all of it. `unflushed`: something was written and not flushed.
fn poll_write(
    io: &mut Io,
    cx: &mut Context<'_>,
    out: &mut BytesMut,
    unflushed: &mut bool,
) -> Poll<io::Result<()>> {
    while !out.is_empty() {
        let written = ready!(Pin::new(&mut *io).poll_write(cx, out))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        out.advance(written);
        *unflushed = true;
    }
    if *unflushed {
        ready!(Pin::new(&mut *io).poll_flush(cx))?;
        *unflushed = false;
        // The first message may have been large.
        *out = BytesMut::new();
    }
    Poll::Ready(Ok(()))
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let Some(io) = self.io.take() else { return };
        if self.refused.is_some() {
            return;
        }
        let mut out = std::mem::take(&mut self.out);
        if !self.closing {
            if !self.torn {
                // The agent has seen nothing of it.
                out.clear();
            }
            if let Some(interrupt) = self.upstream.talk.interrupt.as_ref().filter(|_| self.asked) {
                frame::put(frame::TEXT, interrupt.as_bytes(), &mut out);
            }
            frame::put_close(GOING_AWAY, &mut out);
        }
        leave::leave(io, out, self.unflushed, self.socket.take());
    }
}

#[cfg(test)]
mod tests;
