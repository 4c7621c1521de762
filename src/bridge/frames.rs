//! Messages over the connection of a client. The protocol itself (RFC 6455) is that of tungstenite, which is driven
//! here by one task, without wakers of its own.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tungstenite::error::{Error, ProtocolError};
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Message, Utf8Bytes};

use super::close::Why;
use crate::session::traffic::Totals;
use crate::wire::websocket::{Follower, Sender};

/// Bytes of one read, and of the buffer that a quiet bridge keeps.
const READ_BYTES: usize = 4 * 1024;
/// Messages wait until they have this many bytes together, or the turn ends.
const WRITE_BYTES: usize = 16 * 1024;
/// A larger event is sent in several frames, so that no larger buffer is kept.
const FRAME_BYTES: usize = 64 * 1024;

/// What comes from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// The client closes, with this code.
    Close(Option<u16>),
    /// A ping or a pong: the client is there.
    Sign,
    Text(Utf8Bytes),
}

/// Why nothing more comes from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Both sides have closed.
    Closed,
    /// The client's connection is gone.
    Left,
    /// The client's connection has to be closed.
    Must(Why),
}

/// The client's connection, as messages.
pub(super) struct Frames<S> {
    socket: S,
    context: WebSocketContext,
    totals: Totals,
    /// Knows whether the client is in the middle of a message, and refuses frames that tungstenite would accept: those
    /// whose length takes more bytes than it needs (RFC 6455, 5.2).
    follower: Follower,
    /// Since when the client has sent nothing more of a message that it has begun, and how much it had sent of all.
    half: Option<(Instant, u64)>,
    /// What is left of an event that is sent in several frames.
    rest: Bytes,
    /// Since when the client has taken nothing of what waits for it.
    blocked: Option<Instant>,
    /// Both sides have closed.
    is_closed: bool,
    /// The connection is gone.
    has_failed: bool,
}

impl<S> Frames<S> {
    /// Begins with what has followed the client's request.
    pub(super) fn new(socket: S, mut early: Vec<u8>, max_message_bytes: usize) -> Self {
        let mut follower = Follower::strict(Sender::Client);
        let good = follower.feed(&early);
        early.truncate(good);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(WRITE_BYTES)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        Self {
            socket,
            context: WebSocketContext::from_partially_read(early, Role::Server, Some(config)),
            totals: Totals::default(),
            follower,
            half: None,
            rest: Bytes::new(),
            blocked: None,
            is_closed: false,
            has_failed: false,
        }
    }

    /// Returns the connection.
    pub(super) fn into_inner(self) -> S {
        self.socket
    }

    pub(super) const fn totals(&self) -> Totals {
        self.totals
    }

    /// Reports whether another message may be sent: the client takes what it gets.
    pub(super) const fn is_free(&self) -> bool {
        self.blocked.is_none() && self.rest.is_empty()
    }

    /// Returns since when the client has taken nothing.
    pub(super) const fn blocked(&self) -> Option<Instant> {
        self.blocked
    }

    /// Returns since when the client has sent nothing more of a message that it has begun.
    pub(super) fn half_since(&self) -> Option<Instant> {
        self.half.map(|(since, _)| since)
    }

    /// Begins to count that time anew: nothing is read from the client now.
    pub(super) const fn forget_half(&mut self) {
        self.half = None;
    }

    /// Notes that nothing more has come of the client for now.
    fn note_half(&mut self) {
        let came = self.follower.progress();
        self.half = match self.half {
            _ if !self.follower.is_in_message() => None,
            Some((since, before)) if before == came => Some((since, before)),
            _ => Some((Instant::now(), came)),
        };
    }

    /// Reports whether both sides have closed.
    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Reports whether the connection is gone.
    pub(super) const fn has_failed(&self) -> bool {
        self.has_failed
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Returns what the client has sent. Pongs, and the answer to a close frame, are sent meanwhile. Do not call it
    /// again after [`Gone::Must`]: what follows cannot be understood, and is not bounded.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Came, Gone>> {
        let read = self.with(cx, |context, io| context.read(io));
        let came = match read {
            Ok(Message::Text(text)) => Ok(Came::Text(text)),
            Ok(Message::Ping(_) | Message::Pong(_)) => Ok(Came::Sign),
            Ok(Message::Close(frame)) => Ok(Came::Close(frame.map(|frame| frame.code.into()))),
            Ok(Message::Binary(_) | Message::Frame(_)) => Err(Gone::Must(Why::Binary)),
            Err(Error::Io(_)) if self.follower.refuses() => Err(Gone::Must(Why::Violation)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.note_half();
                return Poll::Pending;
            }
            Err(
                Error::ConnectionClosed
                | Error::AlreadyClosed
                | Error::Protocol(ProtocolError::ReceivedAfterClosing),
            ) => Err(Gone::Closed),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Err(Gone::Left),
            Err(Error::Protocol(_)) => Err(Gone::Must(Why::Violation)),
            Err(Error::Capacity(_)) => Err(Gone::Must(Why::TooLarge)),
            Err(Error::Utf8(_)) => Err(Gone::Must(Why::NotText)),
            Err(_) => Err(Gone::Left),
        };
        match came {
            Ok(_) => self.totals.frames_in += 1,
            Err(Gone::Closed) => self.is_closed = true,
            Err(Gone::Left) => self.has_failed = true,
            Err(Gone::Must(_)) => {}
        }
        Poll::Ready(came)
    }

    /// Sends a text. Call it only while [`Frames::is_free`].
    pub(super) fn send(&mut self, cx: &mut Context<'_>, text: String) {
        if text.len() <= FRAME_BYTES {
            self.write(cx, Message::text(text));
            return;
        }
        let mut rest = Bytes::from(text);
        let first = rest.split_to(FRAME_BYTES);
        self.rest = rest;
        let frame = Frame::message(first, OpCode::Data(Data::Text), false);
        self.write(cx, Message::Frame(frame));
        self.send_rest(cx);
    }

    /// Sends a ping.
    pub(super) fn ping(&mut self, cx: &mut Context<'_>) {
        self.write(cx, Message::Ping(Bytes::new()));
    }

    /// Sends a close frame. What is left of an event is not sent any more.
    pub(super) fn close(&mut self, cx: &mut Context<'_>, code: u16, reason: &'static str) {
        self.rest = Bytes::new();
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: Utf8Bytes::from_static(reason),
        };
        self.totals.frames_out += 1;
        let closed = self.with(cx, |context, io| context.close(io, Some(frame)));
        self.wrote(closed);
    }

    /// Sends what waits. Reports what is left of it with `Pending`.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_failed || self.is_closed {
            return Poll::Ready(());
        }
        loop {
            let before = self.totals.bytes_out;
            let flushed = self.with(cx, |context, io| context.flush(io));
            if flushed.is_ok() || self.totals.bytes_out > before {
                // It takes something.
                self.blocked = None;
            }
            self.wrote(flushed);
            if self.blocked.is_some() {
                return Poll::Pending;
            }
            if self.rest.is_empty() {
                return Poll::Ready(());
            }
            self.send_rest(cx);
        }
    }

    /// Sends more of an event, as far as the client takes it.
    fn send_rest(&mut self, cx: &mut Context<'_>) {
        while self.blocked.is_none() && !self.has_failed && !self.rest.is_empty() {
            let len = self.rest.len().min(FRAME_BYTES);
            let next = self.rest.split_to(len);
            let is_last = self.rest.is_empty();
            let frame = Frame::message(next, OpCode::Data(Data::Continue), is_last);
            self.write(cx, Message::Frame(frame));
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, message: Message) {
        self.totals.frames_out += 1;
        let written = self.with(cx, |context, io| context.write(io, message));
        self.wrote(written);
    }

    /// Notes what became of something that was written. What the client does not take yet is kept.
    fn wrote(&mut self, result: Result<(), Error>) {
        match result {
            Ok(()) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked.get_or_insert_with(Instant::now);
            }
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => self.is_closed = true,
            // The client has closed, and gets nothing more.
            Err(Error::Protocol(ProtocolError::SendAfterClosing)) => self.rest = Bytes::new(),
            Err(_) => self.has_failed = true,
        }
    }

    fn with<T>(
        &mut self,
        cx: &mut Context<'_>,
        f: impl FnOnce(&mut WebSocketContext, &mut Io<'_, '_, S>) -> T,
    ) -> T {
        let mut io = Io {
            socket: &mut self.socket,
            cx,
            totals: &mut self.totals,
            follower: &mut self.follower,
        };
        f(&mut self.context, &mut io)
    }
}

/// The connection within one poll of its task.
struct Io<'a, 'b, S> {
    socket: &'a mut S,
    cx: &'a mut Context<'b>,
    totals: &'a mut Totals,
    follower: &'a mut Follower,
}

/// Returns what a socket that cannot go on now is for the protocol.
fn now<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<S: AsyncRead + Unpin> Read for Io<'_, '_, S> {
    /// Reads up to a frame that is refused. Only once everything before it was taken, the next call fails.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.follower.refuses() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut buffer = ReadBuf::new(buffer);
        now(Pin::new(&mut *self.socket).poll_read(self.cx, &mut buffer))?;
        let read = buffer.filled().len();
        self.totals.bytes_in += read as u64;
        let good = self.follower.feed(buffer.filled());
        if good == 0 && read > 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(good)
    }
}

impl<S: AsyncWrite + Unpin> Write for Io<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = now(Pin::new(&mut *self.socket).poll_write(self.cx, bytes))?;
        self.totals.bytes_out += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        now(Pin::new(&mut *self.socket).poll_flush(self.cx))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// A text as a client sends it, with a mask of zeros.
    fn masked(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
    }

    #[tokio::test]
    async fn what_has_followed_the_request_is_read_first() {
        let (mut client, socket) = duplex(1024);
        let early = masked("ab");
        let mut frames = Frames::new(socket, early[..3].to_vec(), 64);
        client.write_all(&early[3..]).await.unwrap();
        let came = poll_fn(|cx| frames.poll_read(cx)).await;
        assert_eq!(came, Ok(Came::Text("ab".into())));
        assert_eq!(frames.totals().frames_in, 1);
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_blocks_and_what_waits_is_kept() {
        let (mut client, socket) = duplex(1000);
        let mut frames = Frames::new(socket, Vec::new(), 64);
        let text = "x".repeat(3 * FRAME_BYTES + 5);
        poll_fn(|cx| {
            frames.send(cx, text.clone());
            assert!(!frames.is_free());
            assert!(frames.poll_flush(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(frames.blocked().is_some());
        let reading = async {
            let mut got = Vec::new();
            // Four frames, with their heads.
            while got.len() < text.len() + 3 * 10 + 2 {
                let mut piece = [0; 700];
                let read = client.read(&mut piece).await.unwrap();
                got.extend_from_slice(&piece[..read]);
            }
            got
        };
        let ((), got) = tokio::join!(poll_fn(|cx| frames.poll_flush(cx)), reading);
        assert!(frames.is_free());
        assert_eq!(got[0], 0x01, "a first frame");
        assert_eq!(got[got.len() - 7], 0x80, "a last frame");
        assert_eq!(got.iter().filter(|byte| **byte == b'x').count(), text.len());
    }

    #[tokio::test]
    async fn what_breaks_the_rules_has_to_be_closed() {
        let cases: [(&[u8], Gone); 9] = [
            (b"\x82\x80\0\0\0\0", Gone::Must(Why::Binary)),
            (b"\x81\x01a", Gone::Must(Why::Violation)),
            (b"\x81\x81\0\0\0\0\xff", Gone::Must(Why::NotText)),
            (b"\x81\xfe\x00\xff\0\0\0\0", Gone::Must(Why::TooLarge)),
            (b"\xf1\x80\0\0\0\0", Gone::Must(Why::Violation)),
            // Lengths in more bytes than they need, of a text and of a ping.
            (b"\x81\xfe\0\x01\0\0\0\0a", Gone::Must(Why::Violation)),
            (
                b"\x81\xff\0\0\0\0\0\0\0\x01\0\0\0\0a",
                Gone::Must(Why::Violation),
            ),
            (b"\x89\xfe\0\x01\0\0\0\0a", Gone::Must(Why::Violation)),
            (b"", Gone::Left),
        ];
        for (bytes, want) in cases {
            let (client, socket) = duplex(1024);
            let mut frames = Frames::new(socket, bytes.to_vec(), 64);
            if bytes.is_empty() {
                drop(client);
            }
            let came = poll_fn(|cx| frames.poll_read(cx)).await;
            assert_eq!(came, Err(want), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn what_comes_before_a_frame_that_is_refused_is_read() {
        let sent = [masked("ab"), b"\x81\xfe\0\x01\0\0\0\0a".to_vec()].concat();
        for early in 0..=sent.len() {
            let (mut client, socket) = duplex(1024);
            let mut frames = Frames::new(socket, sent[..early].to_vec(), 64);
            client.write_all(&sent[early..]).await.unwrap();
            let came = poll_fn(|cx| frames.poll_read(cx)).await;
            assert_eq!(came, Ok(Came::Text("ab".into())), "{early}");
            let came = poll_fn(|cx| frames.poll_read(cx)).await;
            assert_eq!(came, Err(Gone::Must(Why::Violation)), "{early}");
        }
    }

    #[tokio::test]
    async fn a_close_is_answered() {
        let (mut client, socket) = duplex(1024);
        let mut frames = Frames::new(socket, b"\x88\x82\0\0\0\0\x03\xe9".to_vec(), 64);
        let came = poll_fn(|cx| frames.poll_read(cx)).await;
        assert_eq!(came, Ok(Came::Close(Some(1001))));
        assert_eq!(poll_fn(|cx| frames.poll_read(cx)).await, Err(Gone::Closed));
        assert!(frames.is_closed());
        let mut got = [0; 4];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, *b"\x88\x02\x03\xe9");
    }
}
