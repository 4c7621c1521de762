//! One worker's shared connections to one upstream, by endpoint.

use std::time::Duration;

use tokio::sync::Mutex;

use super::connection::{Connection, Place};

/// The connections that are open.
#[derive(Debug)]
pub(in crate::upstream) struct Pool {
    /// By endpoint. Held while one is opened: whoever comes meanwhile shares it.
    open: Box<[Mutex<Vec<Connection>>]>,
    max_age: Duration,
}

impl Pool {
    /// No connections to so many endpoints.
    pub(in crate::upstream) fn new(endpoints: usize, max_age: Duration) -> Self {
        Self {
            open: (0..endpoints).map(|_| Mutex::default()).collect(),
            max_age,
        }
    }

    /// A place on a connection to `endpoint`, and whether the connection is a new one, which `connect` gave.
    ///
    /// # Errors
    /// What `connect` says.
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
        open.push(new);
        Ok((place, true))
    }

    /// Lets go of those that are unused for too long.
    pub(in crate::upstream) fn prune(&self) {
        // One that is locked is in use.
        for mut open in self.open.iter().filter_map(|open| open.try_lock().ok()) {
            open.retain(|one| one.is_useful(self.max_age));
        }
    }
}
