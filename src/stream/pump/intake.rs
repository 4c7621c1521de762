//! What the reads of one stream bring, on its way from the upstream's buffer into the queue.

use std::sync::Arc;

use tokio::time::Instant;

use super::api::{Arrived, Observer, Reader};
use crate::event::{Content, Event};
use crate::queue::{Offer, Pushing, Sender};
use crate::stream::deadline::Table;
use crate::stream::meter::Meter;
use crate::stream::pipeline::{Fault, Pipeline, Sink, Verdict, is_content};

/// What an event takes of its thread's time at least, in bytes read.
const EVENT_BYTES: usize = 128;

/// Everything that a read touches.
#[repr(C)]
pub(super) struct Intake {
    pub(super) queue: Sender,
    pub(super) reader: Arc<dyn Reader>,
    pub(super) observer: Box<dyn Observer>,
    /// Events that wait for room: nothing is read while there are any.
    pub(super) blocked: Vec<Waiting>,
    /// What the queue said of the last event offered to it, until the pump has acted on it.
    pub(super) offer: Offer,
    /// What was read is no stream.
    pub(super) fault: Option<Fault>,
    /// All of it is in the queue, and nobody there had anything else to tell.
    pub(super) quiet: bool,
    /// Events of the last read.
    pub(super) events: usize,
    /// Bytes read since the pump last waited; small events count as larger ones.
    pub(super) share: u64,
    pub(super) last_push: Instant,
    pub(super) last_read: Instant,
    pub(super) table: Table,
    pub(super) pipeline: Pipeline,
    pub(super) meter: Meter,
}

/// An event that waits for room.
pub(super) struct Waiting {
    block: Box<[u8]>,
    pub(super) event: Event,
}

impl Intake {
    /// One read returned these bytes. They are gone when this returns: what must stay is copied.
    pub(super) fn take_in(&mut self, bytes: &[u8]) {
        if self.fault.is_some() || self.offer == Offer::Disconnect {
            return;
        }
        let now = Instant::now();
        let (pipeline, mut taking) = self.taking(bytes.len(), now);
        let fault = pipeline.feed(bytes, &mut taking);
        let taken = taking.done();
        self.fault = fault.err();
        self.share += bytes.len().max(taken.events * EVENT_BYTES) as u64;
        self.meter.bytes_in += bytes.len() as u64;
        self.note(&taken, now);
    }

    /// The upstream's body is over, well or not; says what that means.
    pub(super) fn finish(&mut self, now: Instant) -> Verdict {
        let (pipeline, mut taking) = self.taking(0, now);
        let verdict = pipeline.finish(&mut taking);
        let taken = taking.done();
        self.note(&taken, now);
        verdict
    }

    /// What was held back goes out: nothing more will come.
    pub(super) fn flush(&mut self, now: Instant) {
        let (pipeline, mut taking) = self.taking(0, now);
        pipeline.flush(&mut taking);
        let taken = taking.done();
        self.accept(&taken);
    }

    /// Once more to the queue with what waits outside.
    pub(super) fn unblock(&mut self, now: Instant) {
        if self.blocked.is_empty() {
            return;
        }
        self.last_push = now;
        let waiting = std::mem::take(&mut self.blocked);
        let mut taking = Taking::new(&self.queue, None, &mut self.blocked, 0, now);
        for Waiting { block, event } in waiting {
            taking.offer(&block, &event);
        }
        let taken = taking.done();
        self.accept(&taken);
    }

    /// Something waits since `since`; what the connection still takes counts as progress.
    pub(super) fn note_waiting(&mut self, since: Option<Instant>) {
        // In that order: nothing, or something of either, or of both, of which the later counts.
        self.table
            .note_waiting(since.max(self.reader.last_progress()));
    }

    fn taking(&mut self, bytes: usize, now: Instant) -> (&mut Pipeline, Taking<'_>) {
        let meter = Some(&mut self.meter);
        let taking = Taking::new(&self.queue, meter, &mut self.blocked, bytes, now);
        (&mut self.pipeline, taking)
    }

    fn note(&mut self, taken: &Taken, now: Instant) {
        self.table.note_read(now);
        if taken.content {
            self.table.note_content(now);
        }
        if taken.events > 0 {
            self.last_push = now;
        }
        self.events = taken.events;
        let gap = self.meter.end_read(self.pipeline.take_heartbeats(), now);
        self.observer.read(Arrived {
            meter: &self.meter,
            events: taken.events,
            gap,
            last: self.last_read,
            now,
            dialect: self.pipeline.dialect(),
        });
        self.last_read = now;
        self.accept(taken);
    }

    fn accept(&mut self, taken: &Taken) {
        if taken.offer != Offer::Accepted {
            self.offer = taken.offer;
        }
        self.quiet = !taken.alarmed && self.blocked.is_empty();
        self.note_waiting(taken.waiting_since);
    }
}

/// Events on their way in: all of a read under one lock of the queue.
struct Taking<'a> {
    pushing: Pushing<'a>,
    /// Counts them; `None` if they were counted before.
    meter: Option<&'a mut Meter>,
    blocked: &'a mut Vec<Waiting>,
    now: Instant,
    events: usize,
    content: bool,
    offer: Offer,
}

/// What became of them.
struct Taken {
    events: usize,
    /// One of them had something for the reader of the answer.
    content: bool,
    offer: Offer,
    waiting_since: Option<Instant>,
    alarmed: bool,
}

impl Sink for Taking<'_> {
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
        self.offer(block, event);
    }

    fn passes(&mut self, block: &[u8], event: &Event) {
        // Everything is seen: the first text is the first visible one.
        self.arrived(block, event);
        self.offer(block, event);
    }
}

impl<'a> Taking<'a> {
    fn new(
        queue: &'a Sender,
        meter: Option<&'a mut Meter>,
        blocked: &'a mut Vec<Waiting>,
        bytes: usize,
        now: Instant,
    ) -> Self {
        Self {
            pushing: queue.pushing(bytes, now),
            meter,
            blocked,
            now,
            events: 0,
            content: false,
            offer: Offer::Accepted,
        }
    }

    /// To the queue, or behind those that wait already.
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

    fn done(self) -> Taken {
        let outcome = self.pushing.done(self.events);
        Taken {
            events: self.events,
            content: self.content,
            offer: self.offer,
            waiting_since: outcome.waiting_since,
            alarmed: outcome.alarmed,
        }
    }
}
