//! The pump's end of a hub.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::{Hub, Left, OnLeave, State, wake};
use crate::encode::Encoder;
use crate::end::End;
use crate::event::{Class, Event};
use crate::journal::own_id;
use crate::queue::{self, Close, Offer, PushOutcome, Status};

/// Maximum number of bytes that go to the queue of a lone viewer before the journal and the tap get them.
const MOST_PUT: usize = 16 * 1024;

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
        let hub = &*self.0;
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
        Pushing {
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

impl Pushing<'_> {
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
