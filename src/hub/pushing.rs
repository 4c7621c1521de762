//! Pushes the events of one read into a hub: to the queue of each viewer, the journal, and the tap.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::task::Waker;

use tokio::time::Instant;

use super::{Hub, State, wake};
use crate::event::Event;
use crate::journal::own_id;
use crate::queue::{self, Offer, PushOutcome};

/// Maximum number of bytes that go to the queue of a lone viewer before the journal and the tap get them.
const MOST_PUT: usize = 16 * 1024;

/// Pushes the events of one read. The hub stays locked meanwhile.
#[derive(Debug)]
pub struct Pushing<'a> {
    hub: &'a Hub,
    state: MutexGuard<'a, State>,
    /// The queue of the first viewer, locked for the whole read, if that one keeps up.
    first: Option<queue::Pushing<'a>>,
    may_have_ids: bool,
    /// The number of events that are in that queue and not yet in the journal, while that viewer is alone.
    put: usize,
    /// How many bytes more may be put there, if each event counts as one more than its block. Zero if another viewer of
    /// this process gets the events, too.
    may_put: usize,
    /// As much as that was at first.
    most_put: usize,
    bytes: usize,
    now: Instant,
    /// Whom to wake at the end.
    fell: Vec<Waker>,
}

impl<'a> Pushing<'a> {
    /// Locks the hub for the events of a read of `bytes` bytes.
    #[expect(clippy::inline_always, reason = "runs once a read")]
    #[inline(always)]
    pub(super) fn new(hub: &'a Hub, bytes: usize, now: Instant) -> Self {
        let state = hub.lock();
        let first = state.viewers.first().filter(|slot| slot.is_first());
        let first = first
            .filter(|slot| slot.is_live())
            .and_then(|_| hub.first.get())
            .map(|feed| feed.pushing(bytes, now));
        let is_alone = first.is_some() && state.viewers.len() == 1;
        let bounds = &hub.settings.bounds;
        // Each event counts as one byte more than its block, so no more events than fit are put.
        let most_put = MOST_PUT.min(bounds.max_bytes).min(bounds.max_events);
        Self {
            hub,
            // The first events may show another dialect than expected, which decides when they are taken.
            may_have_ids: state.has_ids || state.is_fresh,
            state,
            first,
            put: 0,
            may_put: if is_alone { most_put } else { 0 },
            most_put,
            bytes,
            now,
            fell: Vec::new(),
        }
    }

    /// Offers the next event.
    #[inline]
    pub fn push(&mut self, block: &[u8], event: &Event) -> Offer {
        if block.len() < self.may_put && self.put(block, event) {
            return Offer::Accepted;
        }
        self.push_for_all(block, event)
    }

    /// Puts an event into the queue of the viewer that is alone, from where journal and tap get it with the others of
    /// the read. Returns whether it was put: neither does it have to be merged, nor is it large. Nobody is behind then,
    /// so the journal evicts what is older than these events without asking.
    #[inline]
    fn put(&mut self, block: &[u8], event: &Event) -> bool {
        let numbered = if self.may_have_ids {
            self.number(block, self.state.journal.last() + self.put as u64 + 1)
        } else {
            0
        };
        let Some(queue) = &mut self.first else {
            return false;
        };
        if self.put == 0 {
            if block.len() > self.bytes / 2 {
                // Most probably it is the only one.
                let is_put = queue.put(block, event, numbered);
                if is_put {
                    self.keep_at_once(block, event);
                }
                return is_put;
            }
            queue.expect_more();
        }
        let is_put = queue.put(block, event, numbered);
        if is_put {
            self.put += 1;
            self.may_put -= block.len() + 1;
        }
        is_put
    }

    /// Writes an event into the journal that was put into the queue, and hands it to the tap.
    #[inline]
    fn keep_at_once(&mut self, block: &[u8], event: &Event) {
        let state = &mut *self.state;
        if !state.journal.fits(block.len()) {
            state.evicted += state.journal.make_room(1, block.len());
        }
        let seq = state.journal.append(block, event);
        if let Some(tapped) = &mut state.tap {
            tapped.note(block, event.class, seq, false);
        }
        if let Some(slot) = state.viewers.first_mut() {
            slot.offered.0 += 1;
            slot.offered.1 += block.len() as u64;
        }
    }

    /// Returns the number that the event gets as its id; zero if it has none from Weir.
    fn number(&self, block: &[u8], seq: u64) -> u64 {
        if self.may_have_ids && own_id(block).is_none() {
            seq
        } else {
            0
        }
    }

    /// Writes into the journal what was put into the queue and is not there yet, and hands it to the tap.
    #[inline]
    fn settle_put(&mut self) {
        if self.put > 0 {
            self.keep_together();
        }
    }

    #[inline(never)]
    fn keep_together(&mut self) {
        let events = std::mem::take(&mut self.put);
        let left = std::mem::replace(&mut self.may_put, self.most_put);
        let bytes = self.most_put - left - events;
        let state = &mut *self.state;
        if let Some(queue) = &self.first {
            state.evicted += state.journal.make_room(events, bytes);
            let (blocks, briefs) = queue.newest(events);
            state.journal.append_all(blocks, briefs.clone());
            if let Some(tapped) = &mut state.tap {
                tapped.hand_on(state.journal.last(), blocks, briefs);
            }
            if let Some(slot) = state.viewers.first_mut() {
                slot.offered.0 += events as u64;
                slot.offered.1 += bytes as u64;
            }
        }
    }

    /// Offers an event that cannot only be put into the queue of the viewer that is alone.
    #[inline(never)]
    fn push_for_all(&mut self, block: &[u8], event: &Event) -> Offer {
        self.settle_put();
        let (state, settings) = (&mut *self.state, &self.hub.settings);
        if !state.has_room(block.len(), settings)
            && let Some(offer) = state.make_room(block.len(), settings, self.now)
        {
            return offer;
        }
        self.append(block, event);
        Offer::Accepted
    }

    /// Adds an event at the end of a stream, whether or not there is room.
    #[inline(never)]
    pub fn push_over(&mut self, block: &[u8], event: &Event) {
        self.settle_put();
        while !self.state.journal.fits(block.len()) && self.state.evict_for_others() {}
        self.append(block, event);
    }

    /// Writes an event into the journal, and hands it to all who get it.
    fn append(&mut self, block: &[u8], event: &Event) {
        let seq = self.state.journal.append(block, event);
        let numbered = self.number(block, seq);
        let state = &mut *self.state;
        let more = (block.len() <= self.bytes / 2).then_some(self.bytes);
        if let Some(tapped) = &mut state.tap {
            tapped.note(block, event.class, seq, more.is_some());
        }
        for slot in state.viewers.iter_mut().filter(|slot| slot.is_live()) {
            let locked = self.first.as_mut().filter(|_| slot.is_first());
            if more.is_some() || locked.is_some() {
                slot.offered.0 += 1;
                slot.offered.1 += block.len() as u64;
            } else {
                slot.pushed_at = self.now;
            }
            let accepted = match locked {
                Some(queue) => queue.offer(block, event, numbered),
                None => slot.queue.offer(block, event, numbered, more, self.now),
            };
            if !accepted {
                (self.may_put, self.most_put) = (0, 0);
                self.fell.extend(slot.fall_behind(seq, self.now));
            }
        }
    }

    /// Ends the push.
    #[expect(clippy::inline_always, reason = "runs once a read")]
    #[inline(always)]
    pub fn done(mut self) -> PushOutcome {
        self.settle_put();
        let alarmed = self.hub.alarmed.load(Ordering::Acquire)
            && self.hub.alarmed.swap(false, Ordering::AcqRel);
        let left = self.state.left.is_some();
        let last = self.state.journal.last();
        if let Some(tapped) = &mut self.state.tap {
            tapped.flush(last);
        }
        self.state.is_fresh = false;
        for slot in &mut self.state.viewers {
            let locked = if slot.is_first() {
                self.first.take()
            } else {
                None
            };
            slot.end_read(locked, self.now);
        }
        if self.hub.settle(&mut self.state) {
            self.relieve();
        }
        if self.fell.is_empty() && !self.state.has_lost {
            drop(self.state);
        } else {
            self.finish_slowly();
        }
        PushOutcome {
            waiting_since: None,
            alarmed: alarmed || left,
        }
    }

    /// Makes room if the journals take far more than they may.
    #[inline(never)]
    fn relieve(&mut self) {
        if self.hub.budget.is_far_exceeded() {
            let target = self.state.journal.bytes() / 2;
            while self.state.journal.bytes() > target && self.state.evict_for_others() {
                self.state.evicted += 1;
            }
            self.hub.settle(&mut self.state);
        }
    }

    /// Wakes those whose tasks must act.
    #[inline(never)]
    fn finish_slowly(mut self) {
        self.state.has_lost = false;
        let lost = self.state.wake_lost();
        self.fell.extend(lost);
        let fell = std::mem::take(&mut self.fell);
        drop(self.state);
        wake(fell);
    }
}
