//! The destination of a stream's events after the encoder.

use std::task::{Context, Poll};

use http::StatusCode;
use tokio::time::Instant;

use crate::encode::Encoder;
use crate::queue::{Close, Offer, Pushing, Sender, Status};

/// The path to a stream's client. An enum: a plain stream costs one match and no virtual call.
#[derive(Debug)]
pub enum Outlet {
    /// Directly to the queue of a single client.
    Direct(Sender),
}

impl Outlet {
    const fn queue(&self) -> &Sender {
        match self {
            Self::Direct(queue) => queue,
        }
    }

    /// Locks the queue for the events of a read of `bytes` bytes, with at most one wake-up at the end.
    pub(super) fn pushing(&self, bytes: usize, now: Instant) -> Pushing<'_> {
        self.queue().pushing(bytes, now)
    }

    /// Sets the encoder that writes heartbeats and drop notices from here on.
    pub(super) fn set_encoder(&self, encoder: Encoder) {
        self.queue().set_encoder(encoder);
    }

    /// Records that the client took nothing for too long. Until it takes something, the overflow rule applies to events
    /// that do not fit.
    pub(super) fn give_up(&self) {
        self.queue().give_up();
    }

    /// Reports what would happen to an event of at least `len` bytes that is still coming in.
    pub(super) fn foresee(&self, len: usize) -> Offer {
        self.queue().foresee(len)
    }

    /// Reports whether the overflow rule applies to events that do not fit.
    pub(super) fn overflows(&self) -> bool {
        self.queue().overflows()
    }

    /// Adds a heartbeat if nothing waits. Returns whether it was added.
    pub(super) fn heartbeat(&self, now: Instant) -> bool {
        self.queue().heartbeat(now)
    }

    /// Ends the client's stream, after the block `last` if there is one. Only the first call has an effect.
    pub(super) fn close(&self, how: Close, last: Option<&[u8]>, now: Instant) {
        self.queue().close(how, last, now);
    }

    /// Records that the stream has failed, and with which status a response says so.
    pub(super) fn note_failure(&self, status: StatusCode) {
        self.queue().note_failure(status);
    }

    /// Lets all leave that is held back on purpose.
    pub(super) fn let_go(&self) {
        self.queue().let_go();
    }

    /// Ends the client's stream as truncated, even if it was closed before.
    pub(super) fn abort(&self) {
        self.queue().abort();
    }

    /// Discards all waiting events.
    pub(super) fn clear(&self) {
        self.queue().clear();
    }

    /// Is ready when the client has left and, if `takes` is set, when it has taken something since the last call.
    pub(super) fn poll_change(
        &self,
        cx: &mut Context<'_>,
        seen: &mut u64,
        takes: bool,
    ) -> Poll<()> {
        self.queue().poll_change(cx, seen, takes)
    }

    /// Returns the status of the queue.
    pub(super) fn status(&self) -> Status {
        self.queue().status()
    }
}
