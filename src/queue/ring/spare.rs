//! Room for what waits a moment.
//!
//! Most queues hold one event from its read to its write, and nothing after it. They use the same room one after
//! the other: it is in the processor's cache, and ten thousand quiet streams hold none.

use std::cell::Cell;
use std::collections::VecDeque;

use super::parts::Entry;

/// Larger buffers are not kept.
const KEEP_BYTES: usize = 32 * 1024;
/// Places for entries that are kept.
const KEEP_ENTRIES: usize = 256;

thread_local! {
    static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static ENTRIES: Cell<VecDeque<Entry>> = const { Cell::new(VecDeque::new()) };
}

/// An empty buffer of at most `roof` bytes, which may have no room at all.
pub(super) fn bytes(roof: usize) -> Vec<u8> {
    let spare = BYTES.take();
    if spare.capacity() <= roof {
        return spare;
    }
    BYTES.set(spare);
    Vec::new()
}

/// Gives a buffer back that nothing is left in.
pub(super) fn keep_bytes(mut buffer: Vec<u8>) {
    let spare = BYTES.take();
    let better = (spare.capacity()..=KEEP_BYTES).contains(&buffer.capacity());
    buffer.clear();
    BYTES.set(if better { buffer } else { spare });
}

/// An empty list of entries.
pub(super) fn entries() -> VecDeque<Entry> {
    ENTRIES.take()
}

/// Gives a list back that nothing is left in.
pub(super) fn keep_entries(mut list: VecDeque<Entry>) {
    let spare = ENTRIES.take();
    let better = (spare.capacity()..=KEEP_ENTRIES).contains(&list.capacity());
    list.clear();
    ENTRIES.set(if better { list } else { spare });
}
