//! The state of a queue, which its handles share.

use std::pin::Pin;
use std::sync::MutexGuard;
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Close;
use super::gate::{Gate, Release};
use super::ring::Ring;
use crate::length::Length;

/// The state of one queue.
///
/// **How it works.** [`queue`](super::queue) creates the state, and its handles share it behind one lock: the pump owns
/// the [`Sender`](super::Sender), the body of the response owns the [`Receiver`](super::Receiver), and the registry of
/// live streams has a [`Probe`](super::Probe). A push, a heartbeat or a close wakes the reader if it waits. A take
/// wakes the pump only if the pump asked for takes when it last called
/// [`Sender::poll_change`](super::Sender::poll_change); a pump that reads on learns of takes at its next push. Dropping
/// the receiver always wakes the pump, and dropping the sender without a close ends the response as truncated. An alarm
/// wakes nobody: the pump sees it at its next push. Every waker is called after the lock is released. The queue is
/// bounded by [`Limits`](super::Limits), in events and in bytes; only an event that comes to an empty queue, and what a
/// close adds, may exceed them. Events that do not fit are merged first. If that is not enough, they wait outside
/// ([`Offer::Wait`](super::Offer::Wait)) while the reader may still catch up, and then the overflow rule applies
/// ([`Overflow`](super::Overflow)). Critical events that still do not fit wait outside
/// ([`Offer::Full`](super::Offer::Full)). While events wait outside, the pump does not read its upstream.
///
/// The fields that each push and take uses come first (see [`Pump`](crate::stream::pump::Pump)).
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    /// The pump must check more than its upstream.
    pub(super) alarmed: bool,
    /// The reader took nothing within the grace period, so the overflow rule applies.
    pub(super) slow: bool,
    /// The pump must be woken when the reader takes something, not only when it leaves.
    pub(super) wants_takes: bool,
    pub(super) close: Option<Close>,
    /// The reader has left; `handed_off` is when.
    pub(super) reader_gone: bool,
    pub(super) reader_failed: bool,
    /// The reader left although events waited for it.
    pub(super) abandoned: bool,
    /// The stream has failed; the status of a response that says so.
    pub(super) failed: Option<StatusCode>,
    pub(super) came: u64,
    pub(super) came_bytes: u64,
    /// How often the reader took something. A count, because two takes may happen at the same instant.
    pub(super) takes: u64,
    pub(super) reader: Option<Waker>,
    pub(super) waiting_since: Option<Instant>,
    /// Since when the connection holds what it took last; once the reader has left, when it left.
    pub(super) handed_off: Option<Instant>,
    pub(super) handed_off_bytes: usize,
    pub(super) ring: Ring,
    /// How long the events had waited that were discarded last without being taken.
    pub(super) abandoned_after: Length,
    pub(super) pump: Option<Waker>,
    /// Holds text back on purpose. Boxed, because it is rare.
    pub(super) gate: Option<Box<Gate>>,
}

impl State {
    pub(super) fn clear(&mut self) {
        self.ring.clear();
        if let Some(since) = self.waiting_since.take() {
            self.abandoned_after = Length::of(since.elapsed());
        }
    }

    /// Counts what was offered.
    pub(super) fn offered(&mut self, events: u64, bytes: u64, now: Instant) {
        self.came += events;
        self.came_bytes += bytes;
        self.note_waiting(now);
    }

    pub(super) fn note_waiting(&mut self, now: Instant) {
        if self.ring.is_empty() {
            self.waiting_since = None;
        } else {
            self.waiting_since.get_or_insert(now);
            self.excuse();
        }
    }

    /// Makes the next push or close wake the reader.
    pub(super) fn register(&mut self, cx: &Context<'_>) {
        let known = self.reader.as_ref();
        if !known.is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
    }

    /// Returns how many events the reader may take. Pending while all of them are held back.
    #[inline(never)]
    pub(super) fn poll_gate(
        &mut self,
        timer: &mut Option<Pin<Box<Sleep>>>,
        cx: &mut Context<'_>,
    ) -> Poll<usize> {
        while let Some(gate) = &mut self.gate
            && !self.ring.is_empty()
        {
            let closed = self.close.is_some();
            let at = match gate.release(&mut self.ring, closed, Instant::now()) {
                Release::Events(events) => return Poll::Ready(events),
                Release::At(at) => at,
            };
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                self.register(cx);
                return Poll::Pending;
            }
        }
        Poll::Ready(usize::MAX)
    }

    /// What is held back does not wait for the client.
    #[inline]
    pub(super) fn excuse(&mut self) {
        if self.gate.is_some() {
            self.excuse_held_back();
        }
    }

    #[inline(never)]
    fn excuse_held_back(&mut self) {
        if let Some(gate) = &self.gate
            && let Some(since) = &mut self.waiting_since
        {
            let oldest = self.ring.waiting().next().map(|waiting| waiting.arrived);
            let free = oldest.map_or(*since, |oldest| oldest + gate.gating().longest());
            *since = free.max(*since);
        }
    }

    /// Lets all leave that is held back.
    pub(super) fn open(&mut self) {
        if let Some(gate) = &mut self.gate {
            gate.open();
        }
    }
}

/// Releases the lock, and wakes the reader if there is something for it.
pub(super) fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = !state.ring.is_empty() || state.close.is_some();
    let reader = waiting.then(|| state.reader.take()).flatten();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn an_empty_queue_takes_little_room() {
        // With the two counts of its `Arc`. The allocator gives out 448 bytes, and then 512.
        let size = 2 * size_of::<usize>() + size_of::<Mutex<State>>();
        assert!(size <= 448, "{size}");
    }
}
