//! The buffer in which the translators of a thread put blocks together.
//!
//! A block is passed on before the next one begins. So they use the same buffer in turn: it stays in the processor's
//! cache, and ten thousand quiet streams hold none.

use std::cell::Cell;

/// The largest buffer that is kept, in bytes.
const KEEP_BYTES: usize = 64 * 1024;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The buffer, until it is dropped. Who takes it meanwhile gets another one.
#[derive(Debug)]
pub(super) struct Spare(Vec<u8>);

impl Spare {
    /// Takes the buffer of this thread. What is in it is of no use.
    #[inline]
    pub(super) fn take() -> Self {
        Self(SPARE.take())
    }

    /// Returns the buffer.
    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Spare {
    #[inline]
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if buffer.capacity() > KEEP_BYTES {
            buffer.clear();
            buffer.shrink_to(KEEP_BYTES);
        }
        SPARE.set(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_one_buffer_of_a_bounded_size() {
        let mut spare = Spare::take();
        spare.buffer().reserve_exact(100);
        let mut other = Spare::take();
        assert_eq!(other.buffer().capacity(), 0, "the first one has it");
        drop(other);
        drop(spare);
        let mut spare = Spare::take();
        assert!(spare.buffer().capacity() >= 100);
        spare.buffer().resize(4 * KEEP_BYTES, b'x');
        drop(spare);
        let kept = Spare::take().buffer().capacity();
        assert!((1..2 * KEEP_BYTES).contains(&kept), "{kept}");
    }
}
