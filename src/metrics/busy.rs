//! A histogram for values observed at every event of every stream.
//!
//! If all threads counted into one set of atomics, its cache lines would move between processors at each
//! event. Here each thread counts separately, and a scrape adds the counts up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use prometheus::Histogram;
use prometheus::local::LocalHistogram;

/// Threads that count without contention. Further threads share places, which costs time but loses no counts.
const PLACES: usize = 8;

thread_local! {
    static PLACE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % PLACES
    };
}

/// A histogram with separate counts for each thread.
#[derive(Debug)]
pub struct BusyHistogram {
    places: [Place; PLACES],
}

/// The counts of one place, on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Place(Mutex<LocalHistogram>);

impl BusyHistogram {
    pub(super) fn new(histogram: &Histogram) -> Self {
        Self {
            places: std::array::from_fn(|_| Place(Mutex::new(histogram.local()))),
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
        for Place(place) in &self.places {
            place.lock().unwrap_or_else(PoisonError::into_inner).flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;

    #[test]
    fn nothing_is_lost_between_threads_and_scrapes() {
        let histogram = Histogram::with_opts(HistogramOpts::new("x", "x")).unwrap();
        let busy = BusyHistogram::new(&histogram);
        std::thread::scope(|scope| {
            for _ in 0..2 * PLACES {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        busy.observe(0.5);
                    }
                    busy.flush();
                });
            }
        });
        busy.flush();
        assert_eq!(histogram.get_sample_count(), 2 * PLACES as u64 * 1000);
        assert_eq!(histogram.get_sample_sum(), PLACES as f64 * 1000.0);
    }
}
