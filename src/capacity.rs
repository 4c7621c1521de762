//! Counts what is in progress against a limit, and keeps a few connections from taking all of it.
//!
//! An HTTP/2 client can have hundreds of requests in progress on one connection. Under a limit alone, the first few
//! such clients would take everything, and everybody else would be refused. So a connection may have only so many in
//! progress as the number that is still free allows:
//!
//! ```text
//! free of 800   a connection may have
//!      800      2804 (no more than the limit, of course)
//!      200       404
//!      110        44
//!      100         4   from here on: reserved for connections that have few
//!       50         2
//!       25         1
//! ```
//!
//! While little is in progress, this restricts nobody. A single connection can take seven tenths of the limit, and
//! several ones together seven eighths. The last eighth is for others, and a connection without requests is refused
//! only if nothing is free. (Switches share their buffers between ports in this way; it is called dynamic thresholds.)

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Of the limit, one in this many is reserved for connections that have few in progress.
const RESERVED_PART: usize = 8;
/// A connection that has fewer than this may use the reserved part, too.
const FEW: usize = 4;
/// How many times as many as are still free, without the reserved part, one connection may have in addition.
const GREED: usize = 4;

/// Returns how many of `max` a connection may have while `free` are free.
fn allowed(free: usize, max: usize) -> usize {
    let reserved = max / RESERVED_PART;
    match free.checked_sub(reserved) {
        Some(more @ 1..) => more.saturating_mul(GREED).saturating_add(FEW),
        // Not a division by zero: nothing reserved and nothing more means that nothing is free.
        _ => (FEW * free).checked_div(reserved).unwrap_or(0).max(1),
    }
}

/// How many of one kind are in progress.
#[derive(Debug, Default)]
pub struct Capacity {
    count: AtomicUsize,
    kind: Kind,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Requests in progress. Calls that continue without their client count, too.
    #[default]
    Requests,
    /// Live streams.
    Streams,
}

/// How many of each kind belong to one connection.
#[derive(Clone, Debug, Default)]
pub struct Share(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicUsize,
    streams: AtomicUsize,
}

impl Share {
    fn of(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Requests => &self.0.requests,
            Kind::Streams => &self.0.streams,
        }
    }
}

/// Why there is no room for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The limit is reached.
    Limit,
    /// The connection has its share, and the rest is for others.
    Share,
}

impl Capacity {
    /// Creates a count of this kind.
    pub const fn new(kind: Kind) -> Self {
        Self {
            count: AtomicUsize::new(0),
            kind,
        }
    }

    /// Counts one more for the connection of `share`, until the guard is dropped.
    ///
    /// # Errors
    /// If `max` are in progress, or the connection has its share of them.
    pub fn enter(self: &Arc<Self>, max: usize, share: &Share) -> Result<Entered, Full> {
        let entered = (self.count).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < max).then_some(count + 1)
        });
        let free = max - entered.map_err(|_| Full::Limit)?;
        let own = share.of(self.kind).fetch_add(1, Ordering::Relaxed);
        // From here on, dropping the guard takes both counts back.
        let entered = Entered {
            capacity: Arc::clone(self),
            share: share.clone(),
        };
        if own >= allowed(free, max) {
            return Err(Full::Share);
        }
        Ok(entered)
    }

    /// Reports whether there is room for one more. This may change before it enters.
    ///
    /// # Errors
    /// As [`Capacity::enter`].
    pub fn check(&self, max: usize, share: &Share) -> Result<(), Full> {
        let free = max.saturating_sub(self.len());
        if free == 0 {
            return Err(Full::Limit);
        }
        if share.of(self.kind).load(Ordering::Relaxed) >= allowed(free, max) {
            return Err(Full::Share);
        }
        Ok(())
    }

    /// Returns how many a connection could have in progress that has none yet, if nobody else took more meanwhile.
    pub fn share(&self, max: usize) -> usize {
        let free = max.saturating_sub(self.len());
        let more = free.saturating_sub(max / RESERVED_PART);
        // Each that it takes is no longer free.
        let share = (more.saturating_mul(GREED).saturating_add(FEW)).div_ceil(GREED + 1);
        share.max(FEW).min(free)
    }

    /// Returns how many are in progress.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Reports whether none is in progress.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Counts one as in progress until it is dropped.
#[derive(Debug)]
pub struct Entered {
    capacity: Arc<Capacity>,
    share: Share,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let own = self.share.of(self.capacity.kind);
        own.fetch_sub(1, Ordering::Relaxed);
        self.capacity.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A limit, and what is in progress.
    struct Place {
        max: usize,
        capacity: Arc<Capacity>,
        all: Vec<Entered>,
    }

    impl Place {
        fn new(max: usize) -> Self {
            Self {
                max,
                capacity: Arc::default(),
                all: Vec::new(),
            }
        }

        /// Lets new connections take all they can, in turns, and returns how many each has.
        fn greedy(&mut self, connections: usize) -> Vec<usize> {
            let shares: Vec<Share> = (0..connections).map(|_| Share::default()).collect();
            loop {
                let entered: Vec<_> = (shares.iter())
                    .filter_map(|share| self.capacity.enter(self.max, share).ok())
                    .collect();
                if entered.is_empty() {
                    break;
                }
                self.all.extend(entered);
            }
            let count = |share: &Share| share.of(Kind::Requests).load(Ordering::Relaxed);
            shares.iter().map(count).collect()
        }
    }

    #[test]
    fn greedy_connections_leave_room_for_others_whether_they_come_together_or_not() {
        assert_eq!(Place::new(100).greedy(1), [72]);
        assert_eq!(Place::new(100).greedy(2), [40, 40]);
        for max in [26, 53, 160, 10_000] {
            let mut place = Place::new(max);
            let counts: Vec<_> = (0..3).map(|_| place.greedy(1)[0]).collect();
            assert!(counts.is_sorted_by(|one, next| one >= next), "{counts:?}");
            let late = Share::default();
            assert!(place.capacity.enter(max, &late).is_ok(), "{counts:?}");
        }
        let mut place = Place::new(160);
        assert_eq!(place.greedy(3).iter().sum::<usize>(), 131);
        assert_eq!(place.greedy(1), [8]);
        // Connections with few requests get what is left.
        assert_eq!(place.greedy(1), [3]);
    }

    #[test]
    fn connections_with_one_request_each_fill_the_limit() {
        let mut place = Place::new(20);
        let shares: Vec<Share> = (0..20).map(|_| Share::default()).collect();
        let enter = |share| place.capacity.enter(20, share);
        place.all = shares.iter().map(|share| enter(share).unwrap()).collect();
        let late = Share::default();
        assert_eq!(place.capacity.enter(20, &late).err(), Some(Full::Limit));
        assert_eq!(place.capacity.check(20, &late), Err(Full::Limit));
        place.all.clear();
        assert!(place.capacity.is_empty() && place.capacity.enter(20, &late).is_ok());
        assert_eq!(
            late.of(Kind::Requests).load(Ordering::Relaxed),
            0,
            "guards take back"
        );
    }

    #[test]
    fn small_limits_can_be_used_whole() {
        for max in 1..8 {
            assert_eq!(Place::new(max).greedy(1), [max]);
        }
        assert_eq!(Place::new(8).greedy(1), [7]);
        assert_eq!(Place::new(0).greedy(1), [0]);
    }

    #[test]
    fn a_share_is_what_a_connection_can_take() {
        for max in [1, 4, 8, 26, 100, 160, 9_999] {
            for before in [0, 1, 3] {
                let mut place = Place::new(max);
                for _ in 0..before {
                    place.greedy(1);
                }
                let share = place.capacity.share(max);
                let took = place.greedy(1)[0];
                assert!(
                    share == took || (took <= FEW && share <= FEW),
                    "{share} {took}"
                );
            }
        }
    }

    #[test]
    fn who_has_its_share_is_told_so_and_may_go_on_when_others_leave() {
        let mut place = Place::new(100);
        place.greedy(1);
        let share = Share::default();
        let enter = || place.capacity.enter(100, &share);
        let own: Vec<_> = std::iter::from_fn(|| enter().ok()).collect();
        assert_eq!(enter().err(), Some(Full::Share));
        assert_eq!(place.capacity.check(100, &share), Err(Full::Share));
        place.all.clear();
        assert_eq!(place.capacity.check(100, &share), Ok(()));
        assert!(place.capacity.enter(100, &share).is_ok());
        drop(own);
        assert!(place.capacity.is_empty());
    }

    #[test]
    fn a_limit_that_was_lowered_refuses_until_enough_have_left() {
        let capacity = Arc::<Capacity>::default();
        let share = Share::default();
        let all: Vec<_> = (0..8)
            .map(|_| capacity.enter(100, &share).unwrap())
            .collect();
        assert_eq!(capacity.enter(4, &share).err(), Some(Full::Limit));
        assert_eq!(capacity.check(4, &share), Err(Full::Limit));
        assert_eq!(capacity.share(4), 0);
        drop(all);
        assert!(capacity.enter(4, &share).is_ok());
    }
}
