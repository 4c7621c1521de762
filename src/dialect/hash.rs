//! A fast hash for keys: of texts, of tool calls, of what must be equal before two events are merged.
//!
//! Keys are compared only with keys of the same stream, whose upstream writes the names as well as the texts. It gains
//! nothing from two names with the same hash, so the hash needs no secret. Most events that are parsed hash a few
//! short strings, for which the standard library's hash costs several times as much.

use std::hash::Hasher;

/// The golden ratio as a fraction of 2^64.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hash by multiplication: each word is multiplied to 128 bits, whose halves are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fold(u64);

impl Default for Fold {
    fn default() -> Self {
        // Not zero: zeros at the beginning count, too.
        Self(FACTOR)
    }
}

impl Fold {
    /// Returns the hash of `bytes`.
    pub(super) fn of(bytes: &[u8]) -> u64 {
        let mut hash = Self::default();
        hash.write(bytes);
        hash.0
    }

    /// Adds one word.
    pub(super) fn word(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word).wrapping_mul(u128::from(FACTOR));
        let low = u64::try_from(wide & u128::from(u64::MAX)).unwrap_or_default();
        let high = u64::try_from(wide >> u64::BITS).unwrap_or_default();
        self.0 = low ^ high;
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            let (words, _) = bytes.as_chunks();
            for word in words {
                self.word(u64::from_le_bytes(*word));
            }
            // The last word may overlap the one before it.
            self.word(u64::from_le_bytes(*last));
        } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            self.word(u64::from(first) << u32::BITS | u64::from(last));
        } else {
            let few = bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.word(few);
        }
        self.word(bytes.len() as u64);
    }

    fn write_u8(&mut self, number: u8) {
        self.word(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.word(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.word(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.word(number.cast_unsigned() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_that_differ_in_one_byte_have_different_hashes() {
        let mut hashes = HashSet::new();
        let mut texts = HashSet::new();
        for len in 0..=40 {
            for place in 0..=len {
                for byte in [0, 1, b'0', b'a', b'b', 0xff] {
                    let mut text = vec![b'a'; len];
                    if let Some(at) = text.get_mut(place) {
                        *at = byte;
                    }
                    hashes.insert(Fold::of(&text));
                    texts.insert(text);
                }
            }
        }
        assert_eq!(hashes.len(), texts.len());
        let halves: HashSet<u64> = hashes.iter().map(|hash| hash >> 32).collect();
        assert_eq!(
            halves.len(),
            texts.len(),
            "either half is a hash of its own"
        );
    }

    #[test]
    fn counters_have_different_hashes() {
        let numbers = 0..100_000_u32;
        let hashes: HashSet<u64> = numbers
            .clone()
            .map(|number| Fold::of(number.to_string().as_bytes()))
            .collect();
        assert_eq!(hashes.len(), numbers.len());
    }
}
