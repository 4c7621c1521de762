//! The bounded queue between a stream's pump and the response that the client reads.
//!
//! Each queue has one lock, which is held for a few lines and never across an await. One read of the upstream costs
//! one lock and at most one wake-up. Dropping the [`Receiver`] tells the pump that the client has left.

mod gate;
mod join;
mod limits;
mod lists;
mod receiver;
pub mod ring;
mod sender;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::encode::Encoder;
use crate::length::Length;
use gate::Gate;
pub use gate::{Batch, Gating};
pub use limits::{Limits, Overflow};
pub use receiver::{Next, Receiver, Then};
use ring::Ring;
pub use ring::{Counts, LARGE_BYTES, Taken};
pub use sender::{Feed, Pushing, Sender};
use state::State;

/// How a queue ends for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The response is truncated, and the client must notice it.
    Abort,
    /// The response is complete.
    Clean,
}

/// What happened to an event that was offered to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The event waits in the queue, was merged, or was dropped according to the overflow rule.
    Accepted,
    /// The overflow rule ends the stream.
    Disconnect,
    /// The event must wait outside until the reader takes something, and so must all events that follow.
    Full,
    /// The event must wait outside for a grace period only, because a burst is not the reader's fault.
    /// [`Sender::give_up`] ends the period, and the overflow rule applies from then on.
    Wait,
}

/// The state of the queue after a push.
#[derive(Clone, Copy, Debug)]
pub struct PushOutcome {
    /// Since when events have waited without anything being taken.
    pub waiting_since: Option<Instant>,
    /// The reader has left, or the queue was alarmed: the pump must check more than its upstream.
    pub alarmed: bool,
}

/// The status of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// How many events wait.
    pub events: usize,
    /// How many bytes wait.
    pub bytes: usize,
    /// Since when events have waited without anything being taken.
    pub waiting_since: Option<Instant>,
    /// Since when the connection holds the bytes it took last. It asks for more as soon as it has written them.
    pub handed_off: Option<Instant>,
    /// How many bytes it took then.
    pub handed_off_bytes: usize,
    /// How many events the pump has pushed, whatever happened to them.
    pub came: u64,
    /// How many bytes were read with these events.
    pub came_bytes: u64,
    /// The reader has left.
    pub reader_gone: bool,
    /// When the reader left.
    pub reader_gone_at: Option<Instant>,
    /// The reader left because of a panic.
    pub reader_failed: bool,
    /// The reader left although events waited for it.
    pub abandoned: bool,
    /// How long the events had waited that were discarded last without being taken.
    pub abandoned_after: Duration,
    /// The totals.
    pub counts: Counts,
}

impl Status {
    /// Returns since when data waits without being taken, in the queue or in the connection that took it; for the
    /// latter the connection must be known to hold data: it may have written it long ago.
    pub fn waits_since(&self, connection_holds: bool) -> Option<Instant> {
        self.waiting_since
            .max(self.handed_off.filter(|_| connection_holds))
    }
}

/// Creates a queue, and returns the pump's end and the response's end. `encoder` writes heartbeats and drop notices.
pub fn queue(limits: Limits, encoder: Encoder) -> (Sender, Receiver) {
    let mut ring = Ring::new(limits, encoder);
    ring.reader_is_slow(false);
    let state = State {
        ring,
        slow: false,
        close: None,
        reader_gone: false,
        reader_failed: false,
        waiting_since: None,
        handed_off: None,
        handed_off_bytes: 0,
        abandoned: false,
        abandoned_after: Length::ZERO,
        came: 0,
        came_bytes: 0,
        alarmed: false,
        takes: 0,
        reader: None,
        wants_takes: false,
        pump: None,
        gate: None,
        failed: None,
    };
    let shared = Arc::new(Mutex::new(state));
    let receiver = Receiver {
        shared: Arc::clone(&shared),
        timer: None,
        holds_back: false,
        is_fed_elsewhere: false,
    };
    (Sender(shared), receiver)
}

/// Creates a queue that holds text back.
pub fn gated(limits: Limits, encoder: Encoder, gating: Gating) -> (Sender, Receiver) {
    let (sender, mut receiver) = queue(limits, encoder);
    if gating.is_on() {
        lock(&sender.0).gate = Some(Box::new(Gate::new(gating)));
        receiver.holds_back = true;
    }
    (sender, receiver)
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn status(state: &State) -> Status {
    Status {
        events: state.ring.len(),
        bytes: state.ring.bytes(),
        waiting_since: state.waiting_since,
        came: state.came,
        came_bytes: state.came_bytes,
        reader_gone: state.reader_gone,
        reader_gone_at: state.handed_off.filter(|_| state.reader_gone),
        reader_failed: state.reader_failed,
        abandoned: state.abandoned,
        handed_off: state.handed_off.filter(|_| !state.reader_gone),
        handed_off_bytes: state.handed_off_bytes,
        abandoned_after: state.abandoned_after.get(),
        counts: state.ring.counts(),
    }
}

/// Observes a queue, for metrics, the admin interface and the memory limit.
#[derive(Debug)]
pub struct Probe(Arc<Mutex<State>>);

impl Probe {
    /// Makes the pump check more than its upstream after its next push.
    pub fn alarm(&self) {
        lock(&self.0).alarmed = true;
    }

    /// Returns the status of the queue.
    pub fn status(&self) -> Status {
        status(&lock(&self.0))
    }
}
