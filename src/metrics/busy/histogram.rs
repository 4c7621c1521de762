//! A histogram of what every event of every stream takes.
//!
//! A thread that has a place for itself needs neither a lock nor atomic additions: nobody else writes there.

use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Metric, MetricVec, MetricVecBuilder};
use prometheus::proto::{self, LabelPair};
use prometheus::{Error, HistogramOpts};

use super::places::{PLACES, own_place, place};
use crate::metrics::buckets;

/// Maximum number of buckets of a histogram, with the one that has no upper bound.
const BUCKETS: usize = buckets::GAP.len() + 1;
/// The upper bound of buckets that have none.
const UNBOUNDED: u64 = u64::MAX;

/// The histograms of a family.
pub(in crate::metrics) type BusyHistogramVec = MetricVec<Builder>;

/// A histogram of times, with separate counts for each thread.
#[derive(Clone, Debug)]
pub struct BusyHistogram {
    /// Upper bounds of the buckets, nanoseconds. The last one takes what no other does; those after it stay empty.
    bounds: [u64; BUCKETS],
    /// The places of threads that have one for themselves.
    own: Arc<[Place]>,
    /// The place of all other threads.
    shared: Arc<Place>,
    /// Locked for a scrape.
    sum: Arc<Mutex<Sum>>,
    labels: Arc<[LabelPair]>,
}

/// The counts of one place, on cache lines of their own. The sum and the first buckets are on one line.
#[derive(Debug, Default)]
#[repr(C, align(128))]
struct Place {
    /// The sum of all times, nanoseconds. It wraps: 10,000 streams that wait for their next event reach 2^64 within 22
    /// days.
    nanos: AtomicU64,
    /// How many times each bucket has, without those of the buckets before it.
    counts: [AtomicU64; BUCKETS],
}

/// The sum of all times, nanoseconds, as of the last scrape.
#[derive(Debug)]
struct Sum {
    /// What each place had.
    seen: Vec<u64>,
    total: u128,
}

impl BusyHistogram {
    /// Counts `value`, which must be below 584 years.
    #[inline]
    pub fn observe(&self, value: Duration) {
        let nanos = nanos(value);
        match self.own.get(own_place()) {
            Some(own) => own.count_alone(&self.bounds, nanos),
            None => self.observe_slowly(nanos),
        }
    }

    /// Counts for a thread that counts for the first time, or that has no place for itself.
    #[inline(never)]
    fn observe_slowly(&self, nanos: u64) {
        match self.own.get(place()) {
            Some(own) => own.count_alone(&self.bounds, nanos),
            None => self.shared.count_shared(&self.bounds, nanos),
        }
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.own.iter().chain(iter::once(&*self.shared))
    }

    /// Returns the sum of all times, nanoseconds. It is right as long as no place adds up 2^64 between two scrapes.
    fn sum(&self) -> u128 {
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        let Sum { seen, total } = &mut *sum;
        for (place, seen) in self.places().zip(seen) {
            let nanos = place.nanos.load(Ordering::Relaxed);
            *total += u128::from(nanos.wrapping_sub(*seen));
            *seen = nanos;
        }
        *total
    }
}

impl Place {
    /// Counts a time for the only thread that writes here.
    #[inline]
    fn count_alone(&self, bounds: &[u64; BUCKETS], nanos: u64) {
        let add = |count: &AtomicU64, more: u64| {
            let sum = count.load(Ordering::Relaxed).wrapping_add(more);
            count.store(sum, Ordering::Relaxed);
        };
        if let Some(count) = self.bucket(bounds, nanos) {
            add(count, 1);
        }
        add(&self.nanos, nanos);
    }

    /// Counts a time for one of several threads.
    fn count_shared(&self, bounds: &[u64; BUCKETS], nanos: u64) {
        if let Some(count) = self.bucket(bounds, nanos) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns the count of the bucket that takes `nanos`. Most times belong to one of the first.
    #[inline]
    fn bucket(&self, bounds: &[u64; BUCKETS], nanos: u64) -> Option<&AtomicU64> {
        let mut buckets = bounds.iter().zip(&self.counts);
        let found = buckets.find(|(bound, _)| nanos <= **bound);
        found.map(|(_, count)| count)
    }
}

impl Metric for BusyHistogram {
    /// A thread that counts meanwhile may have its last time in a bucket and not yet in the sum.
    fn metric(&self) -> proto::Metric {
        let mut counts = [0; BUCKETS];
        for place in self.places() {
            for (sum, count) in counts.iter_mut().zip(&place.counts) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BUCKETS);
        for (bound, more) in self.bounds.iter().zip(counts) {
            count += more;
            if *bound != UNBOUNDED {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(seconds(u128::from(*bound)));
                bucket.set_cumulative_count(count);
                buckets.push(bucket);
            }
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count);
        histogram.set_sample_sum(seconds(self.sum()));
        let mut metric = proto::Metric::from_label(self.labels.to_vec());
        metric.set_histogram(histogram);
        metric
    }
}

/// Creates the histograms of a family.
#[derive(Clone, Debug)]
pub(in crate::metrics) struct Builder;

impl MetricVecBuilder for Builder {
    type M = BusyHistogram;
    type P = HistogramOpts;

    fn build<V: AsRef<str>>(
        &self,
        options: &HistogramOpts,
        values: &[V],
    ) -> prometheus::Result<BusyHistogram> {
        let names = options.common_opts.variable_labels.iter();
        let label = |(name, value): (&String, &V)| {
            let mut label = LabelPair::default();
            label.set_name(name.clone());
            label.set_value(value.as_ref().to_owned());
            label
        };
        let mut labels: Vec<LabelPair> = names.zip(values).map(label).collect();
        labels.sort();
        let own: Arc<[Place]> = (0..*PLACES).map(|_| Place::default()).collect();
        let sum = Sum {
            seen: vec![0; own.len() + 1],
            total: 0,
        };
        Ok(BusyHistogram {
            bounds: bounds(&options.buckets)?,
            own,
            shared: Arc::default(),
            sum: Arc::new(Mutex::new(sum)),
            labels: labels.into(),
        })
    }
}

/// Returns upper bounds, which are in seconds, in nanoseconds.
fn bounds(edges: &[f64]) -> prometheus::Result<[u64; BUCKETS]> {
    let mut bounds = [UNBOUNDED; BUCKETS];
    if edges.len() >= bounds.len() {
        let (found, most) = (edges.len(), bounds.len() - 1);
        return Err(Error::Msg(format!(
            "{found} upper bounds, of {most} at most"
        )));
    }
    for (bound, edge) in bounds.iter_mut().zip(edges) {
        let edge = Duration::try_from_secs_f64(*edge);
        *bound = nanos(edge.map_err(|error| Error::Msg(error.to_string()))?);
    }
    Ok(bounds)
}

/// Returns a time in nanoseconds. Wraps after 584 years, because a check would cost more than all the rest.
#[inline]
fn nanos(time: Duration) -> u64 {
    let seconds = time.as_secs().wrapping_mul(1_000_000_000);
    seconds.wrapping_add(u64::from(time.subsec_nanos()))
}

/// Returns nanoseconds in seconds: the nearest number, up to 104 days.
fn seconds(nanos: u128) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use prometheus::{HistogramVec, Registry, TextEncoder};

    use super::*;
    use crate::metrics::register::{busy_histograms, histograms};

    const NAME: &str = "weir_x_seconds";
    /// How often a thread counts, so that threads do so at the same time also where there are few cores.
    const TIMES: u64 = 100_000;

    /// A family of busy histograms, and one of Prometheus' own that is to show the same.
    struct Pair {
        registries: [Registry; 2],
        busy: BusyHistogramVec,
        plain: HistogramVec,
    }

    impl Pair {
        fn new(edges: &[f64]) -> Self {
            let registries = [Registry::new(), Registry::new()];
            let [first, second] = &registries;
            let labels = ["route", "kind"];
            Self {
                busy: busy_histograms(first, NAME, "What \\ it is.", &labels, edges),
                plain: histograms(second, NAME, "What \\ it is.", &labels, edges),
                registries,
            }
        }

        fn observe(&self, route: &str, value: Duration) {
            let labels = [route, "a"];
            self.busy.with_label_values(&labels).observe(value);
            let plain = self.plain.with_label_values(&labels);
            plain.observe(value.as_secs_f64());
        }

        /// Returns the text of both.
        fn texts(&self) -> [String; 2] {
            let text = |registry: &Registry| TextEncoder.encode_to_string(&registry.gather());
            [0, 1].map(|at| text(&self.registries[at]).unwrap())
        }
    }

    fn busy() -> BusyHistogram {
        let pair = Pair::new(buckets::GAP);
        pair.busy.with_label_values(&["chat", "a"])
    }

    /// Returns the count and the sum.
    fn shown(busy: &BusyHistogram) -> (u64, f64) {
        let metric = busy.metric();
        let histogram = metric.get_histogram();
        (histogram.get_sample_count(), histogram.get_sample_sum())
    }

    #[test]
    fn nothing_is_lost_between_threads_and_scrapes() {
        let busy = busy();
        // More threads than places.
        let threads = 2 * *PLACES;
        let all = Barrier::new(threads);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    all.wait();
                    for _ in 0..TIMES {
                        busy.observe(Duration::from_millis(500));
                    }
                    busy.metric();
                    all.wait();
                });
            }
        });
        let count = TIMES * threads as u64;
        assert_eq!(shown(&busy), (count, count as f64 / 2.0));
    }

    #[test]
    fn nothing_is_lost_when_threads_end_and_others_begin() {
        let busy = busy();
        for _ in 0..4 * *PLACES {
            let busy = busy.clone();
            let thread = thread::spawn(move || busy.observe(Duration::from_millis(500)));
            thread.join().unwrap();
        }
        let count = 4 * *PLACES as u64;
        assert_eq!(shown(&busy), (count, count as f64 / 2.0));
    }

    #[test]
    fn every_boundary_is_shown_as_prometheus_shows_it() {
        let nano = Duration::from_nanos(1);
        for edges in [buckets::GAP, buckets::ADDED] {
            let last = edges.last().unwrap() * 2.0;
            for edge in edges.iter().copied().chain([0.0, last]) {
                let edge = Duration::from_secs_f64(edge);
                for value in [edge.saturating_sub(nano), edge, edge + nano] {
                    let pair = Pair::new(edges);
                    pair.observe("chat", value);
                    let [busy, plain] = pair.texts();
                    assert_eq!(busy, plain, "{value:?}");
                }
            }
        }
    }

    #[test]
    fn a_family_is_shown_as_prometheus_shows_it() {
        for edges in [buckets::GAP, buckets::ADDED] {
            let pair = Pair::new(edges);
            // Without series, there is no family.
            assert_eq!(pair.texts(), ["", ""]);
            for round in 0..20 {
                for route in ["z", "a \"b\" \\c", "chat"] {
                    // Times whose sum a float has exactly.
                    pair.observe(route, Duration::from_nanos(1_953_125 << round));
                }
                let [busy, plain] = pair.texts();
                assert_eq!(busy, plain);
            }
            let [busy, _] = pair.texts();
            assert_eq!(busy.matches("_count{kind=\"a\",route=\"z\"} 20").count(), 1);
            for family in [
                pair.busy.remove_label_values(&["z", "a"]),
                pair.plain.remove_label_values(&["z", "a"]),
            ] {
                family.unwrap();
            }
            let [busy, plain] = pair.texts();
            assert_eq!(busy, plain);
            assert!(!busy.contains("route=\"z\""));
        }
    }

    #[test]
    fn a_sum_is_exact_and_does_not_wrap() {
        let busy = busy();
        for _ in 0..10 {
            busy.observe(Duration::from_millis(100));
        }
        // Floats would add up to 0.9999999999999999.
        assert_eq!(shown(&busy), (10, 1.0));
        let long = Duration::from_secs(10_000_000_000);
        for count in 1..=5 {
            busy.observe(long);
            let sum = 1.0 + count as f64 * long.as_secs_f64();
            assert_eq!(shown(&busy), (10 + count, sum));
        }
    }

    #[test]
    fn bounds_that_do_not_fit_are_refused() {
        assert!(bounds(&[0.5; BUCKETS - 1]).is_ok());
        assert!(bounds(&[0.5; BUCKETS]).is_err());
        assert!(bounds(&[-1.0]).is_err());
    }

    #[test]
    fn threads_count_on_cache_lines_of_their_own() {
        // Two lines, because processors fetch them in pairs.
        assert!(align_of::<Place>() >= 128);
        assert_eq!(size_of::<Place>() % 128, 0);
    }
}
