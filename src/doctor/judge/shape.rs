//! The shape over time of a response whose events carry no send times.

use super::super::observation::{Form, Observation, bursts_within};

/// A stream that is shorter than this shows nothing.
pub(crate) const SHORT: i64 = 700_000;
/// Events that arrive within this time of the first of them arrive together. Fast models write 200 tokens in a second.
pub(crate) const TOGETHER: i64 = 4_000;
/// A response with fewer events shows nothing about times.
pub(crate) const FEW: usize = 5;

/// The shape of a stream in time.
pub(crate) struct Shape {
    pub(crate) count: usize,
    pub(crate) bursts: usize,
    /// When the head, the first and the last event arrived, from the request on.
    pub(crate) head: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Shape {
    /// Returns the shape of a response; `None` if it has no event.
    pub(crate) fn of(seen: &Observation) -> Option<Self> {
        let events = seen.events();
        Some(Self {
            count: events.len(),
            bursts: bursts_within(&events, TOGETHER),
            head: seen.head.as_ref()?.at - seen.asked,
            first: events.first()? - seen.asked,
            last: events.last()? - seen.asked,
        })
    }

    /// Returns how many events a burst has, times ten.
    pub(crate) fn density(&self) -> usize {
        self.count * 10 / self.bursts.max(1)
    }

    /// Returns the mean time from one burst to the next.
    pub(crate) fn apart(&self) -> i64 {
        let gaps = i64::try_from(self.bursts.saturating_sub(1)).unwrap_or(1);
        (self.last - self.first) / gaps.max(1)
    }

    /// Everything came at once, after a while.
    pub(crate) fn is_one_piece(&self) -> bool {
        let took = self.last - self.first;
        self.count >= FEW && self.last > SHORT && took <= (self.last / 20).max(50_000)
    }
}

/// Reports whether a body without events came in one piece that had come in many at the hop before.
pub(crate) fn is_collected(seen: &Observation, now: &Shape, was: &Shape) -> bool {
    seen.form == Form::Other
        && was.count >= FEW
        && was.last - was.first > SHORT
        && now.count < FEW
        && now.last - now.first < 50_000
        && now.last > SHORT
}
