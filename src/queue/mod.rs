//! The bounded hand-over between a stream's pump and its reply.
//!
//! One lock per queue, held for a few lines and never across an await. One push per upstream read, one
//! wake-up per push. Dropping the [`Receiver`] tells the pump that the reader is gone.

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
pub use ring::{Counts, Taken};
use ring::{Push, Ring};

/// How a queue ends for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The body must be seen to break.
    Abort,
    /// The body ends well.
    Clean,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is in, or was dropped as the rules say.
    Accepted,
    /// The overflow rule ends the stream.
    Disconnect,
    /// It must wait until something is taken, and all that follow with it.
    Full,
    /// The same, but only as long as the reader may still come: a burst is no fault of who reads it.
    /// [`Sender::give_up`] ends the patience.
    Wait,
}

/// How the queue stands after a push.
#[derive(Clone, Copy, Debug)]
pub struct PushOutcome {
    /// Since when something waits.
    pub waiting_since: Option<Instant>,
    /// The reader is gone, or there was an alarm: the pump has more to look at than its upstream.
    pub alarmed: bool,
}

/// What a pump wants to know of its queue.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Events that wait.
    pub events: usize,
    /// Bytes that wait.
    pub bytes: usize,
    /// Since when something waits without anything being taken.
    pub waiting_since: Option<Instant>,
    /// Since when the connection holds on to what it took last: it asks for more as soon as that is written.
    pub handed_off: Option<Instant>,
    /// Bytes that it took then.
    pub handed_off_bytes: usize,
    /// Events that came, whatever became of them.
    pub came: u64,
    /// Bytes that came with them.
    pub came_bytes: u64,
    /// The reader is gone.
    pub reader_gone: bool,
    /// When it left.
    pub reader_gone_at: Option<Instant>,
    /// It left although something waited for it.
    pub abandoned: bool,
    /// The last spell in which something waited and was never taken: it was thrown away.
    pub abandoned_after: Duration,
    /// Totals.
    pub counts: Counts,
}

/// What each push and take looks at lies first (see [`Pump`](crate::stream::pump::Pump)).
#[derive(Debug)]
#[repr(C)]
struct State {
    /// Somebody has something to tell the pump.
    alarmed: bool,
    /// The reader had its chance since something did not fit, and took nothing.
    slow: bool,
    /// The pump wants to hear of takes, not only of the reader's leaving.
    wants_takes: bool,
    close: Option<Close>,
    came: u64,
    came_bytes: u64,
    /// How often the reader took something. Counted, not timed: two takes may fall on one instant.
    takes: u64,
    reader: Option<Waker>,
    waiting_since: Option<Instant>,
    handed_off: Option<Instant>,
    handed_off_bytes: usize,
    reader_gone: Option<Instant>,
    ring: Ring,
    abandoned: bool,
    abandoned_after: Duration,
    pump: Option<Waker>,
}

/// A new queue: the pump's end and the reply's end. `encoder` writes heartbeats and drop notices.
pub fn queue(limits: Limits, encoder: Encoder) -> (Sender, Receiver) {
    let mut ring = Ring::new(limits, encoder);
    ring.reader_is_slow(false);
    let state = State {
        ring,
        slow: false,
        close: None,
        reader_gone: None,
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

/// The pump's end.
#[derive(Debug)]
pub struct Sender(Arc<Mutex<State>>);

impl Sender {
    /// Takes in the events of a read of `bytes`: one lock, at most one wake-up.
    pub fn pushing(&self, bytes: usize, now: Instant) -> Pushing<'_> {
        let state = lock(&self.0);
        Pushing { state, bytes, now }
    }

    /// The reader took nothing for too long: until it does, what does not fit follows the overflow rule.
    pub fn give_up(&self) {
        let mut state = lock(&self.0);
        state.slow = true;
        state.ring.reader_is_slow(true);
    }

    /// Whether the reader takes nothing, and what does not fit follows the overflow rule.
    pub fn overflows(&self) -> bool {
        lock(&self.0).slow
    }

    /// Heartbeats and drop notices are written by `encoder` from here on.
    pub fn set_encoder(&self, encoder: Encoder) {
        lock(&self.0).ring.set_encoder(encoder);
    }

    /// Adds a heartbeat if nothing waits and the client has one; reports whether it did.
    pub fn heartbeat(&self, now: Instant) -> bool {
        let mut state = lock(&self.0);
        let added = state.ring.heartbeat(now);
        state.note_waiting(now);
        wake(state);
        added
    }

    /// Ends the queue, after `last` if there is one. Later calls change nothing.
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

    /// Ends the queue so that the reader sees it break, whatever was said before.
    pub fn abort(&self) {
        let mut state = lock(&self.0);
        state.close = Some(Close::Abort);
        wake(state);
    }

    /// Throws away what waits.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Ready when the reader is gone, and with `takes` each time it took something since the last call.
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

    /// How it stands.
    pub fn status(&self) -> Status {
        status(&lock(&self.0))
    }

    /// A way to look at it from elsewhere.
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
        abandoned: state.abandoned,
        handed_off: state.handed_off,
        handed_off_bytes: state.handed_off_bytes,
        abandoned_after: state.abandoned_after,
        counts: *state.ring.counts(),
    }
}

/// Looks at a queue: for gauges and for people, now and then.
#[derive(Debug)]
pub struct Probe(Arc<Mutex<State>>);

impl Probe {
    /// Lets the pump, which looks here at each push, look around.
    pub fn alarm(&self) {
        lock(&self.0).alarmed = true;
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        status(&lock(&self.0))
    }
}

/// Events on their way in. Whoever else looks at the queue waits meanwhile.
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
        if block.len() <= self.bytes / 2 {
            // Others follow.
            ring.expect(self.bytes);
        }
        match ring.push(block, event, self.now) {
            Push::Accepted => Offer::Accepted,
            Push::Disconnect => Offer::Disconnect,
            Push::Full if *slow => Offer::Full,
            Push::Full => Offer::Wait,
        }
    }

    /// That was all: so many events, whatever became of them.
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
    /// A pump that vanishes without a word must not look like a good end.
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

/// What a reader sees next.
#[derive(Debug)]
pub enum Next {
    /// Bytes to send.
    Data {
        /// How long the client had taken nothing although something waited.
        waited: Duration,
        /// How long the oldest of it has waited.
        aged: Duration,
        /// Nothing is left, and the end is not there yet.
        last: bool,
    },
    /// The end.
    End(Close),
}

/// The reply's end.
#[derive(Debug)]
pub struct Receiver(Arc<Mutex<State>>);

impl Receiver {
    /// Appends the next bytes to `out`, at most `max_bytes` unless one event is larger; then tells the end, for ever.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Poll<Next> {
        let mut state = lock(&self.0);
        state.handed_off = None;
        let before = out.len();
        let Some(taken) = state.ring.take(max_bytes, out) else {
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
        state.handed_off_bytes = out.len() - before;
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
        // A pump that reads on learns of takes when it looks: one wake-up less for each event.
        let pump = state.wants_takes.then(|| state.pump.take()).flatten();
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
        Poll::Ready(Next::Data { waited, aged, last })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.reader_gone = Some(Instant::now());
        state.abandoned = !state.ring.is_empty();
        state.clear();
        let pump = state.pump.take();
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
    }
}
