//! Moves the bytes of one direction: each read is written at once, and what the receiver does not take then is kept.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Failed, Phase, Way, Went};

/// Maximum number of bytes in one read, and of what waits for a receiver.
const READ_BYTES: usize = 64 * 1024;
/// Maximum number of reads before other tasks have their turn.
const READS_PER_POLL: usize = 8;

thread_local! {
    /// The buffer that all tunnels of a thread read into. Nothing stays in it between two reads.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

impl Way {
    /// Reads and writes until one of the sockets has to be waited for, or other tasks have their turn.
    pub(super) fn poll_moves<R, W>(
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
}
