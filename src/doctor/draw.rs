//! Draws arrival times as a strip of characters, for a terminal.

use super::judge::flow::timed;
use super::observation::{Arrival, End, Observation, What};
use super::offset::Offset;

/// The width of a strip.
pub(crate) const WIDTH: usize = 60;

/// The times of one response, drawn on the same scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strips {
    /// When events were sent, if that is known.
    pub(crate) sent: Option<String>,
    pub(crate) arrived: String,
    /// The time from the request to the end, in microseconds.
    pub(crate) span: i64,
}

/// What is in one cell, in the order of importance.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    events: usize,
    has_comment: bool,
    has_head: bool,
    is_cut: bool,
}

impl Cell {
    fn drawn(self) -> char {
        match self {
            Self { events: 1, .. } => '|',
            Self {
                events: count @ 2..=9,
                ..
            } => u32::try_from(count)
                .ok()
                .and_then(|count| char::from_digit(count, 10))
                .unwrap_or('#'),
            Self { events: 10.., .. } => '#',
            Self { is_cut: true, .. } => 'X',
            Self { has_head: true, .. } => 'H',
            Self {
                has_comment: true, ..
            } => ':',
            Self { .. } => '.',
        }
    }
}

/// A strip from `from` to `to`.
struct Strip {
    from: i64,
    to: i64,
    cells: [Cell; WIDTH],
}

impl Strip {
    const fn new(from: i64, to: i64) -> Self {
        Self {
            from,
            to,
            cells: [Cell {
                events: 0,
                has_comment: false,
                has_head: false,
                is_cut: false,
            }; WIDTH],
        }
    }

    /// Returns the cell of a time; the first or the last one if it lies outside.
    fn at(&mut self, at: i64) -> Option<&mut Cell> {
        let width = i64::try_from(WIDTH).unwrap_or(1);
        let span = (self.to - self.from).max(1);
        let index = (at - self.from).saturating_mul(width) / span;
        let index = usize::try_from(index.clamp(0, width - 1)).unwrap_or_default();
        self.cells.get_mut(index)
    }

    fn drawn(&self) -> String {
        self.cells.iter().map(|cell| cell.drawn()).collect()
    }
}

/// Draws a response. `offset` is the one of the probe's clock.
pub(crate) fn strips(seen: &Observation, offset: Option<Offset>) -> Strips {
    let (from, to) = (seen.asked, seen.ended);
    let mut arrived = Strip::new(from, to);
    if let Some(head) = &seen.head
        && let Some(cell) = arrived.at(head.at)
    {
        cell.has_head = true;
    }
    for Arrival { at, what } in &seen.arrivals {
        let Some(cell) = arrived.at(*at) else {
            continue;
        };
        match what {
            // The end of a probe stream comes with its last event.
            What::Event(Some(stamp)) if stamp.is_end => {}
            What::Event(_) => cell.events += 1,
            What::Comment => cell.has_comment = true,
        }
    }
    if matches!(seen.end, End::Broken(_))
        && let Some(cell) = arrived.at(to)
    {
        cell.is_cut = true;
    }
    let sent = offset.map(|offset| {
        let mut sent = Strip::new(from, to);
        for event in timed(seen, offset) {
            if let Some(cell) = sent.at(event.sent) {
                cell.events += 1;
            }
        }
        sent.drawn()
    });
    Strips {
        sent,
        arrived: arrived.drawn(),
        span: to - from,
    }
}

#[cfg(test)]
mod tests {
    use super::super::judge::testing::{probe, stream};
    use super::super::offset::estimate;
    use super::*;

    #[test]
    fn a_strip_shows_what_arrived_together() {
        let events: Vec<i64> = (0..12).map(|_| 60).chain([10, 20, 20]).collect();
        let drawn = strips(&stream(0, &events, 60), None);
        let mut expected = vec!['.'; WIDTH];
        expected[0] = 'H';
        expected[10] = '|';
        expected[20] = '2';
        expected[59] = '#';
        assert_eq!(drawn.arrived, expected.iter().collect::<String>());
        assert_eq!((drawn.sent, drawn.span), (None, 60));
    }

    #[test]
    fn what_was_sent_is_drawn_on_the_same_scale() {
        let seen = probe(0, &[(0, 60), (30, 60)]);
        let drawn = strips(&seen, estimate(&[(0, 0)], &[(0, 0)], 0));
        let sent = drawn.sent.unwrap();
        assert_eq!(sent.chars().position(|mark| mark == '|'), Some(0));
        assert_eq!(sent.chars().nth(30), Some('|'));
        assert!(drawn.arrived.ends_with('2'));
    }

    #[test]
    fn a_cut_is_shown() {
        let mut seen = stream(0, &[1], 100);
        seen.end = End::Broken("reset".to_owned());
        assert!(strips(&seen, None).arrived.ends_with('X'));
        // A response without any time.
        seen.ended = 0;
        assert_eq!(strips(&seen, None).arrived.len(), WIDTH);
    }
}
