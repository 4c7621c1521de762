//! One direction of a tunnel: what its source sends is written to its receiver, at the receiver's pace, and its end is
//! passed on as well.

mod copy;

use std::io;
use std::task::Context;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::wire::websocket::{Follower, Sender};

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
    /// The receiver's side was shut down. What the source still sends is read and discarded.
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

    /// Ends the direction with `frame` at the next boundary. Does without the frame if the source has sent a close
    /// frame itself, or if there is no boundary any more.
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
mod tests;
