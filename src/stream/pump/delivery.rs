//! Delivers the events of one read from the pipeline to the outlet, under a single lock of the queue.

use tokio::time::Instant;

use crate::encode::Encoder;
use crate::event::{Content, Event};
use crate::queue::{Offer, Pushing};
use crate::stream::meter::Meter;
use crate::stream::pipeline::{Sink, is_content};

/// An event that waits for room in the queue, already encoded for the client.
pub(super) struct Waiting {
    block: Box<[u8]>,
    pub(super) event: Event,
}

/// The sink of the pipeline: meters the events that arrive, encodes those that the client may see, and offers them
/// to the queue.
pub(super) struct Delivery<'a> {
    pushing: Pushing<'a>,
    encoder: Encoder,
    /// Counts the events; `None` if they were counted before.
    meter: Option<&'a mut Meter>,
    blocked: &'a mut Vec<Waiting>,
    now: Instant,
    events: usize,
    content: bool,
    offer: Offer,
}

/// The result of a delivery.
pub(super) struct Delivered {
    /// How many events arrived.
    pub(super) events: usize,
    /// Whether any of them had content.
    pub(super) content: bool,
    /// How the queue received the last event.
    pub(super) offer: Offer,
    pub(super) waiting_since: Option<Instant>,
    /// The client has left, or the queue was alarmed: the pump must check more than its upstream.
    pub(super) alarmed: bool,
}

impl Sink for Delivery<'_> {
    fn arrived(&mut self, block: &[u8], event: &Event) {
        self.events += 1;
        self.content |= is_content(event);
        if let Some(meter) = &mut self.meter {
            meter.observe(block, event, self.now);
        }
    }

    fn leaves(&mut self, block: &[u8], event: &Event) {
        if event.content == Content::Token
            && let Some(meter) = &mut self.meter
        {
            meter.first_visible.get_or_insert(self.now);
        }
        self.offer(self.encoder.event(block, event), event);
    }

    fn passes(&mut self, block: &[u8], event: &Event) {
        // Nothing is hidden, so the first text is also the first visible text.
        self.arrived(block, event);
        self.offer(self.encoder.event(block, event), event);
    }
}

impl<'a> Delivery<'a> {
    pub(super) const fn new(
        pushing: Pushing<'a>,
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
            content: false,
            offer: Offer::Accepted,
        }
    }

    /// Offers an event again that had to wait.
    pub(super) fn again(&mut self, waiting: Waiting) {
        let Waiting { block, event } = waiting;
        self.offer(&block, &event);
    }

    /// Offers an event to the queue, or puts it behind the events that already wait.
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

    /// Ends the delivery.
    pub(super) fn done(self) -> Delivered {
        let outcome = self.pushing.done(self.events);
        Delivered {
            events: self.events,
            content: self.content,
            offer: self.offer,
            waiting_since: outcome.waiting_since,
            alarmed: outcome.alarmed,
        }
    }
}
