//! The client's side of a stream: encoder, outlet, and the clocks that run while the client is slow.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::api::{EgressParts, Reader};
use super::delivery::{Delivered, Delivery, Waiting};
use super::outlet::Outlet;
use crate::dialect::Dialect;
use crate::encode::Encoder;
use crate::queue::Offer;
use crate::stream::deadline::{ClientClocks, Lengths};
use crate::stream::meter::Meter;
use crate::wire::Framing;

/// One client of a stream.
#[repr(C)]
pub(super) struct Egress {
    pub(super) outlet: Outlet,
    pub(super) reader: Arc<dyn Reader>,
    /// Events that wait for room in the queue: the upstream is not read while there are any.
    pub(super) blocked: Vec<Waiting>,
    /// What the queue said of the last event offered to it, until the pump has acted on it.
    offer: Offer,
    encoder: Encoder,
    /// All of a read is in the queue, and nobody there had anything else to tell.
    pub(super) quiet: bool,
    /// When something was last written, heartbeats included.
    pub(super) last_push: Instant,
    pub(super) clocks: ClientClocks,
    /// Silence before a heartbeat; zero is off.
    heartbeat: Duration,
    /// Heartbeats sent.
    pub(super) heartbeats: u64,
    /// Takes of the client that the outlet has told of.
    pub(super) seen: u64,
}

impl Egress {
    pub(super) fn new(parts: EgressParts, lengths: &Lengths, now: Instant) -> Self {
        let EgressParts {
            encoder,
            outlet,
            reader,
            heartbeat,
        } = parts;
        Self {
            outlet,
            reader,
            blocked: Vec::new(),
            offer: Offer::Accepted,
            encoder,
            quiet: false,
            last_push: now,
            clocks: ClientClocks::new(lengths),
            heartbeat,
            heartbeats: 0,
            seen: 0,
        }
    }

    /// The client's voice.
    pub(super) const fn encoder(&self) -> Encoder {
        self.encoder
    }

    /// The upstream turned out to speak `dialect` in `framing`. Only the first events change anything.
    pub(super) fn follow(&mut self, dialect: Dialect, framing: Framing) {
        if self.encoder.follow(dialect, framing) {
            self.outlet.set_encoder(self.encoder);
        }
    }

    /// Opens the outlet for the events of a read of `bytes`. `meter` counts them, unless they were counted before.
    pub(super) fn delivery<'a>(
        &'a mut self,
        meter: Option<&'a mut Meter>,
        bytes: usize,
        now: Instant,
    ) -> Delivery<'a> {
        let pushing = self.outlet.pushing(bytes, now);
        Delivery::new(pushing, self.encoder, meter, &mut self.blocked, now)
    }

    /// Offers the events that wait once more.
    pub(super) fn retry(&mut self, now: Instant) {
        self.last_push = now;
        let waiting = std::mem::take(&mut self.blocked);
        let mut delivery = self.delivery(None, 0, now);
        for event in waiting {
            delivery.again(event);
        }
        let delivered = delivery.done();
        self.accept(&delivered);
    }

    /// Takes note of how a delivery went.
    pub(super) fn accept(&mut self, delivered: &Delivered) {
        if delivered.offer != Offer::Accepted {
            self.offer = delivered.offer;
        }
        self.quiet = !delivered.alarmed && self.blocked.is_empty();
        self.note_waiting(delivered.waiting_since);
    }

    /// Reports whether the overflow rule has ended the stream.
    pub(super) fn is_disconnected(&self) -> bool {
        self.offer == Offer::Disconnect
    }

    /// What the queue said, once.
    pub(super) const fn take_offer(&mut self) -> Offer {
        std::mem::replace(&mut self.offer, Offer::Accepted)
    }

    /// Something waits since `since`; what the connection still takes counts as progress.
    pub(super) fn note_waiting(&mut self, since: Option<Instant>) {
        // `None` is less than any moment; of two moments the later one counts.
        self.clocks
            .note_waiting(since.max(self.reader.last_progress()));
    }

    /// Sends a heartbeat, unless something waits for the client anyway; reports whether it did.
    pub(super) fn beat(&mut self, now: Instant) -> bool {
        self.last_push = now;
        let sent = self.outlet.heartbeat(now);
        self.heartbeats += u64::from(sent);
        sent
    }

    /// When the next heartbeat is due; `None` if they are off.
    pub(super) fn next_heartbeat(&self) -> Option<Instant> {
        (!self.heartbeat.is_zero()).then(|| self.last_push + self.heartbeat)
    }
}
