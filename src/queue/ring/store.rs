//! Where the blocks of a ring lie: one after the other, in one buffer that is hardly larger than its bound.

use super::spare;

/// Up to so much is taken as a copy, and the buffer stays.
const COPY_BYTES: usize = 2 * 1024;
/// The smallest buffer: one event of most models.
const FIRST_BYTES: usize = 256;
/// A buffer that outgrows this belongs to a client that does not read.
const LARGE_BYTES: usize = 64 * 1024;
const AT_ONCE_BYTES: usize = 1024 * 1024;
/// Buffers from this bound on keep a share of it free of live blocks: room to let dead bytes lie for a while,
/// without which every block would have to be moved for each new one.
const ROOMY_BYTES: usize = 64 * 1024;
const SLACK_SHARE: usize = 16;

/// Blocks, and between them the holes of those that have left.
#[derive(Debug)]
pub(super) struct Store {
    bytes: Vec<u8>,
    max_live: usize,
    /// The most bytes it may have. One block alone may have more.
    roof: usize,
}

impl Store {
    pub(super) const fn new(max_bytes: usize) -> Self {
        let slack = max_bytes / SLACK_SHARE;
        let (max_live, roof) = if max_bytes < ROOMY_BYTES {
            (max_bytes, max_bytes + slack)
        } else {
            // The other share is for what is noted of each block.
            (max_bytes - 2 * slack, max_bytes - slack)
        };
        Self {
            bytes: Vec::new(),
            max_live,
            roof,
        }
    }

    /// The most bytes that live blocks may have together.
    pub(super) const fn max_live(&self) -> usize {
        self.max_live
    }

    /// Where the next block will begin.
    pub(super) const fn end(&self) -> usize {
        self.bytes.len()
    }

    /// The `len` bytes at `start`.
    pub(super) fn block(&self, start: usize, len: usize) -> &[u8] {
        self.bytes.get(start..start + len).unwrap_or_default()
    }

    /// Whether holes must be closed before `len` more bytes come, when `live` bytes are not dead: half of the
    /// buffer is dead, or it cannot grow any more.
    pub(super) const fn is_worn(&self, live: usize, len: usize) -> bool {
        let needed = self.bytes.len() + len;
        let dead = self.bytes.len() > live;
        needed > self.bytes.capacity()
            && dead
            && (self.bytes.len() > 2 * live || needed > self.roof)
    }

    /// Appends a block. The buffer grows up to its roof, and beyond it holds what it must.
    pub(super) fn put(&mut self, block: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::bytes(self.roof);
        }
        let needed = self.bytes.len() + block.len();
        if needed > self.bytes.capacity() {
            let roomy = match 2 * self.bytes.capacity() {
                // At once: pages that are not written cost nothing, moving what was written does.
                twice if twice > LARGE_BYTES => twice.max(AT_ONCE_BYTES),
                twice => twice.max(FIRST_BYTES),
            };
            let target = roomy.min(self.roof).max(needed);
            self.bytes.reserve_exact(target - self.bytes.len());
        }
        self.bytes.extend_from_slice(block);
    }

    /// Gets room for `bytes`, as far as a usual read goes: a buffer that grows step by step is copied at each.
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

    /// Appends the bytes from `start` to `end` to `out`; gives the buffer itself when they are much, and all there
    /// is on either side.
    pub(super) fn take(&mut self, start: usize, end: usize, out: &mut Vec<u8>) {
        if out.is_empty() && start == 0 && end == self.bytes.len() && end > COPY_BYTES {
            *out = std::mem::take(&mut self.bytes);
        } else {
            out.extend_from_slice(self.bytes.get(start..end).unwrap_or_default());
        }
    }

    /// Nothing lives any more: others may use its room.
    pub(super) fn empty(&mut self) {
        spare::keep_bytes(std::mem::take(&mut self.bytes));
    }

    /// The memory it holds, bytes.
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
