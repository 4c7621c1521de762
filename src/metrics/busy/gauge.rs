//! A gauge of what every event of every stream changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::places::{PLACES, place};

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
            counts: (0..=*PLACES).map(|_| Count::default()).collect(),
        }
    }
}

impl BusyGauge {
    /// Adds `change`, which may be negative.
    pub fn add(&self, change: i64) {
        if let Some(Count(count)) = self.counts.get(place()) {
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
    use std::thread;

    use super::*;

    #[test]
    fn what_one_thread_adds_another_takes_away() {
        let gauge = BusyGauge::default();
        let (adding, taking) = (gauge.clone(), gauge.clone());
        let adds = move || (0..1000).for_each(|_| adding.add(3));
        let takes = move || (0..1000).for_each(|_| taking.add(-2));
        let threads = [thread::spawn(adds), thread::spawn(takes)];
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(gauge.sum(), 1000);
    }

    #[test]
    fn threads_count_on_cache_lines_of_their_own() {
        // Two lines, because processors fetch them in pairs.
        assert_eq!((align_of::<Count>(), size_of::<Count>()), (128, 128));
    }
}
