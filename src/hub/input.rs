//! The pump's end of a hub.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::pushing::Pushing;
use super::{Hub, Left, OnLeave, wake};
use crate::encode::Encoder;
use crate::end::End;
use crate::event::{Class, Event};
use crate::queue::{Close, Status};

/// The pump's end of a hub. Dropping it ends a stream that was not closed as truncated.
#[derive(Debug)]
pub struct Input(Arc<Hub>);

impl Input {
    pub(super) const fn new(hub: Arc<Hub>) -> Self {
        Self(hub)
    }

    /// Returns the hub.
    pub const fn hub(&self) -> &Arc<Hub> {
        &self.0
    }

    /// Locks the hub for the events of a read of `bytes` bytes.
    #[expect(clippy::inline_always, reason = "runs once a read")]
    #[inline(always)]
    pub fn pushing(&self, bytes: usize, now: Instant) -> Pushing<'_> {
        Pushing::new(&self.0, bytes, now)
    }

    /// Sets the encoder that writes heartbeats and drop notices from here on.
    pub fn set_encoder(&self, encoder: Encoder) {
        let mut state = self.0.lock();
        state.encoder = encoder;
        state.has_ids = self.0.ids(encoder).is_some();
        if let Some(tapped) = &mut state.tap {
            tapped.tap.describe(encoder);
        }
        for slot in &state.viewers {
            slot.queue.set_encoder(encoder);
            slot.queue.set_ids(self.0.ids(encoder));
        }
    }

    /// Records that the only viewer took nothing for too long. Until it takes something, the overflow rule applies.
    pub fn give_up(&self) {
        self.0.lock().slow = true;
    }

    /// Records how the run has ended. Must be called before the close.
    pub fn note_end(&self, end: End) {
        self.0.lock().outcome.get_or_insert(end);
    }

    /// Ends the stream, after the block `last` if there is one. Only the first call has an effect.
    pub fn close(&self, how: Close, last: Option<&[u8]>, now: Instant) {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        if state.close.is_none() {
            let event = Event::bare(Class::Error);
            let closing = last.map(|block| {
                while !state.journal.fits(block.len()) && state.evict_for_others() {}
                (block, state.journal.append(block, &event))
            });
            for slot in state.viewers.iter().filter(|slot| slot.is_live()) {
                match closing {
                    Some((block, seq)) => slot.queue.close_after(block, seq, how, now),
                    None => slot.queue.close(how, None, now),
                }
            }
            state.end_tap(last.unwrap_or_default(), how);
            state.journal.shrink();
            state.close = Some(how);
            state.closed_at = Some(now);
            self.0.settle(state);
        }
        let wakers: Vec<Waker> = state.wake_viewers();
        drop(guard);
        wake(wakers);
    }

    /// Ends the stream of the viewers after the block `last`, which is not an event of the stream.
    pub fn close_untold(&self, how: Close, last: Option<&str>, now: Instant) {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        if state.close.is_none() {
            let last = last.map(str::as_bytes);
            state.close = Some(how);
            state.closed_at = Some(now);
            state.untold = last.map(Box::from);
            for slot in state.viewers.iter().filter(|slot| slot.is_live()) {
                slot.queue.close(how, last, now);
            }
        }
        let wakers: Vec<Waker> = state.wake_viewers();
        drop(guard);
        wake(wakers);
    }

    /// Ends the stream of all viewers as truncated, even if it was closed before.
    pub fn abort(&self, now: Instant) {
        self.close(Close::Abort, None, now);
        let mut state = self.0.lock();
        state.close = Some(Close::Abort);
        for slot in &state.viewers {
            slot.queue.abort();
        }
    }

    /// Lets all leave that is held back on purpose.
    pub fn let_go(&self) {
        for slot in &self.0.lock().viewers {
            slot.queue.let_go();
        }
    }

    /// Is ready when the last viewer has left and, if `takes` is set, when something was taken since the last call.
    pub fn poll_change(&self, cx: &Context<'_>, seen: &mut u64, takes: bool) -> Poll<()> {
        let mut state = self.0.lock();
        state.pump_waits = takes;
        // Whoever is left may follow elsewhere, which must not be waited for without end.
        let is_alone = state.viewers.is_empty();
        if (is_alone || takes) && *seen != state.changes {
            *seen = state.changes;
            return Poll::Ready(());
        }
        if !(state.pump.as_ref()).is_some_and(|pump| pump.will_wake(cx.waker())) {
            state.pump = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns why the run ends now, because its last viewer has left.
    pub fn gone(&self, now: Instant) -> Option<End> {
        let mut state = self.0.lock();
        state.forget_elsewhere(now);
        let left = state.left?;
        drop(state);
        let due = self.due(left).is_some_and(|at| at <= now);
        due.then_some(left.end)
    }

    /// Returns when the run ends if nobody comes back.
    pub fn gives_up_at(&self) -> Option<Instant> {
        let state = self.0.lock();
        match state.left {
            Some(left) => self.due(left),
            // Nobody may be left there by then.
            None if state.viewers.is_empty() => state.elsewhere.values().max().copied(),
            None => None,
        }
    }

    fn due(&self, left: Left) -> Option<Instant> {
        match self.0.settings.on_leave {
            OnLeave::Cancel => Some(left.at),
            OnLeave::Grace(grace) => Some(left.at + grace),
            OnLeave::Continue => None,
        }
    }

    /// Returns the status as that of one queue. Once the stream is closed, `events` is the number of viewers that have
    /// not taken everything.
    pub fn status(&self) -> Status {
        let state = self.0.lock();
        let mut counts = state.counts;
        let (mut events, mut bytes) = (0, 0);
        for slot in &state.viewers {
            let status = slot.queue.status();
            events += status.events;
            bytes += status.bytes;
            slot.add_counts(&mut counts);
        }
        if state.close.is_some() {
            events = state.viewers.len();
        }
        let cancels = self.0.settings.on_leave == OnLeave::Cancel;
        let left = state.left.filter(|_| cancels);
        Status {
            events,
            bytes,
            waiting_since: None,
            handed_off: None,
            handed_off_bytes: 0,
            came: state.journal.last(),
            came_bytes: 0,
            reader_gone: state.viewers.is_empty() && state.close.is_some(),
            reader_gone_at: left.map(|left| left.at),
            reader_failed: false,
            abandoned: state.viewers.is_empty() && !state.delivered && cancels,
            abandoned_after: std::time::Duration::ZERO,
            counts,
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.0.lock().close.is_none() {
            self.abort(Instant::now());
        }
    }
}
