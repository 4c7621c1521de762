//! The limit on unsent bytes, shared by all workers.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum number of bytes that wait or are being sent.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// The room of everything that waits.
#[derive(Debug, Default)]
pub(super) struct Room(AtomicUsize);

impl Room {
    /// Takes room for `bytes` bytes, if there is enough.
    pub(super) fn enter(&self, bytes: usize) -> bool {
        let used = self.0.fetch_add(bytes, Ordering::Relaxed);
        let fits = used
            .checked_add(bytes)
            .is_some_and(|used| used <= MAX_BYTES);
        if !fits {
            self.leave(bytes);
        }
        fits
    }

    /// Gives room back.
    pub(super) fn leave(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns how many bytes wait.
    pub(super) fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_holds_more_than_it_may() {
        let room = Room::default();
        assert!(room.enter(MAX_BYTES - 1) && room.enter(1));
        assert!(!room.enter(1));
        assert_eq!(room.used(), MAX_BYTES);
        room.leave(5);
        assert!(!room.enter(6) && room.enter(5));
        assert!(!room.enter(usize::MAX));
        assert_eq!(room.used(), MAX_BYTES);
    }
}
