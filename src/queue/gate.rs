//! Holds text back on purpose: sends pieces together (`batch`), or spreads a burst over time (`pace`).
//!
//! The gate stands at the reader's end of the queue: what it holds back is bounded as everything in the queue, and
//! leaves at once when the queue is full or the stream has failed. The first piece of the answer, and the first of
//! reasoning, is never held back, and nothing is held back for longer than the sum of both delays.

use std::time::Duration;

use tokio::time::Instant;

use super::ring::Ring;
use crate::event::Class;

/// Pieces that arrive within this time are one burst.
const BURST: Duration = Duration::from_millis(20);

/// What is held back, and for how long. Off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gating {
    /// Neighbouring pieces of text leave together.
    pub batch: Option<Batch>,
    /// Pieces that arrive at once leave one after the other, each at most this late.
    pub pace: Option<Duration>,
}

/// When pieces that wait for each other leave: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// How long the first of them waits.
    pub max_delay: Duration,
    /// How many characters they have together.
    pub max_chars: usize,
}

impl Gating {
    /// Reports whether anything is held back.
    pub const fn is_on(self) -> bool {
        self.batch.is_some() || self.pace.is_some()
    }

    /// Returns for how long something may be held back.
    pub fn longest(self) -> Duration {
        let batch = self.batch.map_or(Duration::ZERO, |batch| batch.max_delay);
        batch + self.pace.unwrap_or_default()
    }
}

/// What the reader may take now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// This many events.
    Events(usize),
    /// Nothing before then.
    At(Instant),
}

/// The gate of one queue.
#[derive(Debug)]
pub(super) struct Gate {
    gating: Gating,
    /// A piece of the answer has left.
    answered: bool,
    /// A piece of reasoning has left.
    reasoned: bool,
    /// All that waits may leave.
    open: bool,
    /// When the next unit leaves that is spread over time.
    next_at: Option<Instant>,
    /// When the last burst began, and how long after the one before.
    burst: Option<(Instant, Option<Duration>)>,
}

/// The events that leave together: pieces of text, and what comes before the next piece.
#[derive(Debug, Default)]
struct Unit {
    events: usize,
    pieces: usize,
    chars: usize,
    /// Nothing is to be waited for.
    complete: bool,
    /// The unit has the first piece of its kind.
    first: bool,
}

impl Gate {
    pub(super) const fn new(gating: Gating) -> Self {
        Self {
            gating,
            answered: false,
            reasoned: false,
            open: false,
            next_at: None,
            burst: None,
        }
    }

    pub(super) const fn gating(&self) -> Gating {
        self.gating
    }

    /// Lets all leave that waits, because the queue is full or the stream has failed.
    pub(super) const fn open(&mut self) {
        self.open = true;
    }

    /// Returns what may leave a ring that is not empty. Neighbours that leave together are merged if they are alike.
    pub(super) fn release(&mut self, ring: &mut Ring, closed: bool, now: Instant) -> Release {
        if self.open {
            self.open = closed;
            return Release::Events(usize::MAX);
        }
        let batch = self.gating.batch;
        let (mut unit, oldest) = self.next_unit(ring, now);
        if let Some(batch) = batch
            && self.gating.pace.is_some()
            && !unit.first
        {
            // Batches that wait behind others stay apart from them, because they leave later.
            ring.batch(batch.max_chars);
            (unit, _) = self.next_unit(ring, now);
        }
        if unit.first || unit.pieces == 0 {
            if let Some(limit) = self.gating.pace.filter(|_| unit.first) {
                self.schedule(ring, &unit, limit, now);
            }
            return Release::Events(unit.events);
        }
        let mut at = match batch {
            Some(batch) if !unit.complete && !closed => oldest + batch.max_delay,
            _ => now,
        };
        if let Some(limit) = self.gating.pace {
            let latest = (oldest + limit).max(at);
            at = at.max(self.next_at.unwrap_or(now)).min(latest);
        }
        if at > now {
            return Release::At(at);
        }
        let Some(limit) = self.gating.pace else {
            ring.compact();
            return Release::Events(usize::MAX);
        };
        self.schedule(ring, &unit, limit, now);
        Release::Events(unit.events)
    }

    /// Returns the next unit, and when its first event arrived: `now` if there is none.
    fn next_unit(&mut self, ring: &Ring, now: Instant) -> (Unit, Instant) {
        let max_chars = self.gating.batch.map_or(0, |batch| batch.max_chars);
        let mut unit = Unit::default();
        let mut oldest = None;
        for waiting in ring.waiting() {
            let kind = match waiting.class {
                Class::Token => Some(&mut self.answered),
                Class::Reasoning => Some(&mut self.reasoned),
                _ => None,
            };
            match kind {
                Some(_) if unit.complete => break,
                Some(seen) => {
                    unit.pieces += 1;
                    unit.chars += waiting.chars;
                    unit.first |= !std::mem::replace(seen, true);
                    unit.complete = unit.first || unit.chars >= max_chars;
                }
                // It is not held back, and neither is what comes before it.
                None => unit.complete = true,
            }
            unit.events += 1;
            oldest.get_or_insert(waiting.arrived);
        }
        (unit, oldest.unwrap_or(now))
    }

    /// Decides when the unit after this one leaves: those that wait are spread over the time until the next burst, as
    /// far as bursts have come so far.
    fn schedule(&mut self, ring: &Ring, unit: &Unit, limit: Duration, now: Instant) {
        let after = ring.waiting().skip(unit.events);
        let (mut pieces, mut last) = (0, now);
        for waiting in after.filter(|waiting| waiting.class.is_droppable()) {
            pieces += 1;
            last = waiting.arrived;
        }
        let units = pieces / unit.pieces.max(1);
        let Ok(units @ 1..) = u32::try_from(units) else {
            self.next_at = None;
            return;
        };
        let (began, between) = match self.burst {
            None => (last, None),
            Some((began, between)) => match last.saturating_duration_since(began) {
                since if since < BURST => (began, between),
                since => (last, Some(since)),
            },
        };
        self.burst = Some((began, between));
        let until = last + between.map_or(limit, |between| between.min(limit));
        self.next_at = Some(now + until.saturating_duration_since(now) / units);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::encode::Encoder;
    use crate::event::{Content, Event, Keep, Merge, Span};
    use crate::queue::{Close, Limits, Next, Overflow, Receiver, Sender, gated};
    use crate::wire::Framing;

    const LIMITS: Limits = Limits {
        max_events: 16,
        max_bytes: 64 * 1024,
        merge: true,
        overflow: Overflow::Block,
    };
    const BATCH: Batch = Batch {
        max_delay: Duration::from_millis(50),
        max_chars: 5,
    };

    struct Gated {
        sender: Sender,
        receiver: Receiver,
        began: Instant,
    }

    impl Gated {
        fn new(batch: Option<Batch>, pace: Option<u64>) -> Self {
            let pace = pace.map(Duration::from_millis);
            let encoder = Encoder::identity(None, Framing::Ndjson);
            let (sender, receiver) = gated(LIMITS, encoder, Gating { batch, pace });
            Self {
                sender,
                receiver,
                began: Instant::now(),
            }
        }

        fn push(&self, events: &[&str]) {
            push(&self.sender, events);
        }

        /// Returns what leaves next, and after how many milliseconds.
        async fn next(&mut self) -> (u128, String) {
            let mut out = Vec::new();
            let next = poll_fn(|cx| self.receiver.poll_next(cx, 1 << 20, &mut out)).await;
            if matches!(next, Next::End(_)) {
                out.extend_from_slice(b"end");
            }
            let after = self.began.elapsed().as_millis();
            (after, String::from_utf8(out).unwrap())
        }
    }

    /// Pushes events: pieces of text, or others, which end with `!`.
    fn push(sender: &Sender, events: &[&str]) {
        let mut pushing = sender.pushing(0, Instant::now());
        for text in events {
            let block = format!("<{text}>");
            let span = Span::new(1..1 + text.len()).unwrap();
            let merge = Merge {
                key: 1,
                text: span,
                keep: Keep::First,
                lists: false,
                copies: 0,
            };
            let event = if text.ends_with('!') {
                Event::bare(Class::Tool)
            } else {
                Event {
                    content: Content::Token,
                    text: Some(span),
                    merge: Some(merge).filter(|_| *text != "X"),
                    ..Event::bare(Class::Token)
                }
            };
            pushing.push(block.as_bytes(), &event);
        }
        pushing.done(events.len());
    }

    fn at(milliseconds: u128, text: &str) -> (u128, String) {
        (milliseconds, text.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_leave_together_after_some_time_or_characters() {
        let mut gated = Gated::new(Some(BATCH), None);
        gated.push(&["role!", "a", "b", "c"]);
        assert_eq!(gated.next().await, at(0, "<role!>"));
        assert_eq!(gated.next().await, at(0, "<a>"));
        assert_eq!(gated.next().await, at(50, "<bc>"));
        gated.push(&["d", "e"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        gated.push(&["fgh"]);
        assert_eq!(gated.next().await, at(70, "<defgh>"));
        gated.push(&["i"]);
        gated.push(&["tool!"]);
        assert_eq!(gated.next().await, at(70, "<i><tool!>"));
        gated.push(&["j"]);
        gated.sender.close(Close::Clean, None, Instant::now());
        assert_eq!(gated.next().await, at(70, "<j>"));
        assert_eq!(gated.next().await, at(70, "end"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_spread_over_time() {
        let mut gated = Gated::new(None, Some(300));
        gated.push(&["a", "b", "c", "d", "tool!"]);
        gated.sender.close(Close::Clean, None, Instant::now());
        assert_eq!(gated.next().await, at(0, "<a>"));
        assert_eq!(gated.next().await, at(100, "<b>"));
        assert_eq!(gated.next().await, at(200, "<c>"));
        assert_eq!(gated.next().await, at(300, "<d><tool!>"));
        assert_eq!(gated.next().await, at(300, "end"));
    }

    #[tokio::test(start_paused = true)]
    async fn batches_are_spread_over_time() {
        let mut gated = Gated::new(Some(BATCH), Some(300));
        gated.push(&["a"]);
        assert_eq!(gated.next().await, at(0, "<a>"));
        gated.push(&["bcd", "ef", "ghi", "jk", "lm", "no"]);
        assert_eq!(gated.next().await, at(0, "<bcdef>"));
        assert_eq!(gated.next().await, at(150, "<ghijk>"));
        // What comes while a batch waits becomes a part of it, until it has enough characters.
        gated.push(&["p", "q", "tool!"]);
        assert_eq!(gated.next().await, at(300, "<lmnop>"));
        assert_eq!(gated.next().await, at(300, "<q><tool!>"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_is_alone_waits_as_without_pacing() {
        let mut gated = Gated::new(Some(BATCH), Some(300));
        gated.push(&["a"]);
        assert_eq!(gated.next().await, at(0, "<a>"));
        gated.push(&["b", "c"]);
        assert_eq!(gated.next().await, at(50, "<bc>"));
        gated.push(&["d"]);
        gated.sender.close(Close::Clean, None, Instant::now());
        assert_eq!(gated.next().await, at(50, "<d>"));
        assert_eq!(gated.next().await, at(50, "end"));
    }

    #[tokio::test(start_paused = true)]
    async fn later_bursts_are_spread_over_the_time_between_them() {
        let mut gated = Gated::new(None, Some(300));
        let (sender, began) = (
            std::mem::replace(&mut gated.sender, Gated::new(None, None).sender),
            gated.began,
        );
        let agent = async {
            for burst in 1..=6 {
                tokio::time::sleep_until(began + burst * Duration::from_millis(100)).await;
                push(&sender, &["a", "b", "c", "d"]);
            }
        };
        let client = async {
            let mut delays = Vec::new();
            for number in 0..24 {
                let (left, text) = gated.next().await;
                assert_eq!(text.len(), 3, "{text}");
                delays.push(left - (1 + number / 4) * 100);
            }
            delays
        };
        let ((), delays) = tokio::join!(agent, client);
        assert!(delays.iter().all(|delay| *delay <= 300), "{delays:?}");
        let settled = delays.iter().skip(16);
        assert!(settled.clone().all(|delay| *delay <= 100), "{delays:?}");
        assert!(settled.clone().any(|delay| *delay >= 50), "{delays:?}");
        // Without a burst nothing is held back.
        tokio::time::sleep_until(began + Duration::from_secs(2)).await;
        push(&sender, &["z"]);
        assert_eq!(gated.next().await, at(2000, "<z>"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_and_a_failure_hold_nothing_back() {
        let mut gated = Gated::new(Some(BATCH), Some(300));
        // Each of another kind, so that none can be merged.
        let many = ["X"; 17];
        gated.push(&many);
        let mut left = String::new();
        while left.matches('X').count() < 16 {
            let (after, texts) = gated.next().await;
            assert_eq!(after, 0);
            left.push_str(&texts);
        }
        gated.push(&["y"]);
        gated
            .sender
            .close(Close::Clean, Some(b"failed"), Instant::now());
        assert_eq!(gated.next().await, at(0, "<y>failed"));
        assert_eq!(gated.next().await, at(0, "end"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_does_not_wait_for_the_client() {
        let mut gated = Gated::new(Some(BATCH), None);
        gated.push(&["a"]);
        gated.next().await;
        gated.push(&["b"]);
        let since = gated.sender.status().waiting_since.unwrap();
        assert_eq!(since.duration_since(gated.began).as_millis(), 50);
    }
}
