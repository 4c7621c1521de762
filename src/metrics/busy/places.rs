//! The places at which threads count what every event changes: one of its own for each thread, as long as there are
//! any.

use std::cell::Cell;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

/// Places that one thread has for itself: one for each core, as workers are by default. All further threads have this
/// number as their place: they share one more, which costs time but loses no counts.
pub(super) static PLACES: LazyLock<usize> = LazyLock::new(|| {
    available_parallelism().map_or(MIN_PLACES, |cores| {
        cores.get().clamp(MIN_PLACES, MAX_PLACES)
    })
});
const MIN_PLACES: usize = 8;
/// Places take some 500 bytes each, for each route.
const MAX_PLACES: usize = 128;

/// The places that no thread has. Locked when a thread counts for the first time, and when it ends.
static FREE: LazyLock<Mutex<Vec<usize>>> =
    LazyLock::new(|| Mutex::new((0..*PLACES).rev().collect()));

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(UNKNOWN) };
    static LEASE: Lease = Lease(free().pop());
}
/// The thread has not counted yet.
const UNKNOWN: usize = usize::MAX;

/// Returns the place of this thread.
///
/// Invariant: no two threads have one below [`PLACES`] at the same time. What its last thread has written there, the
/// next one sees.
pub(super) fn place() -> usize {
    match PLACE.get() {
        UNKNOWN => settle(),
        place => place,
    }
}

/// Returns the place of this thread if it has one for itself and has asked for it before, otherwise no place below
/// [`PLACES`].
#[inline]
pub(super) fn own_place() -> usize {
    PLACE.get()
}

#[cold]
fn settle() -> usize {
    let place = match LEASE.try_with(|Lease(place)| *place) {
        Ok(Some(place)) => place,
        // All are taken, or the thread has given its own back.
        Ok(None) | Err(_) => *PLACES,
    };
    PLACE.set(place);
    place
}

/// A thread's own place, until the thread ends.
struct Lease(Option<usize>);

impl Drop for Lease {
    fn drop(&mut self) {
        // What the thread counts from here on must not meet the next one that has the place.
        PLACE.set(*PLACES);
        free().extend(self.0);
    }
}

fn free() -> MutexGuard<'static, Vec<usize>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn no_two_threads_have_one_place() {
        let threads = 2 * *PLACES;
        let all = Barrier::new(threads);
        let places: Vec<usize> = thread::scope(|scope| {
            let mut running = Vec::new();
            for _ in 0..threads {
                running.push(scope.spawn(|| {
                    assert!(own_place() >= *PLACES, "it has not asked");
                    let first = place();
                    assert_eq!(own_place(), first);
                    all.wait();
                    assert_eq!(place(), first, "a thread keeps its place");
                    first
                }));
            }
            running.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let own: Vec<usize> = places.into_iter().filter(|one| *one < *PLACES).collect();
        let unique: HashSet<&usize> = own.iter().collect();
        assert_eq!(own.len(), unique.len(), "{own:?}");
    }

    #[test]
    fn a_thread_that_ends_leaves_its_place_to_others() {
        let mut own = 0;
        // Threads of other tests may have all places for a while.
        let deadline = Instant::now() + Duration::from_secs(30);
        while own <= 2 * *PLACES {
            let place = thread::spawn(place).join().unwrap();
            own += usize::from(place < *PLACES);
            assert!(Instant::now() < deadline, "only {own} had one of their own");
        }
    }
}
