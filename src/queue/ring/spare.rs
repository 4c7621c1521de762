//! Spare buffers that the queues of a thread share.
//!
//! Most queues hold one event from its read to its write, and are empty afterwards. They use the same buffers in turn:
//! these stay in the processor's cache, and ten thousand quiet streams hold none.

use std::cell::Cell;
use std::collections::VecDeque;

use super::parts::Entry;

/// The largest buffer that is kept, in bytes.
const KEEP_BYTES: usize = 32 * 1024;
/// The largest list of entries that is kept.
const KEEP_ENTRIES: usize = 256;

thread_local! {
    static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static ENTRIES: Cell<VecDeque<Entry>> = const { Cell::new(VecDeque::new()) };
}

/// Returns an empty buffer of at most `roof` bytes, which may have no allocation at all.
pub(super) fn bytes(roof: usize) -> Vec<u8> {
    let spare = BYTES.take();
    if spare.capacity() <= roof {
        return spare;
    }
    BYTES.set(spare);
    Vec::new()
}

/// Takes back a buffer whose content is no longer needed.
#[expect(
    clippy::inline_always,
    reason = "a call for each event costs 10 instructions"
)]
#[inline(always)]
pub(super) fn keep_bytes(mut buffer: Vec<u8>) {
    if buffer.capacity() > KEEP_BYTES {
        return;
    }
    buffer.clear();
    let other = BYTES.replace(buffer);
    // There is none if it was this buffer that was lent.
    if other.capacity() > 0 {
        BYTES.set(larger(BYTES.take(), other, Vec::capacity));
    }
}

/// Returns an empty list of entries.
pub(super) fn entries() -> VecDeque<Entry> {
    ENTRIES.take()
}

/// Takes back a list whose entries are no longer needed.
#[expect(
    clippy::inline_always,
    reason = "a call for each event costs 10 instructions"
)]
#[inline(always)]
pub(super) fn keep_entries(mut list: VecDeque<Entry>) {
    if list.capacity() > KEEP_ENTRIES {
        return;
    }
    list.clear();
    let other = ENTRIES.replace(list);
    if other.capacity() > 0 {
        ENTRIES.set(larger(ENTRIES.take(), other, VecDeque::capacity));
    }
}

/// Returns the larger one.
#[cold]
fn larger<T>(one: T, other: T, capacity: fn(&T) -> usize) -> T {
    if capacity(&other) > capacity(&one) {
        other
    } else {
        one
    }
}
