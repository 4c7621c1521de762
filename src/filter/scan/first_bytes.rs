//! The bytes with which markers begin, so that all other text is not compared with each of them.

use super::{ENDS, HEADERS, Marks};
use crate::filter::markers::Place;

/// The first bytes of the markers that are looked for in visible text.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstBytes {
    /// One bit for each byte.
    always: [u64; 4],
    /// As `always`, of the markers that are recognised only before the answer begins.
    at_start: [u64; 4],
}

impl FirstBytes {
    pub(super) fn new(marks: &Marks) -> Self {
        let mut first_bytes = Self::default();
        for pair in &marks.pairs {
            let bits = match pair.place {
                Place::Anywhere | Place::LineStart => &mut first_bytes.always,
                Place::TextStart => &mut first_bytes.at_start,
            };
            set(bits, pair.open.as_bytes());
            for close in &pair.close {
                set(&mut first_bytes.always, close.as_bytes());
            }
        }
        if marks.harmony {
            for mark in HEADERS.iter().chain(&ENDS) {
                set(&mut first_bytes.always, mark);
            }
        }
        first_bytes
    }

    /// Reports whether a marker may begin with `byte`; `started`: the answer has begun.
    pub(super) fn has(&self, byte: u8, started: bool) -> bool {
        is_set(&self.always, byte) || (!started && is_set(&self.at_start, byte))
    }
}

fn set(bits: &mut [u64; 4], mark: &[u8]) {
    let Some(first) = mark.first() else { return };
    if let Some(word) = bits.get_mut(usize::from(first >> 6)) {
        *word |= 1 << (first & 63);
    }
}

fn is_set(bits: &[u64; 4], byte: u8) -> bool {
    bits.get(usize::from(byte >> 6))
        .is_some_and(|word| word & (1 << (byte & 63)) != 0)
}
