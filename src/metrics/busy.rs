//! A histogram for values observed at every event of every stream.
//!
//! If all threads counted into one set of atomics, its cache lines would move between processors at each
//! event. Here each thread counts separately, and a scrape adds the counts up. Of all that is written for an event, only
//! these counts belong to no stream.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::available_parallelism;

use prometheus::Histogram;
use prometheus::local::LocalHistogram;

/// Threads that count without contention: one for each core, as workers are by default. Further threads share places,
/// which costs time but loses no counts.
static PLACES: LazyLock<usize> = LazyLock::new(|| {
    available_parallelism().map_or(MIN_PLACES, |cores| {
        cores.get().clamp(MIN_PLACES, MAX_PLACES)
    })
});
const MIN_PLACES: usize = 8;
/// Places take some 400 bytes each, for each route.
const MAX_PLACES: usize = 128;

thread_local! {
    static PLACE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % *PLACES
    };
}

/// A histogram with separate counts for each thread.
#[derive(Debug)]
pub struct BusyHistogram {
    places: Box<[Place]>,
}

/// The counts of one place, on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Place(Mutex<LocalHistogram>);

impl BusyHistogram {
    pub(super) fn new(histogram: &Histogram) -> Self {
        Self {
            places: (0..*PLACES)
                .map(|_| Place(Mutex::new(histogram.local())))
                .collect(),
        }
    }

    /// Counts `value`.
    pub fn observe(&self, value: f64) {
        if let Some(Place(place)) = self.places.get(PLACE.with(|place| *place)) {
            let place = place.lock().unwrap_or_else(PoisonError::into_inner);
            place.observe(value);
        }
    }

    /// Adds up what the threads have counted.
    pub(super) fn flush(&self) {
        for Place(place) in &*self.places {
            place.lock().unwrap_or_else(PoisonError::into_inner).flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use prometheus::HistogramOpts;

    use super::*;

    #[test]
    fn nothing_is_lost_between_threads_and_scrapes() {
        let histogram = Histogram::with_opts(HistogramOpts::new("x", "x")).unwrap();
        let busy = BusyHistogram::new(&histogram);
        std::thread::scope(|scope| {
            for _ in 0..2 * *PLACES {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        busy.observe(0.5);
                    }
                    busy.flush();
                });
            }
        });
        busy.flush();
        assert_eq!(histogram.get_sample_count(), 2 * *PLACES as u64 * 1000);
        assert_eq!(histogram.get_sample_sum(), *PLACES as f64 * 1000.0);
    }

    #[test]
    fn threads_count_on_cache_lines_of_their_own() {
        // Two lines, because processors fetch them in pairs.
        assert!(align_of::<Place>() >= 128);
        assert_eq!(size_of::<Place>() % 128, 0);
        let used: HashSet<usize> = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for _ in 0..*PLACES {
                threads.push(scope.spawn(|| PLACE.with(|place| *place)));
            }
            threads.into_iter().map(|one| one.join().unwrap()).collect()
        });
        // Threads of other tests may take places in between.
        assert!(used.len() > 1, "{used:?}");
        assert!(used.iter().all(|place| *place < *PLACES));
    }
}
