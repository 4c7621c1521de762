//! The viewers of a hub: they attach at a position, catch up, follow, and leave.

use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::shares::Shares;
use super::{Hub, Left, OVERFLOW_GRACE, State, wake};
use crate::encode::{Encoder, write_with_id};
use crate::event::Class;
use crate::journal::{Kept, own_id};
use crate::queue::{self, Close, Counts, Overflow, Probe, Receiver, Sender};
use crate::stream::end::End;
use crate::wire::Framing;

/// The largest piece of the journal that is copied at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// A viewer, as the hub sees it.
#[derive(Debug)]
pub(super) struct Slot {
    number: u32,
    pub(super) queue: Sender,
    /// When something was last pushed, heartbeats included.
    pub(super) pushed_at: Instant,
    /// What it was offered of the current read: events and bytes.
    pub(super) offered: (u64, u64),
    /// The number of the next event that the viewer gets from the journal; `None` while it keeps up.
    behind: Option<u64>,
    /// It has kept up before: what it asked for when it came is not dropped.
    was_live: bool,
    /// Since when it is behind, or since when it has had the last piece.
    fell_at: Instant,
    /// What it has missed and not been told yet: events and characters.
    missed: (u64, u64),
    /// It would have missed a critical event: its stream must end.
    lost: bool,
    /// Its stream was ended before it had everything.
    is_cut: bool,
    /// Wakes its task.
    task: Option<Waker>,
    /// How many takes its task has seen.
    seen: u64,
    /// How many events it got from the journal, and in how many pieces.
    replayed: u64,
    pieces: u64,
    missed_by_class: [u64; Class::ALL.len()],
}

/// A viewer that has attached.
#[derive(Debug)]
pub struct Attached {
    /// Its number among the viewers of its stream, from 1.
    pub number: u32,
    /// What its response reads from.
    pub receiver: Receiver,
    /// Observes its queue.
    pub probe: Probe,
    /// The position it continues from.
    pub after: u64,
    /// How many events are replayed before it follows.
    pub replay: u64,
}

/// Why nobody can attach at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are as many viewers as there may be.
    Full,
    /// The events after the position are not kept any more. This is the first one that is.
    Evicted(u64),
    /// There is no such event yet. This is the last one.
    Beyond(u64),
}

/// What a viewer's task has to know.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Its client has left.
    Gone(End),
    /// It follows.
    Follows {
        /// Since when data waits without being taken.
        waiting_since: Option<Instant>,
        /// When something was last sent, heartbeats included.
        pushed_at: Instant,
        /// Why its stream must end, although the stream itself may go on.
        ends: Option<End>,
    },
}

impl Slot {
    pub(super) const fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Reports whether the viewer gets events as they come.
    pub(super) const fn is_live(&self) -> bool {
        self.behind.is_none() && !self.is_cut
    }

    /// Ends a read: wakes the viewer's response, if it was offered something.
    pub(super) fn end_read(&mut self, now: Instant) {
        let (events, bytes) = std::mem::take(&mut self.offered);
        if events > 0 {
            self.queue.offered(events, bytes, now);
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
    fn catch_up(&mut self, hub: &Hub, state: &Source<'_>, now: Instant) {
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
struct Source<'a> {
    journal: &'a crate::journal::Journal,
    encoder: Encoder,
    close: Option<Close>,
    untold: Option<&'a [u8]>,
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

impl State {
    /// Takes the wakers of all viewers' tasks.
    pub(super) fn wake_viewers(&mut self) -> Vec<Waker> {
        let viewers = self.viewers.iter_mut();
        viewers.filter_map(|slot| slot.task.take()).collect()
    }

    /// Takes the wakers of the viewers whose streams must end.
    pub(super) fn wake_lost(&mut self) -> Vec<Waker> {
        let viewers = self.viewers.iter_mut();
        viewers.filter_map(Slot::wake_if_lost).collect()
    }

    /// Notes that nobody follows the stream any more, if that is so.
    pub(super) fn note_empty(&mut self, end: End) {
        if self.viewers.is_empty() && self.elsewhere.is_empty() && self.left.is_none() {
            let at = Instant::now();
            self.left = Some(Left { at, end });
        }
    }

    fn slot(&mut self, number: u32) -> Option<&mut Slot> {
        self.viewers.iter_mut().find(|slot| slot.number == number)
    }
}

impl Hub {
    /// Adds the first viewer. Nothing has been pushed yet.
    pub fn attach_first(&self, now: Instant) -> Attached {
        self.attach_first_after(0, now)
    }

    /// The same, for a stream of which nothing up to this number is kept here.
    pub fn attach_first_after(&self, after: u64, now: Instant) -> Attached {
        self.enter(&mut self.lock(), after, now)
    }

    /// Adds a viewer that has the events up to `after`.
    ///
    /// # Errors
    /// If there are too many viewers, or the position cannot be continued from.
    pub fn attach(&self, after: u64, now: Instant) -> Result<Attached, Refused> {
        let mut state = self.lock();
        if state.viewers.len() >= self.settings.max_viewers {
            return Err(Refused::Full);
        }
        let (first, last) = (state.journal.first(), state.journal.last());
        if after.saturating_add(1) < first {
            return Err(Refused::Evicted(first));
        }
        if after > last {
            return Err(Refused::Beyond(last));
        }
        let mut attached = self.enter(&mut state, after, now);
        attached.receiver.feed_elsewhere();
        // A pump that waits for the only viewer does not wait for one of two.
        state.changes += 1;
        let pump = state.pump_waits.then(|| state.pump.take()).flatten();
        drop(state);
        wake(pump);
        Ok(attached)
    }

    fn enter(&self, state: &mut State, after: u64, now: Instant) -> Attached {
        let last = state.journal.last();
        let (queue, receiver) =
            queue::gated(self.settings.limits, state.encoder, self.settings.gating);
        queue.set_ids(self.ids(state.encoder));
        if self.settings.has_agents {
            queue.share_fairly();
        }
        let behind = (after < last).then_some(after + 1);
        if let Some(how) = state.close
            && behind.is_none()
        {
            queue.close(how, None, now);
        }
        state.came += 1;
        state.left = None;
        let (number, probe) = (state.came, queue.probe());
        state.viewers.push(Slot {
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
        });
        Attached {
            number,
            receiver,
            probe,
            after,
            replay: last - after,
        }
    }

    /// Does what a viewer's task has to do: notices that the client has left, and gives the viewer what it is behind. The
    /// task is woken when there is more to do.
    pub fn poll_viewer(&self, number: u32, cx: &mut Context<'_>, now: Instant) -> Step {
        let mut guard = self.lock();
        let state = &mut *guard;
        let source = Source {
            journal: &state.journal,
            encoder: state.encoder,
            close: state.close,
            untold: state.untold.as_deref(),
        };
        let ends = state.ending;
        let Some(slot) = state.viewers.iter_mut().find(|slot| slot.number == number) else {
            return Step::Gone(End::ClientGone);
        };
        if !(slot.task.as_ref()).is_some_and(|task| task.will_wake(cx.waker())) {
            slot.task = Some(cx.waker().clone());
        }
        let takes = slot.is_behind() || state.close.is_some() || state.pump_waits;
        let mut took = false;
        // Registers before it looks, so that nothing is missed.
        while let Poll::Ready(()) = slot.queue.poll_change(cx, &mut slot.seen, takes) {
            let status = slot.queue.status();
            if status.reader_gone {
                let end = if status.reader_failed {
                    End::Panic
                } else {
                    End::ClientGone
                };
                return Step::Gone(end);
            }
            took = true;
        }
        slot.catch_up(self, &source, now);
        let status = slot.queue.status();
        let step = Step::Follows {
            waiting_since: status.waiting_since.max(status.handed_off),
            pushed_at: slot.pushed_at,
            ends: if slot.lost {
                Some(End::ClientStalled)
            } else {
                ends
            },
        };
        if took {
            state.slow = false;
            state.changes += 1;
        }
        let pump = (took && state.pump_waits)
            .then(|| state.pump.take())
            .flatten();
        drop(guard);
        wake(pump);
        step
    }

    /// Sends a heartbeat to a viewer for which nothing waits. Returns whether its dialect has one.
    pub fn heartbeat(&self, number: u32, now: Instant) -> bool {
        let mut state = self.lock();
        let Some(slot) = state.slot(number) else {
            return false;
        };
        slot.pushed_at = now;
        slot.queue.heartbeat(now)
    }

    /// Makes the streams of all viewers end for this reason.
    pub fn end_viewers(&self, end: End) {
        let mut state = self.lock();
        state.ending = Some(end);
        let wakers = state.wake_viewers();
        drop(state);
        wake(wakers);
    }

    /// Ends the stream of one viewer, after the block `last` if there is one. What waits for it is discarded.
    pub fn end_viewer(&self, number: u32, how: Close, last: Option<&[u8]>, now: Instant) {
        let mut state = self.lock();
        if let Some(slot) = state.slot(number) {
            slot.behind = None;
            slot.lost = false;
            slot.is_cut = true;
            slot.queue.end_early(how, last, now);
        }
    }

    /// Ends the stream of one viewer that takes nothing.
    pub fn lose_viewer(&self, number: u32) {
        let mut state = self.lock();
        let task = state.slot(number).and_then(|slot| {
            slot.lost = true;
            slot.task.take()
        });
        drop(state);
        wake(task);
    }

    /// Ends the stream of one viewer as truncated.
    pub fn abort_viewer(&self, number: u32) {
        if let Some(slot) = self.lock().slot(number) {
            slot.queue.clear();
            slot.queue.abort();
        }
    }

    /// Returns the encoder of the viewers.
    pub fn encoder(&self) -> Encoder {
        self.lock().encoder
    }

    /// Removes a viewer that has left for this reason. Returns how many events it got from the journal, and whether it got
    /// everything up to the end of the stream.
    pub fn leave(&self, number: u32, end: End) -> (u64, bool) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let place = state.viewers.iter().position(|slot| slot.number == number);
        let Some(slot) = place.map(|place| state.viewers.swap_remove(place)) else {
            return (0, false);
        };
        slot.add_counts(&mut state.counts);
        let status = slot.queue.status();
        let complete =
            state.close.is_some() && !slot.is_behind() && !slot.is_cut && !status.abandoned;
        state.delivered |= complete && end == End::ClientGone;
        state.note_empty(end);
        state.changes += 1;
        let pump = state.pump.take();
        drop(guard);
        wake(pump);
        (slot.replayed, complete)
    }
}

/// Characters of a raw JSON string body, about: escapes count as they are written.
fn characters(raw: &[u8]) -> u64 {
    let starts = |byte: &&u8| **byte & 0xC0 != 0x80;
    raw.iter().filter(starts).count() as u64
}
