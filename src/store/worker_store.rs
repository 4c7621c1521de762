//! The store connection and queues of one worker.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client::Link;
use super::follow::Feeds;
use super::outbox::Outbox;

/// The outbox of a worker, the streams that it follows, and its connection.
pub(super) struct WorkerStore {
    pub(super) worker: usize,
    pub(super) outbox: Arc<Outbox>,
    pub(super) feeds: Arc<Feeds>,
    /// The connection that writes, while it works. Locked for a clone.
    link: Mutex<Option<Link>>,
    is_up: AtomicBool,
}

impl fmt::Debug for WorkerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerStore")
            .field("worker", &self.worker)
            .field("is_up", &self.is_up)
            .finish_non_exhaustive()
    }
}

impl WorkerStore {
    pub(super) fn new(worker: usize, outbox: Outbox) -> Self {
        Self {
            worker,
            outbox: Arc::new(outbox),
            feeds: Arc::default(),
            link: Mutex::default(),
            is_up: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection, if it works.
    pub(super) fn link(&self) -> Option<Link> {
        self.lock().clone()
    }

    /// Says whether the connection works.
    pub(super) fn set_link(&self, link: Option<Link>) {
        self.is_up.store(link.is_some(), Ordering::Relaxed);
        let before = std::mem::replace(&mut *self.lock(), link);
        // It may close a connection, which nobody should wait for.
        drop(before);
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }
}
