//! The pump's end of a queue.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use http::StatusCode;
use tokio::time::Instant;

use super::ring::Push;
use super::state::{State, wake};
use super::{Close, Offer, Probe, PushOutcome, Status, lock, status};
use crate::encode::Encoder;
use crate::event::{Brief, Class, Event};

/// The pump's end of a queue.
#[derive(Debug)]
pub struct Sender(pub(super) Arc<Mutex<State>>);

impl Sender {
    /// Takes what is dropped from the agent of which the most waits, because several write the events.
    pub fn share_fairly(&self) {
        lock(&self.0).ring.share_fairly();
    }

    /// Locks the queue for the events of a read of `bytes` bytes, with at most one wake-up at the end.
    pub fn pushing(&self, bytes: usize, now: Instant) -> Pushing<'_> {
        let state = lock(&self.0);
        Pushing { state, bytes, now }
    }

    /// Records that the reader took nothing for too long. Until it takes something, the overflow rule applies to events
    /// that do not fit.
    pub fn give_up(&self) {
        let mut state = lock(&self.0);
        state.slow = true;
        state.ring.reader_is_slow(true);
    }

    /// Reports what would happen to an event of at least `len` bytes that is still coming in: whether it must wait.
    pub fn foresee(&self, len: usize) -> Offer {
        let mut state = lock(&self.0);
        let offer = match state.slow {
            _ if !state.ring.is_too_small_for(len) => return Offer::Accepted,
            true => Offer::Full,
            false => Offer::Wait,
        };
        // No client is slow because of what is held back from it.
        state.open();
        wake(state);
        offer
    }

    /// Reports whether the reader takes nothing, so that the overflow rule applies to events that do not fit.
    pub fn overflows(&self) -> bool {
        lock(&self.0).slow
    }

    /// Sets the encoder that writes heartbeats and drop notices from here on.
    pub fn set_encoder(&self, encoder: Encoder) {
        lock(&self.0).ring.set_encoder(encoder);
    }

    /// Adds a heartbeat if nothing waits and the client's dialect has one. Returns whether it was added.
    pub fn heartbeat(&self, now: Instant) -> bool {
        let mut state = lock(&self.0);
        let added = state.ring.heartbeat(now);
        state.note_waiting(now);
        wake(state);
        added
    }

    /// Ends the queue, after the block `last` if there is one. Only the first call has an effect.
    pub fn close(&self, how: Close, last: Option<&[u8]>, now: Instant) {
        let mut state = lock(&self.0);
        if state.close.is_none() {
            match last {
                Some(block) => state.ring.push_final(block, 0, now),
                None if how == Close::Clean => state.ring.finish(now),
                None => {}
            }
            state.note_waiting(now);
            state.close = Some(how);
            if last.is_some() || how == Close::Abort {
                state.open();
            }
        }
        wake(state);
    }

    /// Offers one event to one of several viewers, with its number in the stream. The event is never kept waiting,
    /// because the other viewers go on. Returns whether it was accepted. `more`: the size of the read, if more events
    /// of it follow; [`Sender::offered`] must be called after them.
    #[inline]
    pub fn offer(
        &self,
        block: &[u8],
        event: &Event,
        seq: u64,
        more: Option<usize>,
        now: Instant,
    ) -> bool {
        let mut state = lock(&self.0);
        let ring = &mut state.ring;
        if let Some(read) = more
            && ring.is_empty()
        {
            ring.expect(read);
        }
        let accepted = ring.push_numbered(block, event, seq, now) == Push::Accepted;
        if !accepted {
            // No client is slow because of what is held back from it.
            state.open();
        }
        if more.is_none() {
            state.offered(1, block.len() as u64, now);
            wake(state);
        }
        accepted
    }

    /// Counts what was offered of one read, and wakes the reader.
    pub fn offered(&self, events: u64, bytes: u64, now: Instant) {
        let mut state = lock(&self.0);
        state.offered(events, bytes, now);
        wake(state);
    }

    /// Adds events that were written before, in one piece, if nothing waits. Returns whether they were added.
    pub fn replay(&self, piece: Vec<u8>, now: Instant) -> bool {
        let mut state = lock(&self.0);
        let empty = state.ring.is_empty();
        if empty {
            state.came_bytes += piece.len() as u64;
            let event = Event::bare(Class::Opaque);
            state.ring.push_whole(piece, &event, now);
            state.note_waiting(now);
            wake(state);
        }
        empty
    }

    /// Ends the queue behind the last event of the stream, which has this number. Only the first call has an effect.
    pub fn close_after(&self, last: &[u8], seq: u64, how: Close, now: Instant) {
        let mut state = lock(&self.0);
        if state.close.is_none() {
            state.ring.push_final(last, seq, now);
            state.note_waiting(now);
            state.close = Some(how);
            state.open();
        }
        wake(state);
    }

    /// Ends the queue with the block `last` instead of what waits, even if it was closed before: the reader does not
    /// take it.
    pub fn end_early(&self, how: Close, last: Option<&[u8]>, now: Instant) {
        let mut state = lock(&self.0);
        state.clear();
        if let Some(block) = last {
            state.ring.push_final(block, 0, now);
        }
        state.note_waiting(now);
        state.close = Some(how);
        state.open();
        wake(state);
    }

    /// Sets what is written before the number of an event; `None` if events have no ids.
    pub fn set_ids(&self, ids: Option<Box<[u8]>>) {
        lock(&self.0).ring.set_ids(ids);
    }

    /// Records that the stream has failed, and with which status a response says so. Must be called before the close.
    pub fn note_failure(&self, status: StatusCode) {
        lock(&self.0).failed = Some(status);
    }

    /// Lets all leave that is held back on purpose.
    pub fn let_go(&self) {
        let mut state = lock(&self.0);
        state.open();
        wake(state);
    }

    /// Ends the queue as truncated, even if it was closed before.
    pub fn abort(&self) {
        let mut state = lock(&self.0);
        state.close = Some(Close::Abort);
        state.open();
        wake(state);
    }

    /// Discards all waiting events.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Is ready when the reader has left and, if `takes` is set, when it has taken something since the last call.
    pub fn poll_change(&self, cx: &mut Context<'_>, seen: &mut u64, takes: bool) -> Poll<()> {
        let mut state = lock(&self.0);
        state.wants_takes = takes;
        if state.reader_gone || (takes && *seen != state.takes) {
            *seen = state.takes;
            return Poll::Ready(());
        }
        if !state
            .pump
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            state.pump = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns the status of the queue.
    pub fn status(&self) -> Status {
        status(&lock(&self.0))
    }

    /// Returns a handle that observes the queue from elsewhere.
    pub fn probe(&self) -> Probe {
        Probe(Arc::clone(&self.0))
    }

    /// Returns a handle that pushes from elsewhere.
    pub fn feed(&self) -> Feed {
        Feed(Arc::clone(&self.0))
    }
}

/// Pushes to a queue whose [`Sender`] belongs to somebody else. Dropping it ends nothing.
#[derive(Debug)]
pub struct Feed(Arc<Mutex<State>>);

impl Feed {
    /// Locks the queue for the events of a read of `bytes` bytes, with at most one wake-up at the end.
    pub fn pushing(&self, bytes: usize, now: Instant) -> Pushing<'_> {
        let state = lock(&self.0);
        Pushing { state, bytes, now }
    }
}

/// Pushes the events of one read. The queue stays locked meanwhile.
#[derive(Debug)]
pub struct Pushing<'a> {
    state: MutexGuard<'a, State>,
    bytes: usize,
    now: Instant,
}

impl Pushing<'_> {
    /// Offers the next event.
    pub fn push(&mut self, block: &[u8], event: &Event) -> Offer {
        let State { ring, slow, .. } = &mut *self.state;
        if ring.is_empty() && block.len() <= self.bytes / 2 {
            // More events follow.
            ring.expect(self.bytes);
        }
        let offer = match ring.push(block, event, self.now) {
            Push::Accepted => return Offer::Accepted,
            Push::Disconnect => Offer::Disconnect,
            Push::Full if *slow => Offer::Full,
            Push::Full => Offer::Wait,
        };
        // No client is slow because of what is held back from it.
        self.state.open();
        offer
    }

    /// Offers the next event, and takes over the buffer of its block if nothing else waits.
    pub fn push_large(&mut self, block: &mut Vec<u8>, event: &Event) -> Offer {
        if self.state.ring.is_empty() {
            self.state
                .ring
                .push_whole(std::mem::take(block), event, self.now);
            return Offer::Accepted;
        }
        self.push(block, event)
    }

    /// Offers the next event, with its number in the stream, to a reader of several, as [`Sender::offer`] does.
    /// [`Pushing::offered`] must be called at the end.
    #[inline]
    pub fn offer(&mut self, block: &[u8], event: &Event, seq: u64) -> bool {
        let ring = &mut self.state.ring;
        if ring.is_empty() && block.len() <= self.bytes / 2 {
            // More events follow.
            ring.expect(self.bytes);
        }
        let accepted = ring.push_numbered(block, event, seq, self.now) == Push::Accepted;
        if !accepted {
            // No client is slow because of what is held back from it.
            self.state.open();
        }
        accepted
    }

    /// Makes room for the blocks of the whole read, if nothing waits.
    #[inline]
    pub fn expect_more(&mut self) {
        let ring = &mut self.state.ring;
        if ring.is_empty() {
            ring.expect(self.bytes);
        }
    }

    /// Pushes an event that fits as it is, with its number in the stream. Returns whether it does; if not, nothing has
    /// happened. [`Pushing::offered`] must be called at the end.
    #[inline]
    pub fn put(&mut self, block: &[u8], event: &Event, seq: u64) -> bool {
        self.state.ring.put(block, event, seq, self.now)
    }

    /// Returns the newest `count` events, all of which were [put](Self::put) one after the other: their blocks in one
    /// piece, and what else is known of each.
    pub fn newest(&self, count: usize) -> (&[u8], impl ExactSizeIterator<Item = Brief> + Clone) {
        self.state.ring.newest(count)
    }

    /// Counts what was offered of the read, and wakes the reader.
    pub fn offered(mut self, events: u64, bytes: u64) {
        self.state.offered(events, bytes, self.now);
        wake(self.state);
    }

    /// Adds an event at the end of a stream, whether or not there is room.
    pub fn push_over(&mut self, block: &[u8], event: &Event) {
        self.state.ring.push_over(block, event, self.now);
    }

    /// Ends the push of `events` events, whatever happened to them, and wakes the reader.
    pub fn done(mut self, events: usize) -> PushOutcome {
        let state = &mut *self.state;
        state.came += events as u64;
        state.came_bytes += self.bytes as u64;
        state.note_waiting(self.now);
        let outcome = PushOutcome {
            waiting_since: state.waiting_since,
            alarmed: std::mem::take(&mut state.alarmed) || state.reader_gone,
        };
        wake(self.state);
        outcome
    }
}

impl Drop for Sender {
    /// Ends the queue as truncated if it was not closed: a pump that disappears must not look like a complete response.
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        if state.close.is_none() {
            state.close = Some(Close::Abort);
            state.open();
        }
        wake(state);
    }
}
