//! The part of `/streams` about what ended lately: the last streams with their figures, the requests that failed before
//! they became one, and times and reasons over the last minutes.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::stream_id::StreamId;
use crate::end::End;

/// How many ended streams and failed requests are remembered.
pub const REMEMBERED: usize = 200;
/// How many periods are remembered.
pub const PERIODS: usize = 60;
/// The length of a period: 60 of them are 15 minutes.
pub const PERIOD: Duration = Duration::from_secs(15);

/// Upper edges of the times to the first token, in milliseconds; longer ones are counted above the last. Each is about
/// half as much again as the one before, so that a percentile is right to about a quarter.
const EDGES: [u32; 25] = [
    5, 10, 15, 25, 40, 60, 90, 130, 200, 300, 450, 650, 1_000, 1_500, 2_200, 3_300, 5_000, 7_500,
    11_000, 17_000, 25_000, 38_000, 60_000, 120_000, 300_000,
];

/// The outcome of a request that Weir answered itself, because it could not serve it.
pub const REJECTED: &str = "rejected";

/// A stream that has ended, or a request that failed before it became one: what it was and its figures, but nothing
/// that was said.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The number of the stream among all that have ended, from 1.
    pub number: u64,
    /// The id of the stream; `None` if there was none.
    pub id: Option<StreamId>,
    /// The id of the request.
    pub request_id: HeaderValue,
    /// The name of the route.
    pub route: Arc<str>,
    /// The client's address; `None` over a Unix socket.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: Method,
    /// The path without its query.
    pub path: Arc<str>,
    /// The dialect of the stream, or `websocket`.
    pub dialect: &'static str,
    /// What it was translated to.
    pub reply: Option<&'static str>,
    /// Why it ended; `None` of a request that was rejected.
    pub outcome: Option<End>,
    /// The outcome, or a code that tells more.
    pub code: &'static str,
    /// The status that the client got.
    pub status: StatusCode,
    /// When it ended.
    pub at: SystemTime,
    /// How long it lasted, from the head of its request.
    pub duration: Duration,
    /// The figures of a stream whose end was reported in full.
    pub figures: Counted,
}

impl Ended {
    /// Returns the word for why it ended.
    pub fn outcome(&self) -> &'static str {
        self.outcome.map_or(REJECTED, End::as_str)
    }
}

/// The figures of a stream that has ended. What was cut short has none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// The time to the first answer text.
    pub ttft: Option<Duration>,
    /// The output tokens per second, from the first to the last text.
    pub tokens_per_second: Option<f64>,
    /// The output tokens.
    pub tokens: u64,
    /// How many events came.
    pub events: u64,
    /// How many bytes came from the agent.
    pub bytes_in: u64,
    /// How many bytes the client took.
    pub bytes_out: u64,
    /// How many events were dropped for a client that was too slow.
    pub dropped: u64,
}

/// What ended in one period.
#[derive(Clone, Debug)]
pub struct Period {
    /// Which period since the start of the process.
    index: u64,
    /// Times to the first token, by edge; the last counts what is longer.
    ttft: [u32; EDGES.len() + 1],
    /// How many ended, by [`End::index`]; the last counts rejected requests.
    ends: [u32; End::ALL.len() + 1],
}

impl Period {
    const fn new(index: u64) -> Self {
        Self {
            index,
            ttft: [0; EDGES.len() + 1],
            ends: [0; End::ALL.len() + 1],
        }
    }

    fn note(&mut self, end: Option<End>, ttft: Option<Duration>) {
        let at = end.map_or(End::ALL.len(), End::index);
        if let Some(count) = self.ends.get_mut(at) {
            *count = count.saturating_add(1);
        }
        if let Some(ttft) = ttft {
            let millis = ttft.as_secs_f64() * 1000.0;
            let at = EDGES.partition_point(|edge| f64::from(*edge) < millis);
            if let Some(count) = self.ttft.get_mut(at) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// Returns the time to the first token that this share (0 to 1) of the streams did not exceed, in milliseconds.
    /// Returns `None` if none had a first token.
    pub fn ttft(&self, share: f64) -> Option<f64> {
        let total = self
            .ttft
            .iter()
            .fold(0_u32, |sum, one| sum.saturating_add(*one));
        if total == 0 {
            return None;
        }
        let rank = (f64::from(total) * share).max(1.0);
        let mut below = 0.0;
        let mut from = 0.0;
        for (count, edge) in self.ttft.iter().zip(EDGES.map(f64::from)) {
            let count = f64::from(*count);
            if count > 0.0 && below + count >= rank {
                return Some(from + (edge - from) * (rank - below) / count);
            }
            below += count;
            from = edge;
        }
        Some(from)
    }

    /// Returns how many ended for each reason, if any did.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let names = End::ALL.into_iter().map(End::as_str).chain([REJECTED]);
        names.zip(self.ends).filter(|(_, count)| *count > 0)
    }
}

/// What has ended lately. Bounded: [`REMEMBERED`] streams and [`PERIODS`] periods.
#[derive(Debug)]
pub struct Recent {
    start: Instant,
    /// Locked to add a stream, or to copy what is there.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many have ended.
    count: u64,
    ended: VecDeque<Ended>,
    /// The periods in which something ended, oldest first.
    periods: VecDeque<Period>,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            state: Mutex::default(),
        }
    }
}

impl Recent {
    /// Adds what has just ended.
    pub fn note(&self, ended: Ended) {
        self.note_at(ended, Instant::now());
    }

    fn note_at(&self, mut ended: Ended, now: Instant) {
        let index = self.period(now);
        let mut state = self.lock();
        state.count += 1;
        ended.number = state.count;
        if state.periods.back().is_none_or(|last| last.index < index) {
            if state.periods.len() >= PERIODS {
                state.periods.pop_front();
            }
            state.periods.push_back(Period::new(index));
        }
        if let Some(period) = state.periods.back_mut() {
            period.note(ended.outcome, ended.figures.ttft);
        }
        if state.ended.len() >= REMEMBERED {
            state.ended.pop_front();
        }
        state.ended.push_back(ended);
    }

    /// Returns how many have ended since the start of the process.
    pub fn count(&self) -> u64 {
        self.lock().count
    }

    /// Returns those that ended after the one with the number `after`, the last one first.
    pub fn ended(&self, after: u64) -> Vec<Ended> {
        let state = self.lock();
        let newer = state.ended.iter().rev();
        newer
            .take_while(|ended| ended.number > after)
            .cloned()
            .collect()
    }

    /// Returns the last [`PERIODS`] periods, oldest first; the last one is not over.
    pub fn periods(&self) -> Vec<Period> {
        self.periods_at(Instant::now())
    }

    fn periods_at(&self, now: Instant) -> Vec<Period> {
        let last = self.period(now);
        let count = u64::try_from(PERIODS).unwrap_or(u64::MAX);
        let state = self.lock();
        // Those before the start of the process are empty, like any in which nothing ended.
        let all = (0..count).rev().map(|back| {
            let index = last.checked_sub(back)?;
            state.periods.iter().find(|period| period.index == index)
        });
        all.map(|period| period.cloned().unwrap_or(Period::new(0)))
            .collect()
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / PERIOD.as_secs().max(1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::Share;
    use crate::metrics::Metrics;
    use crate::session::registry::Registry;
    use crate::session::{RequestContext, accounting};

    fn ended(end: End, ttft: Option<u64>) -> Ended {
        let registry = Arc::new(Registry::default());
        let context = RequestContext::example(&Metrics::new());
        let stream = registry.register(&context, 1, &Share::default()).unwrap();
        let mut ended = accounting::ended(&stream.live, end, end.as_str(), StatusCode::OK);
        ended.figures.ttft = ttft.map(Duration::from_millis);
        ended
    }

    #[test]
    fn the_last_ones_are_remembered_and_no_more() {
        let recent = Recent::default();
        let one = ended(End::Finished, None);
        for _ in 0..REMEMBERED + 10 {
            recent.note(one.clone());
        }
        let all = recent.ended(0);
        assert_eq!(all.len(), REMEMBERED);
        let count = recent.count();
        assert_eq!(count, 210);
        assert_eq!((all[0].number, all[REMEMBERED - 1].number), (210, 11));
        let newer: Vec<u64> = recent.ended(208).iter().map(|one| one.number).collect();
        assert_eq!(newer, [210, 209]);
        assert!(recent.ended(count).is_empty());
    }

    #[test]
    fn percentiles_are_about_right() {
        let mut period = Period::new(0);
        assert_eq!(period.ttft(0.5), None);
        for millis in 1..=1000 {
            period.note(Some(End::Finished), Some(Duration::from_millis(millis)));
        }
        let (half, most) = (period.ttft(0.5).unwrap(), period.ttft(0.95).unwrap());
        assert!((half - 500.0).abs() < 125.0, "{half}");
        assert!((most - 950.0).abs() < 240.0, "{most}");
        let mut slow = Period::new(0);
        slow.note(Some(End::Finished), Some(Duration::from_secs(4000)));
        assert_eq!(
            slow.ttft(0.5),
            Some(300_000.0),
            "no more than the last edge"
        );
        let mut none = Period::new(0);
        none.note(Some(End::ClientGone), None);
        assert_eq!(none.ttft(0.5), None);
        assert_eq!(none.ends().collect::<Vec<_>>(), [("client_gone", 1)]);
        none.note(None, None);
        assert_eq!(none.ends().last(), Some((REJECTED, 1)));
    }

    #[test]
    fn periods_pass_and_are_bounded() {
        let recent = Recent::default();
        let start = recent.start;
        let one = ended(End::Finished, Some(100));
        recent.note_at(one.clone(), start);
        let counts = |now: Instant| -> Vec<u32> {
            let periods = recent.periods_at(now);
            let of = |period: &Period| period.ends().map(|(_, count)| count).sum::<u32>();
            periods.iter().map(of).collect()
        };
        let first = counts(start);
        assert_eq!((first.len(), first[PERIODS - 1]), (PERIODS, 1));
        assert_eq!(first.iter().sum::<u32>(), 1, "nothing before the start");
        let later = counts(start + PERIOD * 3);
        assert_eq!((later[PERIODS - 1], later[PERIODS - 4]), (0, 1));
        let last = u32::try_from(PERIODS).unwrap();
        assert_eq!(counts(start + PERIOD * last).iter().sum::<u32>(), 0);
        for period in 0..last * 3 {
            recent.note_at(one.clone(), start + PERIOD * period);
        }
        assert_eq!(recent.lock().periods.len(), PERIODS);
        assert_eq!(counts(start + PERIOD * (last * 3 - 1)), vec![1; PERIODS]);
    }
}
