//! Measures text that bypassed a reading because it only continued the open text.

/// Pieces of a text of which the reading was left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skipped {
    /// The length of all of them.
    pub(super) length: usize,
    last: [u8; Self::MAX_LAST],
    last_length: usize,
}

impl Skipped {
    const MAX_LAST: usize = 16;

    /// Adds a piece.
    pub(super) fn add(&mut self, text: &[u8]) {
        self.length += text.len();
        let start = text.len().saturating_sub(Self::MAX_LAST);
        let end = text.get(start..).unwrap_or_default();
        if let Some(place) = self.last.get_mut(..end.len()) {
            place.copy_from_slice(end);
            self.last_length = end.len();
        }
    }

    /// Returns the end of the last piece.
    pub(super) fn last(&self) -> &[u8] {
        self.last.get(..self.last_length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_and_the_end_are_kept() {
        let mut skipped = Skipped::default();
        for (piece, length, last) in [
            ("Rain", 4, "Rain"),
            (" in", 7, " in"),
            (" the harbour of Oslo", 27, " harbour of Oslo"),
        ] {
            skipped.add(piece.as_bytes());
            assert_eq!(skipped.length, length);
            assert_eq!(skipped.last(), last.as_bytes(), "{piece}");
        }
    }
}
