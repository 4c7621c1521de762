//! Upstream calls that continue although their client has left, and how many of them there may be.
//!
//! Nobody waits for such a call at the other end of a connection, so a client could start one after another and leave
//! each of them behind. They still count as requests in progress, and as streams if they are streams. In addition they
//! have a limit of their own (`limits.max_detached`). Beyond it, a call is cancelled with its client, like any other.
//!
//! No client can take that limit for itself: its address may have as many of these calls as are still free, so a single
//! one gets half of them at most. Each call ends by its deadlines, at `total` at the latest.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The calls that continue without their client.
#[derive(Debug, Default)]
pub struct DetachedCalls {
    /// Locked for a look-up and an addition. It has as many entries as there are clients with such calls.
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_client: HashMap<Client, usize>,
}

/// Who is counted as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    /// The client of a Unix socket.
    Local,
    V4([u8; 4]),
    /// The first half of an address. The other half belongs to whoever has the first one.
    V6([u8; 8]),
}

impl Client {
    fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Local,
            Some(IpAddr::V4(address)) => Self::V4(address.octets()),
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl DetachedCalls {
    /// Returns how many calls continue without their client.
    pub fn len(&self) -> usize {
        self.lock().all
    }

    /// Reports whether no call continues without its client.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts one more, or reports that there are too many.
    fn enter(&self, client: Client, max: usize) -> bool {
        let mut counts = self.lock();
        let free = max.saturating_sub(counts.all);
        let own = counts.by_client.get(&client).copied().unwrap_or(0);
        if own >= free {
            return false;
        }
        counts.all += 1;
        counts.by_client.insert(client, own + 1);
        true
    }

    fn leave(&self, client: Client) {
        let mut counts = self.lock();
        counts.all = counts.all.saturating_sub(1);
        if let Some(own) = counts.by_client.get_mut(&client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.by_client.remove(&client);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right of a call to continue when its client leaves, as long as there is room for it.
#[derive(Clone)]
pub struct Detachable {
    calls: Arc<DetachedCalls>,
    client: Client,
    /// `limits.max_detached`
    max: usize,
    /// Shared with whoever counts a client that has left.
    detached: Arc<AtomicBool>,
    /// Counts the call as a request in progress.
    _held: Arc<dyn Send + Sync>,
}

impl std::fmt::Debug for Detachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detachable")
            .field("client", &self.client)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

impl Detachable {
    /// Creates the right of a call of the client at `address`. `held` is kept as long as the call runs, because the
    /// call still counts as a request.
    pub fn new(
        calls: &Arc<DetachedCalls>,
        address: Option<IpAddr>,
        max: usize,
        held: Arc<dyn Send + Sync>,
    ) -> Self {
        Self {
            calls: Arc::clone(calls),
            client: Client::of(address),
            max,
            detached: Arc::default(),
            _held: held,
        }
    }

    /// Lets the call continue without its client, until the guard is dropped. Returns `None` if there are too many such
    /// calls; the call must then be cancelled.
    pub fn detach(self) -> Option<DetachedCall> {
        if !self.calls.enter(self.client, self.max) {
            return None;
        }
        self.detached.store(true, Ordering::Relaxed);
        Some(DetachedCall(self))
    }

    /// Reports whether the call, or a clone of this right, was allowed to continue.
    pub fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Relaxed)
    }
}

/// A call that continues without its client, counted until it is dropped.
#[derive(Debug)]
pub struct DetachedCall(Detachable);

impl Drop for DetachedCall {
    fn drop(&mut self) {
        self.0.calls.leave(self.0.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detach(calls: &Arc<DetachedCalls>, address: &str, max: usize) -> Option<DetachedCall> {
        let address = address.parse().ok();
        Detachable::new(calls, address, max, Arc::new(())).detach()
    }

    #[test]
    fn an_address_gets_half_of_them_and_others_the_rest() {
        let calls = Arc::<DetachedCalls>::default();
        let of = |address: &str| {
            let all = std::iter::from_fn(|| detach(&calls, address, 10));
            all.collect::<Vec<_>>()
        };
        let first = of("192.0.2.1");
        assert_eq!(first.len(), 5);
        let second = of("192.0.2.2");
        assert_eq!(second.len(), 3);
        let third = of("192.0.2.3").len();
        assert_eq!((third, calls.len()), (1, 8));
        drop(first);
        assert_eq!(of("192.0.2.2").len(), 2);
        drop(second);
        assert!(calls.is_empty() && calls.lock().by_client.is_empty());
    }

    #[test]
    fn one_is_enough_for_one_and_none_for_nobody() {
        let calls = Arc::<DetachedCalls>::default();
        let only = detach(&calls, "192.0.2.1", 1);
        assert!(only.is_some());
        assert!(detach(&calls, "192.0.2.2", 1).is_none());
        drop(only);
        assert!(detach(&calls, "192.0.2.2", 1).is_some());
        assert!(detach(&calls, "192.0.2.2", 0).is_none());
    }

    #[test]
    fn the_addresses_of_a_network_are_one_client() {
        let of = |address: &str| Client::of(address.parse().ok());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of(""), Client::Local);
    }

    #[test]
    fn a_call_that_continues_still_counts_as_a_request_and_its_clones_know() {
        let calls = Arc::<DetachedCalls>::default();
        let held = Arc::new(());
        let own = Arc::clone(&held);
        let right = Detachable::new(&calls, None, 1, own);
        let seen = right.clone();
        assert!(!seen.is_detached());
        let call = right.detach();
        assert!(seen.is_detached() && call.is_some());
        drop(seen);
        assert_eq!(Arc::strong_count(&held), 2);
        drop(call);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
