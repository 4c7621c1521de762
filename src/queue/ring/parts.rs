//! The entries of a ring, and the results of its operations.

use tokio::time::Instant;

use super::gap::Gap;
use crate::event::{Class, Content, Merge, Span};

/// The totals of a ring. They never fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    /// The largest number of bytes that waited at once.
    pub max_bytes: usize,
    /// Bytes taken by the reader.
    pub taken_bytes: u64,
    /// Events taken by the reader, by [`Class::index`], including heartbeats and the last event that Weir writes.
    pub taken: [u64; Class::ALL.len()],
    /// Events that were merged with another one.
    pub merged: u64,
    /// Dropped events, by [`Class::index`].
    pub dropped: [u64; Class::ALL.len()],
    /// Events discarded because nobody was left to take them, by [`Class::index`].
    pub unsent: [u64; Class::ALL.len()],
}

/// What [`Counts`] tell of a reader that does not keep up. Most never get any of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    pub(super) merged: u64,
    pub(super) dropped: [u64; Class::ALL.len()],
    pub(super) unsent: [u64; Class::ALL.len()],
}

/// An event that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where the block starts in the buffer.
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) class: Class,
    pub(super) content: Content,
    /// Whose event it is: [`Event::agent`](crate::event::Event::agent).
    pub(super) agent: u8,
    pub(super) merge: Option<Merge>,
    /// Where the text lies in the block.
    pub(super) text: Span,
    pub(super) arrived: Instant,
    /// What was dropped directly before this event.
    pub(super) gap: Gap,
    /// The number of the event in its stream, which the reader gets as its id; zero if it has none. Of joined events
    /// the last one's.
    pub(super) seq: u64,
    /// The event was dropped. The entry stays until the ring is tidied, so that nothing has to be moved for it.
    pub(super) dead: bool,
}

/// What a gate must know of an event that waits.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub class: Class,
    /// How many characters its text has, about: escapes count as they are written.
    pub chars: usize,
    pub arrived: Instant,
}

/// What happened to an event that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// The event waits, was merged, or was dropped according to the overflow rule.
    Accepted,
    /// The overflow rule ends the stream.
    Disconnect,
    /// The event must wait outside until the reader takes something.
    Full,
}

/// What a reader took: one or more whole events.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// How many events it took.
    pub events: usize,
    /// When the oldest of them was received from the upstream.
    pub oldest: Instant,
}
