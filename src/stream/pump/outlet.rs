//! Where a stream's events go after the encoder.

use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::encode::Encoder;
use crate::queue::{Close, Pushing, Sender, Status};

/// The way to a stream's client. A plain stream pays one match, no virtual call.
#[derive(Debug)]
pub enum Outlet {
    /// Straight into the queue of the one client.
    Direct(Sender),
}

impl Outlet {
    const fn queue(&self) -> &Sender {
        match self {
            Self::Direct(queue) => queue,
        }
    }

    /// Takes in the events of a read of `bytes`: one lock, at most one wake-up.
    pub(super) fn pushing(&self, bytes: usize, now: Instant) -> Pushing<'_> {
        self.queue().pushing(bytes, now)
    }

    /// What is written besides events is written by `encoder` from here on.
    pub(super) fn set_encoder(&self, encoder: Encoder) {
        self.queue().set_encoder(encoder);
    }

    /// The client took nothing for too long: what does not fit follows the overflow rule until it does.
    pub(super) fn give_up(&self) {
        self.queue().give_up();
    }

    /// Reports whether what does not fit follows the overflow rule.
    pub(super) fn overflows(&self) -> bool {
        self.queue().overflows()
    }

    /// Adds a heartbeat if nothing waits; reports whether it did.
    pub(super) fn heartbeat(&self, now: Instant) -> bool {
        self.queue().heartbeat(now)
    }

    /// Ends the client's stream, after `last` if there is one. Later calls change nothing.
    pub(super) fn close(&self, how: Close, last: Option<&[u8]>, now: Instant) {
        self.queue().close(how, last, now);
    }

    /// Ends the client's stream so that it is seen to break, whatever was said before.
    pub(super) fn abort(&self) {
        self.queue().abort();
    }

    /// Throws away what waits.
    pub(super) fn clear(&self) {
        self.queue().clear();
    }

    /// Ready when the client is gone, and with `takes` each time it took something since the last call.
    pub(super) fn poll_change(
        &self,
        cx: &mut Context<'_>,
        seen: &mut u64,
        takes: bool,
    ) -> Poll<()> {
        self.queue().poll_change(cx, seen, takes)
    }

    /// How it stands.
    pub(super) fn status(&self) -> Status {
        self.queue().status()
    }
}
