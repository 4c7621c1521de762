//! The response's end of a queue.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, Sleep};

use super::ring::LARGE_BYTES;
use super::state::State;
use super::{Close, lock};

/// What a reader gets next.
#[derive(Debug)]
pub enum Next {
    /// Bytes to send.
    Data {
        /// How long the client had taken nothing although events waited.
        waited: Duration,
        /// How long the oldest of these events has waited.
        aged: Duration,
        then: Then,
        /// If not empty, these are the bytes: a large event, in its own buffer.
        large: Vec<u8>,
    },
    /// The end.
    End(Close),
}

/// What follows what a reader has just got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// More is there, or the queue ends in another way than as complete.
    More,
    /// The queue is empty, but not closed.
    Waits,
    /// The queue is empty, and closed as complete.
    Ends,
}

/// The response's end of a queue.
#[derive(Debug)]
pub struct Receiver {
    pub(super) shared: Arc<Mutex<State>>,
    /// Set while something is held back.
    pub(super) timer: Option<Pin<Box<Sleep>>>,
    pub(super) holds_back: bool,
    /// Another task may push at any time.
    pub(super) is_fed_elsewhere: bool,
}

impl Receiver {
    /// Reports whether text may be held back, so that time alone may bring the next events.
    pub const fn holds_back(&self) -> bool {
        self.holds_back
    }

    /// Notes that another task than the reader's pushes.
    pub const fn feed_elsewhere(&mut self) {
        self.is_fed_elsewhere = true;
    }

    /// Reports whether another task than the reader's pushes.
    pub const fn is_fed_elsewhere(&self) -> bool {
        self.is_fed_elsewhere
    }

    /// Is ready once the queue is closed: the status of a response that says how the stream has failed, if it has.
    pub fn poll_closed(&self, cx: &Context<'_>) -> Poll<Option<StatusCode>> {
        let mut state = lock(&self.shared);
        if state.close.is_some() {
            return Poll::Ready(state.failed);
        }
        state.register(cx);
        Poll::Pending
    }

    /// Appends the next events to `out`, at most `max_bytes` unless a single event is larger, or returns a large event.
    /// Once the queue is closed and empty, every call returns the end.
    #[expect(
        clippy::inline_always,
        reason = "a call for each read costs 20 instructions"
    )]
    #[inline(always)]
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Poll<Next> {
        let mut state = lock(&self.shared);
        state.handed_off = None;
        let before = out.len();
        let (mut large, mut taken) = (Vec::new(), None);
        let most = if state.gate.is_none() {
            usize::MAX
        } else {
            ready!(state.poll_gate(&mut self.timer, cx))
        };
        if state.ring.bytes() > LARGE_BYTES
            && let Some((bytes, event)) = state.ring.take_large()
        {
            (large, taken) = (bytes, Some(event));
        }
        let Some(taken) = taken.or_else(|| state.ring.take_some(most, max_bytes, out)) else {
            if let Some(close) = state.close {
                return Poll::Ready(Next::End(close));
            }
            state.register(cx);
            return Poll::Pending;
        };
        let now = Instant::now();
        state.takes += 1;
        state.handed_off = Some(now);
        state.handed_off_bytes = out.len() - before + large.len();
        if std::mem::take(&mut state.slow) {
            state.ring.reader_is_slow(false);
        }
        let aged = now.duration_since(taken.oldest);
        let waited = match state.waiting_since {
            Some(since) if since == taken.oldest => aged,
            Some(since) => now.duration_since(since),
            None => Duration::ZERO,
        };
        let empty = state.ring.is_empty();
        state.waiting_since = (!empty).then_some(now);
        state.excuse();
        let then = match state.close {
            None if empty => Then::Waits,
            Some(Close::Clean) if empty => Then::Ends,
            _ => Then::More,
        };
        // A pump that reads its upstream learns of takes at its next push. This saves a wake-up for each event.
        let pump = state.wants_takes.then(|| state.pump.take()).flatten();
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
        Poll::Ready(Next::Data {
            waited,
            aged,
            then,
            large,
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.reader_gone = true;
        state.handed_off = Some(Instant::now());
        state.reader_failed = std::thread::panicking();
        state.abandoned = !state.ring.is_empty();
        state.clear();
        let pump = state.pump.take();
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
    }
}
