//! The client's side of a stream: encoder, outlet, and the clocks that run while the client is slow.

use std::sync::Arc;

use tokio::time::Instant;

use super::api::{EgressParts, Reader};
use super::delivery::{Delivered, Delivery, Waiting};
use super::outlet::Outlet;
use crate::dialect::Dialect;
use crate::encode::Encoder;
use crate::length::Length;
use crate::queue::{Offer, Status};
use crate::stream::deadline::{ClientClocks, Lengths};
use crate::stream::meter::Meter;
use crate::wire::Framing;

/// The client's side of a stream.
#[repr(C)]
pub(super) struct Egress {
    pub(super) outlet: Outlet,
    pub(super) reader: Arc<dyn Reader>,
    /// Events that wait for room in the queue. While there are any, the upstream is not read.
    pub(super) blocked: Vec<Waiting>,
    /// How the queue received the last events, if not all were accepted, until the pump has acted on it.
    offer: Offer,
    encoder: Encoder,
    /// All events of the last read are in the queue, which reported nothing else to the pump.
    pub(super) quiet: bool,
    /// When something was last written, heartbeats included.
    pub(super) last_push: Instant,
    pub(super) clocks: ClientClocks,
    /// How long the stream is silent before a heartbeat is sent; zero turns heartbeats off.
    heartbeat: Length,
    /// Heartbeats sent.
    pub(super) heartbeats: u64,
    /// The number of takes by the client that the outlet has reported.
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
            heartbeat: Length::of(heartbeat),
            heartbeats: 0,
            seen: 0,
        }
    }

    /// Returns the encoder of the client.
    pub(super) const fn encoder(&self) -> Encoder {
        self.encoder
    }

    /// Adopts the dialect and the framing that the upstream turned out to use. Only the first events change them.
    #[expect(
        clippy::inline_always,
        reason = "a call for each event costs 10 instructions"
    )]
    #[inline(always)]
    pub(super) fn follow(&mut self, dialect: Dialect, framing: Framing) {
        if self.encoder.follow(dialect, framing) {
            self.outlet.set_encoder(self.encoder);
        }
    }

    /// Opens the outlet for the events of a read of `bytes` bytes, which `run` delivers. `meter` counts the events;
    /// `None` if they were counted before.
    #[inline]
    pub(super) fn deliver<T>(
        &mut self,
        meter: Option<&mut Meter>,
        bytes: usize,
        now: Instant,
        run: impl FnOnce(&mut Delivery<'_, '_>) -> T,
    ) -> (Delivered, T) {
        let mut pushing = self.outlet.pushing(bytes, now);
        let mut delivery = Delivery::new(&mut pushing, self.encoder, meter, &mut self.blocked, now);
        let ran = run(&mut delivery);
        let counted = delivery.counted();
        let outcome = pushing.done(counted.events);
        let delivered = Delivered {
            counted,
            waiting_since: outcome.waiting_since,
            alarmed: outcome.alarmed,
        };
        (delivered, ran)
    }

    /// Offers the waiting events to the queue again.
    pub(super) fn retry(&mut self, now: Instant) {
        self.last_push = now;
        let waiting = std::mem::take(&mut self.blocked);
        let (delivered, ()) = self.deliver(None, 0, now, |delivery| {
            for event in waiting {
                delivery.again(event);
            }
        });
        self.accept(&delivered);
    }

    /// Puts the events that wait outside into the queue, because they are the end of the stream: there is no other time
    /// for them, and they take no more memory there.
    pub(super) fn push_rest(&mut self, now: Instant) {
        let waiting = std::mem::take(&mut self.blocked);
        if waiting.is_empty() {
            return;
        }
        let (delivered, ()) = self.deliver(None, 0, now, |delivery| {
            for event in &waiting {
                delivery.at_last(event);
            }
        });
        self.accept(&delivered);
    }

    /// Records the result of a delivery.
    pub(super) fn accept(&mut self, delivered: &Delivered) {
        if delivered.counted.offer != Offer::Accepted {
            self.offer = delivered.counted.offer;
        }
        self.quiet = !delivered.alarmed && self.blocked.is_empty();
        self.note_waiting(delivered.waiting_since);
    }

    /// Reports whether the overflow rule has ended the stream.
    pub(super) fn is_disconnected(&self) -> bool {
        self.offer == Offer::Disconnect
    }

    /// Takes the result of the last offers, and resets it.
    pub(super) const fn take_offer(&mut self) -> Offer {
        std::mem::replace(&mut self.offer, Offer::Accepted)
    }

    /// Records that data has waited for the client since `since`. Data that the connection still writes counts as
    /// progress.
    pub(super) fn note_waiting(&mut self, since: Option<Instant>) {
        // `None` is less than any time; of two times, the later one counts.
        self.clocks
            .note_waiting(since.max(self.reader.last_progress()));
    }

    /// Records what waits for the client, according to its queue.
    pub(super) fn note_status(&mut self, status: &Status) {
        let holds = self.reader.may_hold();
        self.note_waiting(status.waits_since(holds));
    }

    /// Sends a heartbeat, unless other data waits for the client anyway. Returns whether it was sent.
    pub(super) fn beat(&mut self, now: Instant) -> bool {
        self.last_push = now;
        let sent = self.outlet.heartbeat(now);
        self.heartbeats += u64::from(sent);
        sent
    }

    /// Returns when the next heartbeat is due; `None` if heartbeats are off.
    pub(super) fn next_heartbeat(&self) -> Option<Instant> {
        (self.heartbeat > Length::ZERO).then(|| self.last_push + self.heartbeat.get())
    }
}
