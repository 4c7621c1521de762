//! A histogram and a gauge for what every event of every stream changes.
//!
//! If all threads counted into one set of atomics, its cache lines would move between processors at each
//! event. Here each thread counts separately, and a scrape adds the counts up. Of all that is written for an event, only
//! these counts belong to no stream.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
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
/// Places take some 500 bytes each, for each route.
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

/// A gauge with separate counts for each thread. What one thread adds, another may take away again: only the sum means
/// something.
#[derive(Clone, Debug)]
pub struct BusyGauge {
    counts: Arc<[Count]>,
}

/// The count of one place, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicI64);

impl Default for BusyGauge {
    fn default() -> Self {
        Self {
            counts: (0..*PLACES).map(|_| Count::default()).collect(),
        }
    }
}

impl BusyGauge {
    /// Adds `change`, which may be negative.
    pub fn add(&self, change: i64) {
        if let Some(Count(count)) = self.counts.get(PLACE.with(|place| *place)) {
            count.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Adds up what the threads have counted.
    pub fn sum(&self) -> i64 {
        let counts = self.counts.iter();
        counts
            .map(|Count(count)| count.load(Ordering::Relaxed))
            .sum()
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
    fn what_one_thread_adds_another_takes_away() {
        let gauge = BusyGauge::default();
        let (adding, taking) = (gauge.clone(), gauge.clone());
        let adds = move || (0..1000).for_each(|_| adding.add(3));
        let takes = move || (0..1000).for_each(|_| taking.add(-2));
        let threads = [std::thread::spawn(adds), std::thread::spawn(takes)];
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(gauge.sum(), 1000);
    }

    #[test]
    fn threads_count_on_cache_lines_of_their_own() {
        // Two lines, because processors fetch them in pairs.
        assert!(align_of::<Place>() >= 128 && align_of::<Count>() >= 128);
        assert_eq!((size_of::<Place>() % 128, size_of::<Count>()), (0, 128));
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
