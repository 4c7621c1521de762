//! The pool of one worker's shared HTTP/2 connections to one upstream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::connection::{Connection, Place};

/// The open connections.
#[derive(Debug)]
pub(in crate::upstream) struct Pool {
    /// By endpoint. Locked while a connection is opened, so that concurrent requests share it.
    open: Box<[Mutex<Vec<Connection>>]>,
    max_age: Duration,
    /// Another configuration is in force: no more connections are kept.
    retired: AtomicBool,
}

impl Pool {
    /// Creates an empty pool for this many endpoints.
    pub(in crate::upstream) fn new(endpoints: usize, max_age: Duration) -> Self {
        Self {
            open: (0..endpoints).map(|_| Mutex::default()).collect(),
            max_age,
            retired: AtomicBool::new(false),
        }
    }

    /// Returns a place on a connection to `endpoint`, and whether `connect` has just opened the connection.
    ///
    /// # Errors
    /// If `connect` fails.
    pub(in crate::upstream) async fn place<E>(
        &self,
        endpoint: usize,
        connect: impl Future<Output = Result<Connection, E>>,
    ) -> Result<(Place, bool), E> {
        let Some(open) = self.open.get(endpoint) else {
            return Ok((connect.await?.first_place(), true));
        };
        let mut open = open.lock().await;
        open.retain(|one| one.is_useful(self.max_age));
        if let Some(place) = open.iter().find_map(|one| one.place(self.max_age)) {
            return Ok((place, false));
        }
        let new = connect.await?;
        let place = new.first_place();
        if self.retired.load(Ordering::Relaxed) {
            open.clear();
        } else {
            open.push(new);
        }
        Ok((place, true))
    }

    /// Closes connections without streams, and lets the others end with their last stream.
    pub(in crate::upstream) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        // Those of a locked endpoint are in use. `place` drops them.
        for mut open in self.open.iter().filter_map(|open| open.try_lock().ok()) {
            open.clear();
        }
    }

    /// Drops connections that have been unused for too long.
    pub(in crate::upstream) fn prune(&self) {
        // Those of a locked endpoint are in use.
        for mut open in self.open.iter().filter_map(|open| open.try_lock().ok()) {
            open.retain(|one| one.is_useful(self.max_age));
        }
    }

    /// Drops all connections, except those of an endpoint to which one is being opened.
    pub(in crate::upstream) fn clear(&self) {
        for mut open in self.open.iter().filter_map(|open| open.try_lock().ok()) {
            open.clear();
        }
    }
}
