//! A viewer, as the hub sees it: its queue, and what it still has to get from the journal.

use std::task::Waker;

use tokio::time::Instant;

use super::shares::Shares;
use super::{Hub, OVERFLOW_GRACE};
use crate::encode::{Encoder, write_with_id};
use crate::event::Class;
use crate::journal::{Journal, Kept, own_id};
use crate::queue::{Close, Counts, LARGE_BYTES, Overflow, Pushing, Sender};
use crate::wire::Framing;

/// The largest piece of the journal that is copied at a time, while the hub is locked and its thread does nothing else.
/// More than [`LARGE_BYTES`], which a reader takes over without another copy.
const PIECE_BYTES: usize = LARGE_BYTES + LARGE_BYTES / 2;

/// A viewer, as the hub sees it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: u32,
    pub(super) queue: Sender,
    /// When something was last pushed, heartbeats included.
    pub(super) pushed_at: Instant,
    /// What it was offered of the current read: events and bytes.
    pub(super) offered: (u64, u64),
    /// The number of the next event that the viewer gets from the journal; `None` while it keeps up.
    behind: Option<u64>,
    /// The viewer has kept up before: what it asked for when it came is not dropped.
    was_live: bool,
    /// Since when it is behind, or since when it has had the last piece.
    fell_at: Instant,
    /// What it has missed and not been told yet: events and characters.
    missed: (u64, u64),
    /// The viewer would have missed a critical event: its stream must end.
    pub(super) lost: bool,
    /// The viewer's stream was ended before it had everything.
    is_cut: bool,
    /// Wakes its task.
    pub(super) task: Option<Waker>,
    /// How many takes its task has seen.
    pub(super) seen: u64,
    /// How many events it got from the journal, and in how many pieces.
    pub(super) replayed: u64,
    pieces: u64,
    missed_by_class: [u64; Class::ALL.len()],
}

impl Slot {
    /// Creates the slot of a viewer that gets the events from `behind` on from the journal, or keeps up from the start.
    pub(super) fn new(number: u32, queue: Sender, behind: Option<u64>, now: Instant) -> Self {
        Self {
            number,
            queue,
            pushed_at: now,
            offered: (0, 0),
            behind,
            was_live: behind.is_none(),
            fell_at: now,
            missed: (0, 0),
            lost: false,
            is_cut: false,
            task: None,
            seen: 0,
            replayed: 0,
            pieces: 0,
            missed_by_class: [0; Class::ALL.len()],
        }
    }

    pub(super) const fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Reports whether the viewer gets events as they come.
    pub(super) const fn is_live(&self) -> bool {
        self.behind.is_none() && !self.is_cut
    }

    /// Reports whether the viewer was the first of its stream.
    pub(super) const fn is_first(&self) -> bool {
        self.number == 1
    }

    /// Ends a read: wakes the viewer's response, if it was offered something. `locked`: its queue, if that is locked.
    pub(super) fn end_read(&mut self, locked: Option<Pushing<'_>>, now: Instant) {
        let (events, bytes) = std::mem::take(&mut self.offered);
        if events > 0 {
            match locked {
                Some(queue) => queue.offered(events, bytes),
                None => self.queue.offered(events, bytes, now),
            }
            self.pushed_at = now;
        }
    }

    /// Reports whether the viewer still has to get the event with this number from the journal.
    pub(super) fn needs(&self, seq: u64) -> bool {
        !self.lost && self.behind.is_some_and(|next| next <= seq)
    }

    /// Notes that the viewer gets this event and all that follow from the journal. Returns whom to wake.
    pub(super) const fn fall_behind(&mut self, seq: u64, now: Instant) -> Option<Waker> {
        self.behind = Some(seq);
        self.fell_at = now;
        self.was_live = true;
        self.task.take()
    }

    /// Notes that the viewer misses an event that was evicted.
    pub(super) fn miss(&mut self, seq: u64, kept: &Kept<'_>) {
        self.behind = Some(seq + 1);
        self.missed.0 += 1;
        self.missed.1 += characters(kept.text);
        if let Some(count) = self.missed_by_class.get_mut(kept.class.index()) {
            *count += 1;
        }
    }

    /// Notes that the viewer would miss a critical event.
    pub(super) const fn lose(&mut self) {
        self.lost = true;
    }

    /// Ends a viewer whose events are all evicted.
    pub(super) const fn lose_behind(&mut self) {
        self.lost |= self.behind.is_some();
    }

    /// Ends a viewer that takes nothing (`overflow: disconnect`). Returns whether it must end.
    pub(super) fn lose_if_slow(&mut self, now: Instant) -> bool {
        self.lost |=
            self.was_live && self.is_behind() && now.duration_since(self.fell_at) > OVERFLOW_GRACE;
        self.lost
    }

    /// Ends the viewer's stream, after the block `last` if there is one. What waits for it is discarded.
    pub(super) fn end_early(&mut self, how: Close, last: Option<&[u8]>, now: Instant) {
        self.behind = None;
        self.lost = false;
        self.is_cut = true;
        self.queue.end_early(how, last, now);
    }

    pub(super) fn wake_if_lost(&mut self) -> Option<Waker> {
        self.lost.then(|| self.task.take()).flatten()
    }

    /// Adds what the viewer has taken and missed.
    pub(super) fn add_counts(&self, sum: &mut Counts) {
        let counts = self.queue.status().counts;
        sum.max_bytes = sum.max_bytes.max(counts.max_bytes);
        sum.taken_bytes += counts.taken_bytes;
        sum.merged += counts.merged;
        let add = |sum: &mut [u64], counts: &[u64]| {
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        };
        add(&mut sum.taken, &counts.taken);
        add(&mut sum.dropped, &counts.dropped);
        add(&mut sum.unsent, &counts.unsent);
        add(&mut sum.dropped, &self.missed_by_class);
        // A piece counts as one event in its queue.
        if let Some(opaque) = sum.taken.get_mut(Class::Opaque.index()) {
            *opaque = (*opaque + self.replayed).saturating_sub(self.pieces);
        }
    }

    /// Writes the next events of the journal into the queue, if the viewer has taken all before.
    pub(super) fn catch_up(&mut self, hub: &Hub, state: &Source<'_>, now: Instant) {
        let Some(mut next) = self.behind else {
            return;
        };
        if self.lost || self.queue.status().events > 0 {
            return;
        }
        let limits = hub.settings.limits;
        let slow = self.was_live && now.duration_since(self.fell_at) > OVERFLOW_GRACE;
        let mut excess = if slow && limits.overflow == Overflow::DropOldest {
            state.excess(next, limits.max_events, limits.max_bytes)
        } else {
            (0, 0)
        };
        let several = hub.settings.has_agents && excess != (0, 0);
        let mut shares = several.then(|| state.shares(next, excess));
        let ids = hub.ids(state.encoder);
        let numbers = state.encoder.framing() == Framing::Sse;
        let max = PIECE_BYTES.min(limits.max_bytes);
        let mut piece = Vec::new();
        for (seq, kept) in state.journal.events(next - 1) {
            let may_go = excess.0 + excess.1 > 0 && kept.class.is_droppable();
            if may_go && (shares.as_mut()).is_none_or(|shares| shares.takes(&kept)) {
                excess.0 = excess.0.saturating_sub(1);
                excess.1 = excess.1.saturating_sub(kept.block.len());
                self.miss(seq, &kept);
                next = seq + 1;
                continue;
            }
            if !piece.is_empty() && piece.len() + kept.block.len() > max {
                break;
            }
            let (events, chars) = std::mem::take(&mut self.missed);
            if events > 0 {
                let notice = state.encoder.drop_notice(events, chars);
                piece.extend_from_slice(notice.as_bytes());
            }
            match &ids {
                Some(ids) if !numbers || own_id(kept.block).is_none() => {
                    write_with_id(ids, seq, kept.block, &mut piece);
                }
                _ => piece.extend_from_slice(kept.block),
            }
            self.replayed += 1;
            next = seq + 1;
        }
        if next > state.journal.last() && state.close.is_some() && self.missed.0 > 0 {
            let (events, chars) = std::mem::take(&mut self.missed);
            piece.extend_from_slice(state.encoder.drop_notice(events, chars).as_bytes());
        }
        if !piece.is_empty() {
            self.pieces += 1;
            self.pushed_at = now;
            self.queue.replay(piece, now);
        }
        self.fell_at = now;
        let caught_up = next > state.journal.last();
        self.behind = (!caught_up).then_some(next);
        if caught_up {
            self.was_live = true;
            if let Some(how) = state.close {
                self.queue.close(how, state.untold, now);
            }
        }
    }
}

/// What a viewer catches up from.
pub(super) struct Source<'a> {
    pub(super) journal: &'a Journal,
    pub(super) encoder: Encoder,
    pub(super) close: Option<Close>,
    pub(super) untold: Option<&'a [u8]>,
}

impl Source<'_> {
    /// Shares out what must go from `next` on among several agents.
    fn shares(&self, next: u64, excess: (usize, usize)) -> Shares {
        let events = self.journal.events(next - 1).map(|(_, kept)| kept);
        let droppable = events.filter(|kept| kept.class.is_droppable());
        let sizes = droppable.map(|kept| (kept.agent, kept.block.len()));
        Shares::new(sizes, excess)
    }

    /// Returns how many events and bytes from `next` on exceed what a queue may hold.
    fn excess(&self, next: u64, max_events: usize, max_bytes: usize) -> (usize, usize) {
        let (mut events, mut bytes) = (0_usize, 0_usize);
        for (_, kept) in self.journal.events(next - 1) {
            events += 1;
            bytes += kept.block.len();
        }
        (
            events.saturating_sub(max_events),
            bytes.saturating_sub(max_bytes),
        )
    }
}

/// Characters of a raw JSON string body, about: escapes count as they are written.
fn characters(raw: &[u8]) -> u64 {
    let starts = |byte: &&u8| **byte & 0xC0 != 0x80;
    raw.iter().filter(starts).count() as u64
}
