//! Metrics of resume: requests to return to a stream, viewers, journals, and the store that journals are in.

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::buckets;
use super::register::{counters, histograms, register};
use super::samples::count;

/// How a client asks for a stream that it had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResumeWay {
    /// By the path that `resume.chats` names.
    Chat,
    /// At `/.weir/streams/{id}`.
    Endpoint,
    /// By the `Idempotency-Key` of an earlier request.
    Idempotency,
    /// At the route itself, with a `Last-Event-ID` that Weir wrote.
    LastEventId,
    /// By the path of a response of the Responses API.
    Responses,
    /// At the route itself, with a `Last-Event-ID` that the upstream wrote.
    UpstreamId,
}

impl ResumeWay {
    /// Every way, by name.
    pub const ALL: [Self; 6] = [
        Self::Chat,
        Self::Endpoint,
        Self::Idempotency,
        Self::LastEventId,
        Self::Responses,
        Self::UpstreamId,
    ];

    /// Returns the word of the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Endpoint => "endpoint",
            Self::Idempotency => "idempotency",
            Self::LastEventId => "last_event_id",
            Self::Responses => "responses",
            Self::UpstreamId => "upstream_id",
        }
    }
}

/// What a client got that asked for a stream that it had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResumeResult {
    /// Nothing, because it has everything. Also for a chat without a running stream: `useChat` asks whenever a page is
    /// loaded, so that this is no failure.
    Complete,
    /// Nothing, because the journal no longer has the events after its position.
    Evicted,
    /// Nothing, because the stream has as many viewers as it may have.
    Full,
    /// What comes from now on: it had missed nothing.
    Live,
    /// Nothing, because its id, its position, or its body beside an `Idempotency-Key` is wrong.
    Malformed,
    /// The events that it had missed.
    Replayed,
    /// Nothing, because the store does not answer.
    Unavailable,
    /// Nothing, because there is no such stream, or it is another caller's.
    Unknown,
}

impl ResumeResult {
    /// Every result, by name.
    pub const ALL: [Self; 8] = [
        Self::Complete,
        Self::Evicted,
        Self::Full,
        Self::Live,
        Self::Malformed,
        Self::Replayed,
        Self::Unavailable,
        Self::Unknown,
    ];

    /// Returns the word of the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Evicted => "evicted",
            Self::Full => "full",
            Self::Live => "live",
            Self::Malformed => "malformed",
            Self::Replayed => "replayed",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
        }
    }
}

/// Why events left a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Eviction {
    /// The stream ended longer ago than `resume.keep`.
    Expired,
    /// Memory is short (`limits.memory`).
    Memory,
    /// The stream's journal was full: `resume.max_events` or `resume.max_bytes`.
    StreamLimit,
    /// All journals together were full: `resume.total_bytes`.
    TotalLimit,
}

impl Eviction {
    /// Every reason, by name.
    pub const ALL: [Self; 4] = [
        Self::Expired,
        Self::Memory,
        Self::StreamLimit,
        Self::TotalLimit,
    ];

    /// Returns the word of the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Memory => "memory",
            Self::StreamLimit => "stream_limit",
            Self::TotalLimit => "total_limit",
        }
    }
}

/// A counter for each result, in the order of [`ResumeResult::ALL`].
type ByResult = [IntCounter; ResumeResult::ALL.len()];

/// The families with a route label.
#[derive(Debug)]
pub(super) struct ResumeFamilies {
    requests: IntCounterVec,
    replayed_events: IntCounterVec,
    viewers: IntGaugeVec,
    gap: HistogramVec,
    stops: IntCounterVec,
}

impl ResumeFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            requests: counters(
                registry,
                "weir_resume_requests_total",
                "Requests for a stream that its client had before.",
                &["route", "way", "result"],
            ),
            replayed_events: counters(
                registry,
                "weir_resume_replayed_events_total",
                "Events sent again from a journal.",
                &["route"],
            ),
            viewers: register(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "weir_viewers",
                        "Clients that follow a stream with a journal, its first one included.",
                    ),
                    &["route"],
                ),
            ),
            gap: histograms(
                registry,
                "weir_resume_gap_seconds",
                "A viewer's leaving to the next one's coming to the same stream.",
                &["route"],
                buckets::RESUME_GAP,
            ),
            stops: counters(
                registry,
                "weir_stops_total",
                "Streams stopped by a request of a client.",
                &["route"],
            ),
        }
    }

    fn requests(&self, route: &str, way: ResumeWay) -> ByResult {
        let series = |result: ResumeResult| {
            self.requests
                .with_label_values(&[route, way.as_str(), result.as_str()])
        };
        ResumeResult::ALL.map(series)
    }
}

/// The handles of one route.
#[derive(Debug)]
pub struct ResumeRoute {
    /// In the order of [`ResumeWay::ALL`].
    requests: [ByResult; ResumeWay::ALL.len()],
    /// Events sent again from a journal.
    pub replayed_events: IntCounter,
    viewers: IntGauge,
    /// From a viewer's leaving to the next one's coming to the same stream, seconds.
    pub gap: Histogram,
    /// Streams stopped by a request of a client.
    pub stops: IntCounter,
}

impl ResumeRoute {
    pub(super) fn new(families: &ResumeFamilies, route: &str) -> Self {
        Self {
            requests: ResumeWay::ALL.map(|way| families.requests(route, way)),
            replayed_events: families.replayed_events.with_label_values(&[route]),
            viewers: families.viewers.with_label_values(&[route]),
            gap: families.gap.with_label_values(&[route]),
            stops: families.stops.with_label_values(&[route]),
        }
    }

    /// Counts a request for a stream of this route that its client had before.
    pub fn request(&self, way: ResumeWay, result: ResumeResult) {
        if let Some(results) = self.requests.get(way as usize) {
            increase(results, result);
        }
    }

    /// Counts a viewer as attached until the guard is dropped.
    pub fn viewer(&self) -> Viewing {
        self.viewers.inc();
        Viewing(self.viewers.clone())
    }
}

fn increase(results: &ByResult, result: ResumeResult) {
    if let Some(counter) = results.get(result as usize) {
        counter.inc();
    }
}

/// Counts a viewer as attached until it is dropped.
#[derive(Debug)]
pub struct Viewing(IntGauge);

impl Drop for Viewing {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What all routes share: the journals and their store.
#[derive(Debug)]
pub struct ResumeMetrics {
    without_route: ByResult,
    bytes: IntGauge,
    bytes_limit: IntGauge,
    live: IntGauge,
    ended: IntGauge,
    /// In the order of [`Eviction::ALL`].
    evicted: [IntCounter; Eviction::ALL.len()],
    store_up: IntGauge,
    /// `weir_resume_store_errors_total`
    pub store_errors: IntCounter,
    /// `weir_resume_store_broken_total`
    pub store_broken: IntCounter,
}

impl ResumeMetrics {
    pub(super) fn new(registry: &Registry, families: &ResumeFamilies) -> Self {
        let plain = |name, help| register(registry, IntGauge::new(name, help));
        let total = |name, help| register(registry, IntCounter::new(name, help));
        let streams = register(
            registry,
            IntGaugeVec::new(
                Opts::new("weir_journal_streams", "Streams that have a journal."),
                &["state"],
            ),
        );
        let evicted = counters(
            registry,
            "weir_journal_evicted_total",
            "Events that left a journal.",
            &["reason"],
        );
        let store_up = plain(
            "weir_resume_store_up",
            "Whether the store of the journals answers; the one in memory always does.",
        );
        store_up.set(1);
        Self {
            without_route: families.requests("", ResumeWay::Endpoint),
            bytes: plain("weir_journal_bytes", "Memory that journals take."),
            bytes_limit: plain("weir_journal_limit_bytes", "resume.total_bytes in force."),
            live: streams.with_label_values(&["live"]),
            ended: streams.with_label_values(&["ended"]),
            evicted: Eviction::ALL.map(|reason| evicted.with_label_values(&[reason.as_str()])),
            store_up,
            store_errors: total(
                "weir_resume_store_errors_total",
                "Requests to the store that failed.",
            ),
            store_broken: total(
                "weir_resume_store_broken_total",
                "Streams that cannot be resumed from the store, because it did not take all of their events.",
            ),
        }
    }

    /// Counts a request at `/.weir/streams/{id}` that belongs to no route, because there is no stream of this id that
    /// the caller may have.
    pub fn request_without_route(&self, result: ResumeResult) {
        increase(&self.without_route, result);
    }

    /// Counts events that left a journal.
    pub fn evicted(&self, reason: Eviction, events: u64) {
        if let Some(counter) = self.evicted.get(reason as usize) {
            counter.inc_by(events);
        }
    }

    /// Sets, for a scrape, the memory that journals take, and how much they may take.
    pub fn journal_bytes(&self, bytes: usize, limit: usize) {
        self.bytes.set(count(bytes));
        self.bytes_limit.set(count(limit));
    }

    /// Sets, for a scrape, how many streams have a journal.
    pub fn journal_streams(&self, live: usize, ended: usize) {
        self.live.set(count(live));
        self.ended.set(count(ended));
    }

    /// Sets whether the store answers. A store outside the process says `false` until it has answered once.
    pub fn store_up(&self, up: bool) {
        self.store_up.set(i64::from(up));
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    use super::*;

    #[test]
    fn each_way_and_result_is_counted_under_its_words() {
        let metrics = Metrics::new();
        let route = metrics.route("chat");
        let series = |route: &str, way: ResumeWay, result: ResumeResult, count: u64| {
            let (way, result) = (way.as_str(), result.as_str());
            format!(
                "\nweir_resume_requests_total{{result=\"{result}\",route=\"{route}\",way=\"{way}\"}} {count}\n"
            )
        };
        let all = || {
            ResumeWay::ALL
                .into_iter()
                .flat_map(|way| ResumeResult::ALL.map(|result| (way, result)))
        };
        let before = metrics.encode();
        for (way, result) in all() {
            assert!(
                before.contains(&series("chat", way, result, 0)),
                "{way:?} {result:?}"
            );
        }
        // Each pair has a count of its own, so that no two can be mistaken for each other.
        for ((way, result), count) in all().zip(1..) {
            (0..count).for_each(|_| route.resume.request(way, result));
        }
        for (result, count) in ResumeResult::ALL.into_iter().zip(1..) {
            (0..count).for_each(|_| metrics.resume.request_without_route(result));
        }
        let after = metrics.encode();
        for ((way, result), count) in all().zip(1..) {
            assert!(
                after.contains(&series("chat", way, result, count)),
                "{way:?} {result:?}"
            );
        }
        for (result, count) in ResumeResult::ALL.into_iter().zip(1..) {
            let series = series("", ResumeWay::Endpoint, result, count);
            assert!(after.contains(&series), "{result:?}");
        }
    }

    #[test]
    fn evictions_are_counted_in_events_by_their_reason() {
        let metrics = Metrics::new();
        for (reason, events) in Eviction::ALL.into_iter().zip(1..) {
            metrics.resume.evicted(reason, events);
        }
        let text = metrics.encode();
        for (reason, events) in Eviction::ALL.into_iter().zip(1..) {
            let word = reason.as_str();
            let series = format!("weir_journal_evicted_total{{reason=\"{word}\"}} {events}\n");
            assert!(text.contains(&series), "{reason:?}");
        }
    }

    #[test]
    fn viewers_are_counted_as_long_as_they_are_there() {
        let metrics = Metrics::new();
        let route = metrics.route("chat");
        let counted = |count: u64| {
            metrics
                .encode()
                .contains(&format!("weir_viewers{{route=\"chat\"}} {count}\n"))
        };
        let (first, second) = (route.resume.viewer(), route.resume.viewer());
        assert!(counted(2));
        drop(first);
        assert!(counted(1));
        drop(second);
        assert!(counted(0));
    }

    #[test]
    fn without_a_store_outside_the_process_nothing_is_down() {
        let metrics = Metrics::new();
        assert!(metrics.encode().contains("weir_resume_store_up 1\n"));
        metrics.resume.store_up(false);
        assert!(metrics.encode().contains("weir_resume_store_up 0\n"));
    }

    #[test]
    fn journals_are_told_by_bytes_and_state() {
        let metrics = Metrics::new();
        metrics.resume.journal_bytes(5, 7);
        metrics.resume.journal_streams(2, 3);
        let text = metrics.encode();
        for series in [
            "weir_journal_bytes 5\n",
            "weir_journal_limit_bytes 7\n",
            "weir_journal_streams{state=\"live\"} 2\n",
            "weir_journal_streams{state=\"ended\"} 3\n",
        ] {
            assert!(text.contains(series), "{series}");
        }
    }
}
