//! A gap: how much was dropped at one place of a stream.

/// What was dropped between two events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) events: u64,
    pub(super) chars: u64,
}

impl Gap {
    pub(super) const fn add(&mut self, other: Self) {
        self.events += other.events;
        self.chars += other.chars;
    }
}

/// Characters of a text as it is written: an escape is several.
pub(super) fn written_chars(raw: &[u8]) -> usize {
    // Each character has one byte that does not go on with another.
    raw.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

/// Characters of a raw JSON string body: an escape is one, the halves of a surrogate pair are two.
pub(super) fn chars(raw: &[u8]) -> u64 {
    let mut count = 0;
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        let skip = match (first, after.first()) {
            (b'\\', Some(b'u')) => 5,
            (b'\\', Some(_)) => 1,
            _ => 0,
        };
        count += u64::from(first & 0xC0 != 0x80);
        rest = after.get(skip..).unwrap_or_default();
    }
    count
}
