//! Delivers the events of one read from the pipeline to the outlet, under a single lock of the queue.

use std::borrow::Cow;

use tokio::time::Instant;

use super::outlet::Pushing;
use crate::encode::Encoder;
use crate::event::{Content, Event};
use crate::queue::{LARGE_BYTES, Offer};
use crate::stream::meter::Meter;
use crate::stream::pipeline::{Sink, is_content};
use crate::stream::pump::pause::TURN_WORK;

/// The least that an event costs, as a number of bytes read: many small events take as long as larger ones.
const EVENT_BYTES: usize = 128;

/// An event that waits for room in the queue, already encoded for the client.
pub(super) struct Waiting {
    block: Vec<u8>,
    pub(super) event: Event,
}

/// The sink of the pipeline: meters the events that arrive, encodes those that the client may see, and offers them
/// to the queue.
pub(super) struct Delivery<'a, 'q> {
    /// Lent, because to move it would copy it with every read.
    pushing: &'a mut Pushing<'q>,
    encoder: Encoder,
    /// Counts the events; `None` if they were counted before.
    meter: Option<&'a mut Meter>,
    blocked: &'a mut Vec<Waiting>,
    now: Instant,
    events: usize,
    /// How many bytes of a compressed body were decoded.
    decoded: usize,
    /// How much work there is in a turn.
    pub(super) turn: usize,
    content: bool,
    offer: Offer,
}

/// What was delivered.
pub(super) struct Counted {
    /// How many events arrived.
    pub(super) events: usize,
    /// What the delivery cost, as a number of bytes read.
    pub(super) work: usize,
    pub(super) turn_is_over: bool,
    /// Whether any of them had content.
    pub(super) content: bool,
    /// How the queue received the last event.
    pub(super) offer: Offer,
}

/// The result of a delivery.
pub(super) struct Delivered {
    pub(super) counted: Counted,
    pub(super) waiting_since: Option<Instant>,
    /// The client has left, or the queue was alarmed: the pump must check more than its upstream.
    pub(super) alarmed: bool,
}

impl Sink for Delivery<'_, '_> {
    fn arrived(&mut self, block: &[u8], event: &Event) {
        self.events += 1;
        self.content |= is_content(event);
        if let Some(meter) = &mut self.meter {
            meter.observe(block, event, self.now);
        }
    }

    fn leaves(&mut self, block: &[u8], event: &Event) {
        self.note_visible(event);
        self.offer(self.encoder.event(block, event), event);
    }

    #[expect(
        clippy::inline_always,
        reason = "a call for each event costs 10 instructions"
    )]
    #[inline(always)]
    fn passes(&mut self, block: Cow<'_, [u8]>, event: &Event) {
        // Nothing is hidden, so the first text is also the first visible text.
        self.arrived(&block, event);
        match block {
            Cow::Owned(block) if block.len() > LARGE_BYTES => self.offer_large(block, event),
            block => self.offer(self.encoder.event(&block, event), event),
        }
    }

    fn leaves_owned(&mut self, block: Vec<u8>, event: &Event) {
        self.note_visible(event);
        if block.len() > LARGE_BYTES {
            self.offer_large(block, event);
        } else {
            self.offer(self.encoder.event(&block, event), event);
        }
    }

    fn defers_large(&self) -> bool {
        true
    }

    fn decoded(&mut self, bytes: usize) {
        self.decoded += bytes;
    }

    /// Nothing more is taken while an event waits outside the queue, and after a turn's work.
    fn has_room(&self) -> bool {
        self.blocked.is_empty() && self.work() <= self.turn
    }
}

impl<'a, 'q> Delivery<'a, 'q> {
    pub(super) const fn new(
        pushing: &'a mut Pushing<'q>,
        encoder: Encoder,
        meter: Option<&'a mut Meter>,
        blocked: &'a mut Vec<Waiting>,
        now: Instant,
    ) -> Self {
        Self {
            pushing,
            encoder,
            meter,
            blocked,
            now,
            events: 0,
            decoded: 0,
            turn: TURN_WORK,
            content: false,
            offer: Offer::Accepted,
        }
    }

    fn note_visible(&mut self, event: &Event) {
        if event.content == Content::Token
            && let Some(meter) = &mut self.meter
        {
            meter.first_visible.get_or_insert(self.now);
        }
    }

    /// Offers an event again that had to wait.
    pub(super) fn again(&mut self, waiting: Waiting) {
        let Waiting { block, event } = waiting;
        self.offer_large(block, &event);
    }

    /// Adds an event that had to wait, at the end of the stream, whether or not there is room.
    pub(super) fn at_last(&mut self, waiting: &Waiting) {
        self.pushing.push_over(&waiting.block, &waiting.event);
    }

    /// Like [`Delivery::offer`], without a copy if the queue is empty or the event has to wait.
    fn offer_large(&mut self, mut block: Vec<u8>, event: &Event) {
        if self.offer == Offer::Disconnect {
            return;
        }
        if self.blocked.is_empty() {
            self.offer = if block.len() > LARGE_BYTES {
                self.pushing.push_large(&mut block, event)
            } else {
                self.pushing.push(&block, event)
            };
            if matches!(self.offer, Offer::Accepted | Offer::Disconnect) {
                return;
            }
        }
        let event = *event;
        self.blocked.push(Waiting { block, event });
    }

    /// Offers an event to the queue, or puts it behind the events that already wait.
    #[expect(
        clippy::inline_always,
        reason = "a call for each event costs 10 instructions"
    )]
    #[inline(always)]
    fn offer(&mut self, block: &[u8], event: &Event) {
        if self.offer == Offer::Disconnect {
            return;
        }
        if self.blocked.is_empty() {
            self.offer = self.pushing.push(block, event);
            if matches!(self.offer, Offer::Accepted | Offer::Disconnect) {
                return;
            }
        }
        self.blocked.push(Waiting {
            block: block.into(),
            event: *event,
        });
    }

    fn work(&self) -> usize {
        self.decoded.max(self.events * EVENT_BYTES)
    }

    /// Returns what was delivered, as far as the outlet does not say it when the push ends.
    pub(super) fn counted(&self) -> Counted {
        let work = self.work();
        Counted {
            events: self.events,
            work,
            turn_is_over: work > self.turn,
            content: self.content,
            offer: self.offer,
        }
    }
}
