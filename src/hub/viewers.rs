//! The viewers of a hub: they attach at a position, catch up, follow, and leave.

use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::slot::{Slot, Source};
use super::{Hub, Left, State, wake};
use crate::encode::Encoder;
use crate::end::End;
use crate::queue::{self, Close, Probe, Receiver};

/// A viewer that has attached.
#[derive(Debug)]
pub struct Attached {
    /// The number of the viewer among the viewers of its stream, from 1.
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
    /// The viewer's client has left.
    Gone(End),
    /// The viewer follows.
    Follows {
        /// Since when data waits without being taken; of two, the second if the connection holds what it took.
        waits_since: [Option<Instant>; 2],
        /// When something was last sent, heartbeats included.
        pushed_at: Instant,
        /// Why its stream must end, although the stream itself may go on.
        ends: Option<End>,
    },
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

    /// Adds the first viewer of a stream of which nothing up to this number is kept here.
    pub fn attach_first_after(&self, after: u64, now: Instant) -> Attached {
        let mut state = self.lock();
        let attached = self.enter(&mut state, after, now);
        if let Some(first) = state.viewers.first().filter(|slot| slot.is_first()) {
            // Set already if it is not the first.
            let _ = self.first.set(first.queue.feed());
        }
        attached
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
        state.viewers.push(Slot::new(number, queue, behind, now));
        Attached {
            number,
            receiver,
            probe,
            after,
            replay: last - after,
        }
    }

    /// Does what a viewer's task has to do: notices that the client has left, and gives the viewer what it is behind.
    /// The task is woken when there is more to do.
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
            waits_since: [false, true].map(|holds| status.waits_since(holds)),
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
            slot.end_early(how, last, now);
        }
    }

    /// Ends the stream of one viewer that takes nothing.
    pub fn lose_viewer(&self, number: u32) {
        let mut state = self.lock();
        let task = state.slot(number).and_then(|slot| {
            slot.lose();
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

    /// Removes a viewer that has left for this reason. Returns how many events it got from the journal, and whether it
    /// got everything up to the end of the stream.
    pub fn leave(&self, number: u32, end: End) -> (u64, bool) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let place = state.viewers.iter().position(|slot| slot.number == number);
        let Some(slot) = place.map(|place| state.viewers.swap_remove(place)) else {
            return (0, false);
        };
        slot.add_counts(&mut state.counts);
        let status = slot.queue.status();
        let complete = state.close.is_some() && slot.is_live() && !status.abandoned;
        // The hub holds the first viewer's queue as long as the stream is known.
        slot.queue.clear();
        state.delivered |= complete && end == End::ClientGone;
        state.note_empty(end);
        state.changes += 1;
        // As long as others are left, a pump that waits for nobody has nothing to do.
        let matters = state.viewers.is_empty() || state.pump_waits;
        let pump = matters.then(|| state.pump.take()).flatten();
        drop(guard);
        wake(pump);
        (slot.replayed, complete)
    }
}
