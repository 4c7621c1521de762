//! The bounded queue between a stream's pump and the response that the client reads.
//!
//! Each queue has one lock, which is held for a few lines and never across an await. One read of the upstream costs
//! one lock and at most one wake-up. Dropping the [`Receiver`] tells the pump that the client has left.

mod join;
mod limits;
mod lists;
pub mod ring;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::encode::Encoder;
use crate::event::Event;
pub use limits::{Limits, Overflow};
pub use ring::{Counts, LARGE_BYTES, Taken};
use ring::{Push, Ring};

/// How a queue ends for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The response is truncated, and the client must notice it.
    Abort,
    /// The response is complete.
    Clean,
}

/// What happened to an event that was offered to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It waits in the queue, was merged, or was dropped according to the overflow rule.
    Accepted,
    /// The overflow rule ends the stream.
    Disconnect,
    /// It must wait outside until the reader takes something, and so must all events that follow.
    Full,
    /// The same, but only for a grace period, because a burst is not the reader's fault. [`Sender::give_up`] ends the
    /// period, and the overflow rule applies from then on.
    Wait,
}

/// The state of the queue after a push.
#[derive(Clone, Copy, Debug)]
pub struct PushOutcome {
    /// Since when events have waited without anything being taken.
    pub waiting_since: Option<Instant>,
    /// The reader has left, or the queue was alarmed: the pump must check more than its upstream.
    pub alarmed: bool,
}

/// The status of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// How many events wait.
    pub events: usize,
    /// How many bytes wait.
    pub bytes: usize,
    /// Since when events have waited without anything being taken.
    pub waiting_since: Option<Instant>,
    /// Since when the connection holds the bytes it took last. It asks for more as soon as it has written them.
    pub handed_off: Option<Instant>,
    /// How many bytes it took then.
    pub handed_off_bytes: usize,
    /// How many events the pump has pushed, whatever happened to them.
    pub came: u64,
    /// How many bytes were read with these events.
    pub came_bytes: u64,
    /// The reader has left.
    pub reader_gone: bool,
    /// When the reader left.
    pub reader_gone_at: Option<Instant>,
    /// The reader left because of a panic.
    pub reader_failed: bool,
    /// The reader left although events waited for it.
    pub abandoned: bool,
    /// How long the events had waited that were discarded last without being taken.
    pub abandoned_after: Duration,
    /// The totals.
    pub counts: Counts,
}

/// The state of one queue.
///
/// **How it works.** [`queue`] creates the state, and its handles share it behind one lock: the pump owns the
/// [`Sender`], the body of the response owns the [`Receiver`], and the registry of live streams has a [`Probe`]. A
/// push, a heartbeat or a close wakes the reader if it waits. A take wakes the pump only if the pump asked for takes
/// when it last called [`Sender::poll_change`]; a pump that reads on learns of takes at its next push. Dropping the
/// receiver always wakes the pump, and dropping the sender without a close ends the response as truncated. An alarm
/// wakes nobody: the pump sees it at its next push. Every waker is called after the lock is released. The queue is
/// bounded by [`Limits`], in events and in bytes; only an event that comes to an empty queue, and what a close adds,
/// may exceed them. Events that do not fit are merged first. If that is not enough, they wait outside
/// ([`Offer::Wait`]) while the reader may still catch up, and then the overflow rule applies ([`Overflow`]). Critical
/// events that still do not fit wait outside ([`Offer::Full`]). While events wait outside, the pump does not read its
/// upstream.
///
/// The fields that each push and take uses come first (see [`Pump`](crate::stream::pump::Pump)).
#[derive(Debug)]
#[repr(C)]
struct State {
    /// The pump must check more than its upstream.
    alarmed: bool,
    /// The reader took nothing within the grace period, so the overflow rule applies.
    slow: bool,
    /// The pump must be woken when the reader takes something, not only when it leaves.
    wants_takes: bool,
    close: Option<Close>,
    came: u64,
    came_bytes: u64,
    /// How often the reader took something. A count, because two takes may happen at the same instant.
    takes: u64,
    reader: Option<Waker>,
    waiting_since: Option<Instant>,
    handed_off: Option<Instant>,
    handed_off_bytes: usize,
    reader_gone: Option<Instant>,
    reader_failed: bool,
    ring: Ring,
    abandoned: bool,
    abandoned_after: Duration,
    pump: Option<Waker>,
}

/// Creates a queue, and returns the pump's end and the response's end. `encoder` writes heartbeats and drop notices.
pub fn queue(limits: Limits, encoder: Encoder) -> (Sender, Receiver) {
    let mut ring = Ring::new(limits, encoder);
    ring.reader_is_slow(false);
    let state = State {
        ring,
        slow: false,
        close: None,
        reader_gone: None,
        reader_failed: false,
        abandoned: false,
        waiting_since: None,
        handed_off: None,
        handed_off_bytes: 0,
        abandoned_after: Duration::ZERO,
        came: 0,
        came_bytes: 0,
        alarmed: false,
        takes: 0,
        reader: None,
        wants_takes: false,
        pump: None,
    };
    let shared = Arc::new(Mutex::new(state));
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pump's end of a queue.
#[derive(Debug)]
pub struct Sender(Arc<Mutex<State>>);

impl Sender {
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
        let state = lock(&self.0);
        match state.slow {
            _ if !state.ring.is_too_small_for(len) => Offer::Accepted,
            true => Offer::Full,
            false => Offer::Wait,
        }
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
                Some(block) => state.ring.push_final(block, now),
                None if how == Close::Clean => state.ring.finish(now),
                None => {}
            }
            state.note_waiting(now);
            state.close = Some(how);
        }
        wake(state);
    }

    /// Ends the queue as truncated, even if it was closed before.
    pub fn abort(&self) {
        let mut state = lock(&self.0);
        state.close = Some(Close::Abort);
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
        if state.reader_gone.is_some() || (takes && *seen != state.takes) {
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
}

fn status(state: &State) -> Status {
    Status {
        events: state.ring.len(),
        bytes: state.ring.bytes(),
        waiting_since: state.waiting_since,
        came: state.came,
        came_bytes: state.came_bytes,
        reader_gone: state.reader_gone.is_some(),
        reader_gone_at: state.reader_gone,
        reader_failed: state.reader_failed,
        abandoned: state.abandoned,
        handed_off: state.handed_off,
        handed_off_bytes: state.handed_off_bytes,
        abandoned_after: state.abandoned_after,
        counts: *state.ring.counts(),
    }
}

/// Observes a queue, for metrics, the admin interface and the memory limit.
#[derive(Debug)]
pub struct Probe(Arc<Mutex<State>>);

impl Probe {
    /// Makes the pump check more than its upstream after its next push.
    pub fn alarm(&self) {
        lock(&self.0).alarmed = true;
    }

    /// Returns the status of the queue.
    pub fn status(&self) -> Status {
        status(&lock(&self.0))
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
        match ring.push(block, event, self.now) {
            Push::Accepted => Offer::Accepted,
            Push::Disconnect => Offer::Disconnect,
            Push::Full if *slow => Offer::Full,
            Push::Full => Offer::Wait,
        }
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

    /// Ends the push of `events` events, whatever happened to them, and wakes the reader.
    pub fn done(mut self, events: usize) -> PushOutcome {
        let state = &mut *self.state;
        state.came += events as u64;
        state.came_bytes += self.bytes as u64;
        state.note_waiting(self.now);
        let outcome = PushOutcome {
            waiting_since: state.waiting_since,
            alarmed: std::mem::take(&mut state.alarmed) || state.reader_gone.is_some(),
        };
        wake(self.state);
        outcome
    }
}

impl Drop for Sender {
    /// Ends the queue as truncated if it was not closed: a pump that disappears must not look like a complete response.
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.close.get_or_insert(Close::Abort);
        wake(state);
    }
}

impl State {
    fn clear(&mut self) {
        self.ring.clear();
        if let Some(since) = self.waiting_since.take() {
            self.abandoned_after = since.elapsed();
        }
    }

    fn note_waiting(&mut self, now: Instant) {
        if self.ring.is_empty() {
            self.waiting_since = None;
        } else {
            self.waiting_since.get_or_insert(now);
        }
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = !state.ring.is_empty() || state.close.is_some();
    let reader = waiting.then(|| state.reader.take()).flatten();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// What a reader gets next.
#[derive(Debug)]
pub enum Next {
    /// Bytes to send.
    Data {
        /// How long the client had taken nothing although events waited.
        waited: Duration,
        /// How long the oldest of these events has waited.
        aged: Duration,
        /// The queue is empty, but not closed.
        last: bool,
        /// If not empty, these are the bytes: a large event, in its own buffer.
        large: Vec<u8>,
    },
    /// The end.
    End(Close),
}

/// The response's end of a queue.
#[derive(Debug)]
pub struct Receiver(Arc<Mutex<State>>);

impl Receiver {
    /// Appends the next events to `out`, at most `max_bytes` unless a single event is larger, or returns a large event. Once the queue is closed
    /// and empty, every call returns the end.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Poll<Next> {
        let mut state = lock(&self.0);
        state.handed_off = None;
        let before = out.len();
        let (mut large, mut taken) = (Vec::new(), None);
        if state.ring.bytes() > LARGE_BYTES
            && let Some((bytes, event)) = state.ring.take_large()
        {
            (large, taken) = (bytes, Some(event));
        }
        let Some(taken) = taken.or_else(|| state.ring.take(max_bytes, out)) else {
            if let Some(close) = state.close {
                return Poll::Ready(Next::End(close));
            }
            if !state
                .reader
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                state.reader = Some(cx.waker().clone());
            }
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
        let last = empty && state.close.is_none();
        // A pump that reads its upstream learns of takes at its next push. This saves a wake-up for each event.
        let pump = state.wants_takes.then(|| state.pump.take()).flatten();
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
        Poll::Ready(Next::Data {
            waited,
            aged,
            last,
            large,
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.reader_gone = Some(Instant::now());
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
