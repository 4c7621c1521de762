//! The destination of a stream's events after the encoder.

use std::task::{Context, Poll};

use http::StatusCode;
use tokio::time::Instant;

use crate::encode::Encoder;
use crate::end::End;
use crate::event::Event;
use crate::hub;
use crate::queue::{self, Close, Offer, PushOutcome, Sender, Status};

/// The path to a stream's clients. An enum: a plain stream costs one match and no virtual call.
#[derive(Debug)]
pub enum Outlet {
    /// Directly to the queue of a single client.
    Direct(Sender),
    /// To the journal and to the queues of all who follow the stream.
    Shared(hub::Input),
}

impl Outlet {
    /// Locks the queue for the events of a read of `bytes` bytes, with at most one wake-up at the end.
    pub(super) fn pushing(&self, bytes: usize, now: Instant) -> Pushing<'_> {
        match self {
            Self::Direct(queue) => Pushing::Direct(queue.pushing(bytes, now)),
            Self::Shared(hub) => Pushing::Shared(hub.pushing(bytes, now)),
        }
    }

    /// Sets the encoder that writes heartbeats and drop notices from here on.
    pub(super) fn set_encoder(&self, encoder: Encoder) {
        match self {
            Self::Direct(queue) => queue.set_encoder(encoder),
            Self::Shared(hub) => hub.set_encoder(encoder),
        }
    }

    /// Records that the client took nothing for too long. Until it takes something, the overflow rule applies to events
    /// that do not fit.
    pub(super) fn give_up(&self) {
        match self {
            Self::Direct(queue) => queue.give_up(),
            Self::Shared(hub) => hub.give_up(),
        }
    }

    /// Reports what would happen to an event of at least `len` bytes that is still coming in.
    pub(super) fn foresee(&self, len: usize) -> Offer {
        match self {
            Self::Direct(queue) => queue.foresee(len),
            // It goes into the journal, whatever the clients do.
            Self::Shared(_) => Offer::Accepted,
        }
    }

    /// Reports whether the overflow rule applies to events that do not fit.
    pub(super) fn overflows(&self) -> bool {
        match self {
            Self::Direct(queue) => queue.overflows(),
            Self::Shared(_) => false,
        }
    }

    /// Adds a heartbeat if nothing waits. Returns whether it was added. Those who follow a shared stream get theirs
    /// from their own tasks.
    pub(super) fn heartbeat(&self, now: Instant) -> bool {
        match self {
            Self::Direct(queue) => queue.heartbeat(now),
            Self::Shared(_) => false,
        }
    }

    /// Ends the client's stream, after the block `last` if there is one. Only the first call has an effect.
    pub(super) fn close(&self, how: Close, last: Option<&[u8]>, now: Instant) {
        match self {
            Self::Direct(queue) => queue.close(how, last, now),
            Self::Shared(hub) => hub.close(how, last, now),
        }
    }

    /// Reports whether clients may come after the last one has left.
    pub(super) const fn outlives_clients(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Records that the stream has failed, and with which status a response says so.
    pub(super) fn note_failure(&self, status: StatusCode) {
        if let Self::Direct(queue) = self {
            queue.note_failure(status);
        }
    }

    /// Records how the stream has ended, for those who come later.
    pub(super) fn note_end(&self, end: End) {
        if let Self::Shared(hub) = self {
            hub.note_end(end);
        }
    }

    /// Lets all leave that is held back on purpose.
    pub(super) fn let_go(&self) {
        match self {
            Self::Direct(queue) => queue.let_go(),
            Self::Shared(hub) => hub.let_go(),
        }
    }

    /// Ends the client's stream as truncated, even if it was closed before.
    pub(super) fn abort(&self) {
        match self {
            Self::Direct(queue) => queue.abort(),
            Self::Shared(hub) => hub.abort(Instant::now()),
        }
    }

    /// Discards all waiting events of a single client. Each of several clients has its own limits.
    pub(super) fn clear(&self) {
        if let Self::Direct(queue) = self {
            queue.clear();
        }
    }

    /// Is ready when the client has left and, if `takes` is set, when it has taken something since the last call.
    pub(super) fn poll_change(
        &self,
        cx: &mut Context<'_>,
        seen: &mut u64,
        takes: bool,
    ) -> Poll<()> {
        match self {
            Self::Direct(queue) => queue.poll_change(cx, seen, takes),
            Self::Shared(hub) => hub.poll_change(cx, seen, takes),
        }
    }

    /// Returns how the stream ends because nobody receives it, if that is so.
    pub(super) fn gone(&self, status: &Status, now: Instant) -> Option<End> {
        match self {
            Self::Direct(_) if !status.reader_gone => None,
            Self::Direct(_) if status.reader_failed => Some(End::Panic),
            Self::Direct(_) => Some(End::ClientGone),
            Self::Shared(hub) => hub.gone(now),
        }
    }

    /// Returns when the stream ends if nobody comes back.
    pub(super) fn gives_up_at(&self) -> Option<Instant> {
        match self {
            Self::Direct(_) => None,
            Self::Shared(hub) => hub.gives_up_at(),
        }
    }

    /// Returns the status of the queue.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Direct(queue) => queue.status(),
            Self::Shared(hub) => hub.status(),
        }
    }
}

/// Pushes the events of one read.
#[derive(Debug)]
pub(super) enum Pushing<'a> {
    Direct(queue::Pushing<'a>),
    Shared(hub::Pushing<'a>),
}

impl Pushing<'_> {
    /// Offers the next event.
    #[inline]
    pub(super) fn push(&mut self, block: &[u8], event: &Event) -> Offer {
        match self {
            Self::Direct(queue) => queue.push(block, event),
            Self::Shared(hub) => hub.push(block, event),
        }
    }

    /// Adds an event at the end of the stream, whether or not there is room.
    pub(super) fn push_over(&mut self, block: &[u8], event: &Event) {
        match self {
            Self::Direct(queue) => queue.push_over(block, event),
            Self::Shared(hub) => hub.push_over(block, event),
        }
    }

    /// Offers the next event, and takes over the buffer of its block if nothing else waits.
    pub(super) fn push_large(&mut self, block: &mut Vec<u8>, event: &Event) -> Offer {
        match self {
            Self::Direct(queue) => queue.push_large(block, event),
            Self::Shared(hub) => hub.push(block, event),
        }
    }

    /// Ends the push of `events` events, whatever happened to them, and wakes the readers.
    pub(super) fn done(self, events: usize) -> PushOutcome {
        match self {
            Self::Direct(queue) => queue.done(events),
            Self::Shared(hub) => hub.done(),
        }
    }
}
