//! The limits of a queue, and the overflow rule that applies when they are reached.

/// Bounds and rules of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of events that may wait.
    pub max_events: usize,
    /// Maximum number of bytes that may wait; of 64 KiB and more one eighth is for notes and room to move. Beyond 1,024
    /// events, notes that take more than that share are counted as well.
    pub max_bytes: usize,
    /// Whether equal neighbours may be joined before anything is dropped.
    pub merge: bool,
    /// What happens to a droppable event when nothing else helps.
    pub overflow: Overflow,
}

/// What happens at the bound, after merging and compacting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The upstream is not read until there is room.
    Block,
    /// The stream ends as `client_stalled`, so that a resumable client comes back.
    Disconnect,
    /// The oldest droppable event leaves.
    DropOldest,
}
