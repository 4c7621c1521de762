//! What a ring is made of and what it says.

use tokio::time::Instant;

use super::gap::Gap;
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
