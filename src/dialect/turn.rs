//! Tells whether another text begins by what stands beside its pieces: the number of a step, or the id of a message.
//!
//! Such a value may also count events. It counts as that once it was another one in two events in a row.

/// The value beside the last piece of a text.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// A hash; zero before the first one.
    value: u64,
    /// More than one event had this value.
    lasts: bool,
    /// The value has changed.
    has_changed: bool,
}

impl Turn {
    /// Reports whether the piece with this value begins another text than the one before. Zero says nothing.
    pub(super) const fn begins(&mut self, value: u64) -> bool {
        if value == 0 {
            return false;
        }
        if value == self.value {
            self.lasts = true;
            return false;
        }
        let is_first = self.value == 0;
        let is_another = !is_first && (self.lasts || !self.has_changed);
        *self = Self {
            value,
            lasts: false,
            has_changed: !is_first,
        };
        is_another
    }

    /// Notes a further event with the last value, or without one.
    pub(super) const fn goes_on(&mut self) {
        self.lasts = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let mut turn = Turn::default();
            let found: String = values
                .bytes()
                .map(|value| if value == b'0' { 0 } else { u64::from(value) })
                .map(|value| if turn.begins(value) { 'b' } else { '-' })
                .collect();
            assert_eq!(found, begins, "{values}");
        }
    }

    #[test]
    fn events_without_a_value_go_on_with_the_last_one() {
        let mut turn = Turn::default();
        let mut begins = Vec::new();
        for value in 1..4 {
            begins.push(turn.begins(value));
            turn.goes_on();
        }
        assert_eq!(begins, [false, true, true]);
    }
}
