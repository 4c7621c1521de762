//! The buffer of a ring: all blocks one after the other, in an allocation hardly larger than the ring's bound.

use super::{NOTE_BYTES, spare};

/// Up to this many bytes are copied out, and the buffer stays.
const COPY_BYTES: usize = 2 * 1024;
/// The smallest buffer: room for one event of most models.
const FIRST_BYTES: usize = 256;
/// A buffer larger than this belongs to a client that does not read.
const LARGE_BYTES: usize = 64 * 1024;
const AT_ONCE_BYTES: usize = 1024 * 1024;
/// Buffers with at least this bound keep a share of it free of live blocks. Dead bytes can then stay for a while;
/// without that room, every block would have to be moved for each new one.
const ROOMY_BYTES: usize = 64 * 1024;
const SLACK_SHARE: usize = 16;
/// In any ring, the entries of this many events take nothing of the room for blocks.
const FREE_EVENTS: usize = 1024;

/// The blocks, with holes between them where blocks were taken or dropped.
#[derive(Debug)]
pub(super) struct Store {
    bytes: Vec<u8>,
    max_live: usize,
    /// The largest size of the buffer, in bytes. A single block alone may exceed it.
    roof: usize,
    free_notes: usize,
}

impl Store {
    pub(super) const fn new(max_bytes: usize) -> Self {
        let slack = max_bytes / SLACK_SHARE;
        let (max_live, roof) = if max_bytes < ROOMY_BYTES {
            (max_bytes, max_bytes + slack)
        } else {
            // The other share is for the entry that describes each block.
            (max_bytes - 2 * slack, max_bytes - slack)
        };
        Self {
            bytes: Vec::new(),
            max_live,
            roof,
            free_notes: if slack > FREE_EVENTS * NOTE_BYTES {
                slack
            } else {
                FREE_EVENTS * NOTE_BYTES
            },
        }
    }

    /// Returns the most bytes that live blocks may have together.
    pub(super) const fn max_live(&self) -> usize {
        self.max_live
    }

    /// Returns how many bytes the entries may take that describe the blocks. What they take beyond it is taken from the
    /// room for blocks.
    pub(super) const fn free_notes(&self) -> usize {
        self.free_notes
    }

    /// Returns where the next block will begin.
    pub(super) const fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the `len` bytes at `start`.
    pub(super) fn block(&self, start: usize, len: usize) -> &[u8] {
        self.bytes.get(start..start + len).unwrap_or_default()
    }

    /// Reports whether holes must be closed before `len` more bytes are appended, given that `live` bytes belong to
    /// live blocks. That is so when the buffer is full, and either more than half of it is dead or it must not grow
    /// any more.
    pub(super) const fn is_worn(&self, live: usize, len: usize) -> bool {
        let needed = self.bytes.len() + len;
        let dead = self.bytes.len() > live;
        needed > self.bytes.capacity()
            && dead
            && (self.bytes.len() > 2 * live || needed > self.roof)
    }

    /// Appends a block. The buffer grows up to `roof`, and beyond it only as far as the block requires.
    #[inline]
    pub(super) fn put(&mut self, block: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::bytes(self.roof);
        }
        let needed = self.bytes.len() + block.len();
        if needed > self.bytes.capacity() {
            let roomy = match 2 * self.bytes.capacity() {
                // Grows in one step: pages that are never written cost nothing, but moving written bytes does.
                twice if twice > LARGE_BYTES => twice.max(AT_ONCE_BYTES),
                twice => twice.max(FIRST_BYTES),
            };
            let target = roomy.min(self.roof).max(needed);
            self.bytes.reserve_exact(target - self.bytes.len());
        }
        self.bytes.extend_from_slice(block);
    }

    /// Makes `block`, the only one, the buffer.
    pub(super) fn adopt(&mut self, block: Vec<u8>) {
        self.bytes = block;
    }

    /// Reserves room for `bytes`, up to the size of a usual read. A buffer that grew step by step would be copied
    /// each time.
    pub(super) fn expect(&mut self, bytes: usize) {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::bytes(self.roof);
        }
        if bytes > self.bytes.capacity() {
            let room = bytes.min(LARGE_BYTES).min(self.roof);
            self.bytes
                .reserve_exact(room.saturating_sub(self.bytes.len()));
        }
    }

    /// Cuts off everything from `end` on.
    pub(super) fn truncate(&mut self, end: usize) {
        self.bytes.truncate(end);
    }

    /// Moves the block of `len` bytes at `from` down to `to`.
    pub(super) fn slide(&mut self, from: usize, to: usize, len: usize) {
        if from != to && from + len <= self.bytes.len() {
            self.bytes.copy_within(from..from + len, to);
        }
    }

    /// Appends the bytes from `start` to `end` to `out`. If `out` is empty and they are all the bytes there are, and
    /// many, hands over the buffer itself.
    pub(super) fn take(&mut self, start: usize, end: usize, out: &mut Vec<u8>) {
        if out.is_empty() && start == 0 && end == self.bytes.len() && end > COPY_BYTES {
            *out = std::mem::take(&mut self.bytes);
        } else {
            out.extend_from_slice(self.bytes.get(start..end).unwrap_or_default());
        }
    }

    /// Returns the buffer itself, cut after the `len` bytes of its first block; what follows moves to the front of a
    /// new one. Returns `None` if the block does not lie at the front.
    pub(super) fn split(&mut self, start: usize, len: usize) -> Option<Vec<u8>> {
        if start > 0 || len > self.bytes.len() {
            return None;
        }
        let rest = self.bytes.split_off(len);
        Some(std::mem::replace(&mut self.bytes, rest))
    }

    /// Gives the buffer back for other queues to use. No block may be live.
    pub(super) fn empty(&mut self) {
        spare::keep_bytes(std::mem::take(&mut self.bytes));
    }

    /// Returns the size of the allocation, in bytes.
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
