//! What a ring is made of and what it says.

use tokio::time::Instant;

use crate::event::{Class, Content, Merge, Span};

/// What happened so far; only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    /// The most bytes that ever waited.
    pub max_bytes: usize,
    /// Bytes taken by the reader.
    pub taken_bytes: u64,
    /// Events taken by the reader, by [`Class::index`]; heartbeats and Weir's own end included.
    pub taken: [u64; Class::ALL.len()],
    /// Events that were joined to another.
    pub merged: u64,
    /// Dropped events, by [`Class::index`].
    pub dropped: [u64; Class::ALL.len()],
    /// Events thrown away because nobody was left to take them, by [`Class::index`].
    pub unsent: [u64; Class::ALL.len()],
}

/// What was dropped between two events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) events: u64,
    pub(super) chars: u64,
}

/// One event that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where the block starts in the buffer.
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) class: Class,
    pub(super) content: Content,
    pub(super) merge: Option<Merge>,
    /// Where its text lies in the block.
    pub(super) text: Span,
    pub(super) arrived: Instant,
    /// Dropped directly before this one.
    pub(super) gap: Gap,
    /// Dropped: it stays as a mark until the ring is tidied, so that nothing is moved for it.
    pub(super) dead: bool,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// It waits, was joined, or was dropped as the rules say.
    Accepted,
    /// The rule of this queue is to end the stream.
    Disconnect,
    /// It must wait outside until something is taken.
    Full,
}

/// What a reader got: one or more whole blocks.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// How many events they are.
    pub events: usize,
    /// When the oldest of them came from the upstream.
    pub oldest: Instant,
}

impl Gap {
    /// The comment that tells of it.
    pub(super) fn notice(self) -> String {
        let Self { events, chars } = self;
        format!(": weir dropped={events} chars={chars}\n")
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.events += other.events;
        self.chars += other.chars;
    }
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
