//! Counts the connections to agents, so that they leave the file descriptors alone that others need.
//!
//! A new connection is opened only while fewer than the configured number are open; otherwise the request is refused.
//! Idle connections count, too. They may hold a small part of all only: a connection that waits for a request must not
//! keep one from being served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many connections to agents the process has. It outlives the configuration.
#[derive(Debug, Default)]
pub struct Sockets {
    open: Arc<AtomicUsize>,
    idle: Arc<AtomicUsize>,
}

/// How many connections to agents there may be, according to one configuration.
#[derive(Clone, Debug)]
pub struct Budget {
    sockets: Arc<Sockets>,
    open: usize,
    idle: usize,
}

/// Counts a connection as open, or as idle, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Sockets {
    /// Returns the number of connections, including idle ones.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns a budget of `open` connections, of which at most `idle` are kept for later requests.
    pub fn budget(sockets: &Arc<Self>, open: usize, idle: usize) -> Budget {
        Budget {
            sockets: Arc::clone(sockets),
            open,
            idle,
        }
    }
}

impl Budget {
    /// Counts a connection that is about to be opened. Returns `None` if there are too many.
    pub(super) fn open(&self) -> Option<Counted> {
        Counted::enter(&self.sockets.open, self.open)
    }

    /// Counts an open connection as idle. Returns `None` if it must be closed instead.
    pub(super) fn keep(&self) -> Option<Counted> {
        Counted::enter(&self.sockets.idle, self.idle)
    }
}

impl Counted {
    fn enter(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let entered = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < max).then_some(count + 1)
        });
        entered.ok().map(|_| Self(Arc::clone(count)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_across_configurations() {
        let sockets = Arc::<Sockets>::default();
        let before = Sockets::budget(&sockets, 2, 1);
        let (first, second) = (before.open(), before.open());
        assert!(first.is_some() && second.is_some() && before.open().is_none());
        let idle = before.keep();
        assert!(idle.is_some() && before.keep().is_none());
        let after = Sockets::budget(&sockets, 3, 2);
        assert!(after.open().is_some() && after.keep().is_some());
        assert!(before.open().is_none(), "dropped, but two are open");
        drop((first, idle));
        assert_eq!(sockets.open(), 1);
        assert!(before.open().is_some() && before.keep().is_some());
    }
}
