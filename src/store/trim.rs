//! How far the oldest events of a stream may be deleted, so that its bounds hold.

use std::collections::VecDeque;

/// Into how many parts the bounds are divided. Whole parts are deleted.
const PARTS: u64 = 32;

/// Some events after each other.
#[derive(Debug)]
struct Part {
    /// The number of its last event.
    last: u64,
    events: u64,
    bytes: u64,
}

/// What is stored of a stream, in at most `4 * PARTS` parts.
#[derive(Debug)]
pub(super) struct Trim {
    max_events: u64,
    max_bytes: u64,
    parts: VecDeque<Part>,
    events: u64,
    bytes: u64,
}

impl Trim {
    pub(super) const fn new(max_events: u64, max_bytes: u64) -> Self {
        Self {
            max_events,
            max_bytes,
            parts: VecDeque::new(),
            events: 0,
            bytes: 0,
        }
    }

    /// Counts an entry that is about to be stored, whose last event has this number. Returns the number below which
    /// everything may be deleted, if that has changed.
    pub(super) fn store(&mut self, last: u64, events: u64, bytes: u64) -> Option<u64> {
        self.events += events;
        self.bytes += bytes;
        match self.parts.back_mut() {
            Some(part)
                if part.events + events <= self.max_events / PARTS
                    && part.bytes + bytes <= self.max_bytes / PARTS =>
            {
                part.last = last;
                part.events += events;
                part.bytes += bytes;
            }
            _ => self.parts.push_back(Part {
                last,
                events,
                bytes,
            }),
        }
        let mut below = None;
        // As many events stay as the bound allows, if there are so many. The newest part stays, however large it is.
        while self.parts.len() > 1 {
            let can_go = |part: &mut Part| {
                self.events - part.events >= self.max_events || self.bytes > self.max_bytes
            };
            let Some(part) = self.parts.pop_front_if(can_go) else {
                break;
            };
            self.events -= part.events;
            self.bytes -= part.bytes;
            below = Some(part.last + 1);
        }
        below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_hold_and_little_is_lost_early() {
        let mut trim = Trim::new(1_000, 64_000);
        let mut first = 1;
        for last in 1..=10_000 {
            if let Some(below) = trim.store(last, 1, 100) {
                assert!(below > first);
                first = below;
            }
            let kept = last + 1 - first;
            assert!(kept <= 640, "{kept} events of 100 bytes");
            assert!(kept >= last.min(600), "{kept} at {last}");
            assert!(trim.parts.len() <= 128);
        }
    }

    #[test]
    fn what_is_larger_than_the_bounds_is_kept_alone() {
        let mut trim = Trim::new(4, 10);
        assert_eq!(trim.store(1, 1, 50), None);
        assert_eq!(trim.store(3, 2, 50), Some(2));
        assert_eq!(trim.store(4, 1, 1), Some(4));
        assert_eq!(trim.store(8, 4, 1), Some(5));
    }
}
