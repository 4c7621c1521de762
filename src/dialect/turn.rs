//! Tells whether another text begins by what stands beside its pieces: the number of a step, or the id of a message.
//!
//! Such a value may also count events. It counts as that once it was another one in too many events in a row.

/// In how many events in a row the number of a step may be another one before it counts as a number of events: models
/// may write a step as one event.
pub(super) const MAX_STEPS: u8 = 8;

/// The most texts of one stream, side by side, whose values are told apart, beside the first one.
const MAX_OTHERS: usize = 15;

/// The values beside the texts of a stream.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The lane and the value of the first text.
    first: Option<(u64, Turn)>,
    others: Vec<(u64, Turn)>,
}

impl Turns {
    /// Reports whether the piece with this value begins another text in its lane than the one before. Zero says
    /// nothing. A value that is another one in more than `most` events in a row counts events.
    pub(super) fn begins(&mut self, lane: u64, value: u64, most: u8) -> bool {
        if value == 0 {
            return false;
        }
        match &mut self.first {
            Some((own, turn)) if *own == lane => turn.begins(value, most),
            first @ None => {
                *first = Some((lane, Turn::first(value)));
                false
            }
            Some(_) => self.begins_beside(lane, value, most),
        }
    }

    /// Does the same for a text that is not the first one.
    #[inline(never)]
    fn begins_beside(&mut self, lane: u64, value: u64, most: u8) -> bool {
        if let Some((_, turn)) = self.others.iter_mut().find(|(own, _)| *own == lane) {
            return turn.begins(value, most);
        }
        if self.others.len() == MAX_OTHERS {
            self.others.remove(0);
        }
        self.others.push((lane, Turn::first(value)));
        false
    }

    /// Notes a further piece of the text in this lane with the last value, or without one.
    pub(super) fn goes_on(&mut self, lane: u64) {
        let mut all = self.first.iter_mut().chain(&mut self.others);
        if let Some((_, turn)) = all.find(|(own, _)| *own == lane) {
            turn.lasts = true;
        }
    }
}

/// The value beside the last piece of one text.
#[derive(Debug)]
struct Turn {
    /// A hash.
    value: u64,
    /// More than one event had this value.
    lasts: bool,
    /// In how many events in a row the value was another one.
    changes: u8,
}

impl Turn {
    const fn first(value: u64) -> Self {
        Self {
            value,
            lasts: false,
            changes: 0,
        }
    }

    const fn begins(&mut self, value: u64, most: u8) -> bool {
        if value == self.value {
            self.lasts = true;
            return false;
        }
        let is_another = self.lasts || self.changes < most;
        let before = if self.lasts { 0 } else { self.changes };
        *self = Self {
            value,
            lasts: false,
            changes: before.saturating_add(1),
        };
        is_another
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &str, most: u8) -> String {
        let mut turns = Turns::default();
        values
            .bytes()
            .map(|value| if value == b'0' { 0 } else { u64::from(value) })
            .map(|value| {
                if turns.begins(7, value, most) {
                    'b'
                } else {
                    '-'
                }
            })
            .collect()
    }

    #[test]
    fn a_value_that_lasts_tells_texts_apart_and_a_counter_does_not() {
        for (values, begins) in [
            ("aabb", "--b-"),
            ("ab", "-b"),
            ("aabc", "--b-"),
            ("abcd", "-b--"),
            ("aabbcc", "--b-b-"),
            ("a0bb", "--b-"),
        ] {
            assert_eq!(found(values, 1), begins, "{values}");
        }
        assert_eq!(found("abcdef", 3), "-bbb--");
        assert_eq!(found("abbcd", 0), "---b-", "only one that has lasted");
    }

    #[test]
    fn events_without_a_value_go_on_with_the_last_one() {
        let mut turns = Turns::default();
        let mut begins = Vec::new();
        for value in 1..4 {
            begins.push(turns.begins(7, value, 1));
            turns.goes_on(7);
        }
        assert_eq!(begins, [false, true, true]);
    }

    #[test]
    fn texts_side_by_side_have_a_value_each() {
        let mut turns = Turns::default();
        for _ in 0..3 {
            for lane in 1..4 {
                assert!(!turns.begins(lane, lane + 10, 1));
                assert!(!turns.begins(lane, lane + 10, 1));
            }
        }
        assert!(turns.begins(2, 30, 1));
        for lane in 0..100 {
            turns.begins(lane, 1, 1);
        }
        assert_eq!(turns.others.len(), MAX_OTHERS);
    }
}
