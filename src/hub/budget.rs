//! How much memory the journals of all streams may take together.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A journal that finds the budget exceeded by this share of it makes room itself: the task that should do so is late.
const LAST_SHARE: usize = 4;

/// The share of the budget that is freed when room is made, so that this need not be done again at once.
const SPARE_SHARE: usize = 16;

/// The memory of all journals of the process. Shared by all hubs.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    total: usize,
    exceeded: Notify,
}

impl Budget {
    /// Creates the budget of journals that may take `total` bytes.
    pub const fn new(total: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            total,
            exceeded: Notify::const_new(),
        }
    }

    /// Returns how many bytes the journals take.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns how many bytes the journals may take.
    pub const fn total(&self) -> usize {
        self.total
    }

    /// Reports whether the journals take more than they may.
    pub fn is_exceeded(&self) -> bool {
        self.used() > self.total
    }

    /// Reports whether there is so little room that it will soon be exceeded again.
    pub fn is_tight(&self) -> bool {
        self.used() > self.total - self.total / SPARE_SHARE
    }

    /// Is ready when the budget has been exceeded since the last call.
    pub async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    /// Reports whether a journal must make room itself.
    pub(super) fn is_far_exceeded(&self) -> bool {
        self.used() > self.total + self.total / LAST_SHARE
    }

    pub(super) fn change(&self, before: usize, now: usize) {
        if now <= before {
            self.used.fetch_sub(before - now, Ordering::Relaxed);
            return;
        }
        let grown = now - before;
        let used = self.used.fetch_add(grown, Ordering::Relaxed) + grown;
        if used > self.total {
            self.exceeded.notify_one();
        }
    }
}
