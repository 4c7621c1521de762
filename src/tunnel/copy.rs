//! One direction of a tunnel: what its source sends is written to its receiver, at the receiver's pace; the end is passed
//! on as well.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::wire::websocket::{Follower, Sender};

/// Most bytes of one read, and of what waits for a receiver.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// Most reads before other tasks have their turn.
const READS_PER_POLL: usize = 8;

thread_local! {
    /// The buffer that all tunnels of a thread read into. Nothing stays in it between two reads.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// The socket that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The one that is read.
    Source,
    /// The one that is written.
    Receiver,
}

/// What a call of [`Way::poll`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Went {
    /// Bytes have moved.
    pub(super) moved: bool,
    /// There may be more: nobody wakes the task for it.
    pub(super) more: bool,
}

#[derive(Debug)]
enum Phase {
    /// Everything passes.
    Open,
    /// Everything passes up to the next boundary. This frame follows, and nothing after it; if it is empty, the source
    /// itself has sent a close frame.
    Closing(Bytes),
    /// The last frame was given to the receiver. What the source still sends is read and discarded.
    Closed,
    /// The source has ended, or cannot be followed: the receiver's side is shut down after what waits for it.
    Ending,
    /// It was shut down. What the source still sends is read and discarded.
    Shut,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) follower: Follower,
    /// What was read of the source before the tunnel began.
    early: Bytes,
    /// What the receiver has not taken yet. Nothing more is read meanwhile.
    rest: Bytes,
    phase: Phase,
    /// The source sends nothing more.
    ended: bool,
    /// Bytes were written and not flushed.
    unflushed: bool,
    /// Since when the receiver has taken nothing of `rest`.
    blocked: Option<Instant>,
    /// How many bytes have passed.
    bytes: u64,
    /// The operating system has given one of the sockets up, because its peer took nothing for too long.
    is_given_up: bool,
}

impl Way {
    /// Creates the direction from `sender`, of which `early` was read already.
    pub(super) const fn new(sender: Sender, early: Bytes) -> Self {
        Self {
            follower: Follower::new(sender),
            early,
            rest: Bytes::new(),
            phase: Phase::Open,
            ended: false,
            unflushed: false,
            blocked: None,
            bytes: 0,
            is_given_up: false,
        }
    }

    /// Moves what can be moved. Has the task woken when there is more, or says that there is.
    ///
    /// # Errors
    /// If one of the sockets failed.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Result<Went, Failed>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let went = self.poll_moves(cx, from, to)?;
        self.blocked = match self.blocked {
            _ if self.rest.is_empty() => None,
            Some(since) if !went.moved => Some(since),
            _ => Some(Instant::now()),
        };
        Ok(went)
    }

    fn poll_moves<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Result<Went, Failed>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut moved = false;
        for _ in 0..READS_PER_POLL {
            if self.poll_rest(cx, to, &mut moved)?.is_pending() {
                return Ok(Went { moved, more: false });
            }
            if self.closes_here() {
                continue;
            }
            if matches!(self.phase, Phase::Ending) {
                match Pin::new(&mut *to).poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => self.phase = Phase::Shut,
                    Poll::Ready(Err(error)) => return Err(self.fail(Failed::Receiver, &error)),
                    Poll::Pending => return Ok(Went { moved, more: false }),
                }
            }
            if self.ended || self.poll_piece(cx, from, to)?.is_pending() {
                self.poll_flush(cx, to)?;
                return Ok(Went { moved, more: false });
            }
            moved = true;
        }
        Ok(Went { moved, more: true })
    }

    /// Writes what the receiver has not taken yet.
    fn poll_rest<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
        moved: &mut bool,
    ) -> Result<Poll<()>, Failed> {
        while !self.rest.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, &self.rest) {
                Poll::Ready(Ok(0)) => return Err(Failed::Receiver),
                Poll::Ready(Err(error)) => return Err(self.fail(Failed::Receiver, &error)),
                Poll::Ready(Ok(written)) => {
                    self.rest.advance(written);
                    *moved = true;
                    if self.rest.is_empty() {
                        // Releases the buffer.
                        self.rest = Bytes::new();
                    }
                }
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Result<(), Failed> {
        if self.unflushed {
            match Pin::new(to).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Err(self.fail(Failed::Receiver, &error)),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Reads once, and passes on what came.
    fn poll_piece<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Result<Poll<()>, Failed>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.pass(cx, &early, to)?;
            return Ok(Poll::Ready(()));
        }
        READ.with_borrow_mut(|space| {
            let mut buffer = ReadBuf::new(space);
            match Pin::new(from).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => self.pass(cx, buffer.filled(), to).map(Poll::Ready),
                Poll::Ready(Err(error)) => Err(self.fail(Failed::Source, &error)),
                Poll::Pending => Ok(Poll::Pending),
            }
        })
    }

    /// Passes on what was read. Nothing is the end.
    fn pass<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: &mut W,
    ) -> Result<(), Failed> {
        if bytes.is_empty() {
            self.source_ended();
            return Ok(());
        }
        match &self.phase {
            Phase::Open => {
                let passing = self.follower.feed(bytes);
                self.write(cx, bytes.get(..passing).unwrap_or_default(), to)
            }
            Phase::Closing(last) => {
                let last = last.clone();
                let passing = self.follower.feed_to_boundary(bytes);
                let (passes, more) = bytes.split_at_checked(passing).unwrap_or((bytes, &[]));
                if !self.follower.is_at_boundary() {
                    return self.write(cx, passes, to);
                }
                self.bytes += passes.len() as u64;
                self.unflushed = true;
                self.rest = [passes, &last].concat().into();
                self.phase = Phase::Closed;
                self.follower.feed(more);
                Ok(())
            }
            Phase::Closed | Phase::Ending | Phase::Shut => {
                self.follower.feed(bytes);
                Ok(())
            }
        }
    }

    fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: &mut W,
    ) -> Result<(), Failed> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.bytes += bytes.len() as u64;
        self.unflushed = true;
        let written = match Pin::new(to).poll_write(cx, bytes) {
            Poll::Ready(Ok(0)) => return Err(Failed::Receiver),
            Poll::Ready(Err(error)) => return Err(self.fail(Failed::Receiver, &error)),
            Poll::Ready(Ok(written)) => written,
            Poll::Pending => 0,
        };
        if let Some(rest) = bytes.get(written..)
            && !rest.is_empty()
        {
            self.rest = Bytes::copy_from_slice(rest);
        }
        Ok(())
    }

    /// Puts the last frame behind what has passed, if that ends with a whole frame. Reports whether it did.
    fn closes_here(&mut self) -> bool {
        let Phase::Closing(last) = &self.phase else {
            return false;
        };
        if !self.follower.is_at_boundary() {
            return false;
        }
        self.unflushed = true;
        self.rest = last.clone();
        self.phase = Phase::Closed;
        true
    }

    /// Ends the direction with `frame` at the next boundary. Does without the frame if the source has sent a close frame
    /// itself, or if there is no boundary any more.
    pub(super) fn close(&mut self, frame: Vec<u8>) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        let follower = &self.follower;
        self.phase = if follower.is_lost() || (follower.refuses() && !follower.is_at_boundary()) {
            Phase::Ending
        } else if follower.has_closed() {
            Phase::Closing(Bytes::new())
        } else {
            Phase::Closing(frame.into())
        };
    }

    /// The source sends nothing more.
    pub(super) fn source_ended(&mut self) {
        self.ended = true;
        if matches!(self.phase, Phase::Open | Phase::Closing(_)) {
            self.phase = Phase::Ending;
        }
    }

    /// Gives the direction up, with all that waits in it.
    pub(super) fn abandon(&mut self) {
        self.ended = true;
        self.early = Bytes::new();
        self.rest = Bytes::new();
        self.unflushed = false;
        self.blocked = None;
        self.phase = Phase::Shut;
    }

    fn fail(&mut self, failed: Failed, error: &io::Error) -> Failed {
        self.is_given_up |= error.kind() == io::ErrorKind::TimedOut;
        failed
    }

    /// Reports whether the operating system has given one of the sockets up (`TCP_USER_TIMEOUT`).
    pub(super) const fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// Reports whether the source sends nothing more.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reports whether the receiver has everything, and knows that it was all.
    pub(super) const fn is_shut(&self) -> bool {
        matches!(self.phase, Phase::Shut)
    }

    /// Reports whether the receiver has a last frame, or knows that nothing more comes.
    pub(super) const fn is_told(&self) -> bool {
        matches!(self.phase, Phase::Closed | Phase::Shut) && self.rest.is_empty()
    }

    /// Reports whether the receiver has a whole close frame of the source, and nothing waits.
    pub(super) const fn has_passed_close(&self) -> bool {
        self.follower.has_closed() && self.follower.is_at_boundary() && self.rest.is_empty()
    }

    /// Returns since when the receiver has taken nothing although something waits.
    pub(super) const fn blocked(&self) -> Option<Instant> {
        self.blocked
    }

    /// Returns how many bytes have passed.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// A frame of a server with this much payload.
    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = vec![0x82, 127];
        bytes.extend((length as u64).to_be_bytes());
        bytes.resize(bytes.len() + length, 7);
        bytes
    }

    async fn run(
        way: &mut Way,
        from: &mut DuplexStream,
        to: &mut DuplexStream,
    ) -> Result<(), Failed> {
        poll_fn(|cx| {
            loop {
                match way.poll(cx, from, to) {
                    Ok(_) if way.is_shut() || (way.is_told() && way.has_ended()) => {
                        return Poll::Ready(Ok(()));
                    }
                    Ok(Went { more: true, .. }) => {}
                    Ok(_) => return Poll::Pending,
                    Err(failed) => return Poll::Ready(Err(failed)),
                }
            }
        })
        .await
    }

    #[tokio::test]
    async fn bytes_and_the_end_pass_a_receiver_that_takes_little() {
        let (mut source, mut from) = duplex(1000);
        let (mut to, mut receiver) = duplex(7);
        let sent = frame(5000);
        let early = Bytes::copy_from_slice(&sent[..3]);
        let mut way = Way::new(Sender::Server, early);
        let sending = async {
            source.write_all(&sent[3..]).await.unwrap();
            source.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let receiving = receiver.read_to_end(&mut got);
        let (ran, (), read) = tokio::join!(run(&mut way, &mut from, &mut to), sending, receiving);
        ran.unwrap();
        read.unwrap();
        assert_eq!(got, sent);
        assert_eq!((way.bytes(), way.follower.frames()), (sent.len() as u64, 1));
        assert!(way.rest.is_empty() && way.blocked().is_none());
    }

    #[tokio::test]
    async fn a_last_frame_is_put_only_between_frames() {
        let (mut source, mut from) = duplex(100_000);
        let (mut to, mut receiver) = duplex(100_000);
        let (first, second) = (frame(300), frame(20));
        source.write_all(&first[..100]).await.unwrap();
        let mut way = Way::new(Sender::Server, Bytes::new());
        let polled = poll_fn(|cx| Poll::Ready(way.poll(cx, &mut from, &mut to))).await;
        assert!(polled.unwrap().moved);
        way.close(b"\x88\0".to_vec());
        poll_fn(|cx| Poll::Ready(way.poll(cx, &mut from, &mut to)))
            .await
            .unwrap();
        assert!(!way.is_told(), "it is inside a frame");
        source
            .write_all(&[&first[100..], &second].concat())
            .await
            .unwrap();
        drop(source);
        run(&mut way, &mut from, &mut to).await.unwrap();
        drop(to);
        let mut got = Vec::new();
        receiver.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, [&first[..], b"\x88\0"].concat());
    }

    #[tokio::test]
    async fn after_a_violation_there_is_only_the_end() {
        let (mut source, mut from) = duplex(1000);
        let (mut to, mut receiver) = duplex(1000);
        // A reserved opcode.
        source.write_all(b"\x83\0more").await.unwrap();
        let mut way = Way::new(Sender::Server, Bytes::new());
        poll_fn(|cx| Poll::Ready(way.poll(cx, &mut from, &mut to)))
            .await
            .unwrap();
        way.close(b"\x88\0".to_vec());
        run(&mut way, &mut from, &mut to).await.unwrap();
        let mut got = Vec::new();
        receiver.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"\x83\0more");
    }

    #[tokio::test]
    async fn the_socket_that_failed_is_named() {
        let (mut source, mut from) = duplex(1000);
        let (mut to, receiver) = duplex(1000);
        drop(receiver);
        source.write_all(&frame(5)).await.unwrap();
        let mut way = Way::new(Sender::Server, Bytes::new());
        let failed = poll_fn(|cx| Poll::Ready(way.poll(cx, &mut from, &mut to))).await;
        assert_eq!(failed, Err(Failed::Receiver));
    }
}
