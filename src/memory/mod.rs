//! What happens as memory runs out: new requests are refused, then clients that take nothing lose their streams.
//!
//! A process that the kernel kills takes all of its streams along. So the memory in use is looked at every now and
//! then, long before.

mod cgroup;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::MemoryLimit;
use crate::metrics::Metrics;
use crate::session::registry::Registry;
use crate::stream::end::End;
use cgroup::Group;

/// Percent of the limit from which on requests are refused.
const REFUSE_PERCENT: u64 = 85;
/// Percent below which they are served again.
const SERVE_PERCENT: u64 = 80;
/// Percent from which on streams are ended whose clients take nothing.
const END_PERCENT: u64 = 95;
/// Percent from which on a client need not have taken nothing for long: what the kernel does next is worse.
const LAST_PERCENT: u64 = 98;
/// How often it is looked at where there is plenty ...
const EVERY: Duration = Duration::from_millis(500);
/// ... and where it is short, or could be.
const EVERY_WHEN_SHORT: Duration = Duration::from_millis(20);
/// What agents can write in a millisecond, all together: it is looked again before that can have used up what is left.
const BYTES_IN_A_MILLISECOND: u64 = 2 * 1024 * 1024;
/// How often it is looked for a limit: one that is changed in place is in force after that.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A client that took nothing for so long takes nothing.
const STALLED: Duration = Duration::from_secs(1);
/// The same from [`LAST_PERCENT`] on.
const STALLED_AT_LAST: Duration = Duration::from_millis(200);

/// For so long at most what streams held that were ended counts as used: until they are gone, and the allocator has given
/// it back.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(1);

/// Whether memory is short.
#[derive(Debug, Default)]
pub struct Memory(AtomicBool);

impl Memory {
    /// New requests are refused.
    pub fn is_short(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes of a limit, and of what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    limit: u64,
    used: u64,
}

/// Where memory in use is read.
#[derive(Debug, Default)]
struct Gauge {
    groups: Vec<Group>,
    looked: Option<Instant>,
}

impl Gauge {
    /// As of now, of the limit that is nearest; `None` without one.
    fn read(&mut self, limit: MemoryLimit) -> Option<Use> {
        match limit {
            MemoryLimit::Off => None,
            MemoryLimit::Auto => {
                if self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
                    self.looked = Some(Instant::now());
                    self.groups = Group::own();
                }
                let uses = self.groups.iter().filter_map(|group| {
                    let (limit, used) = (group.limit, group.used()?);
                    Some(Use { limit, used })
                });
                uses.max_by_key(|it| it.percent())
            }
            MemoryLimit::Bytes(limit) => {
                let used = cgroup::resident()?;
                Some(Use { limit, used })
            }
        }
    }
}

impl Use {
    /// What is to be had back for requests to be served again, beside what is on its way back.
    const fn excess(self, expected: u64) -> u64 {
        let served = self.limit / 100 * SERVE_PERCENT;
        self.used.saturating_sub(served).saturating_sub(expected)
    }

    const fn percent(self) -> u64 {
        let limit = if self.limit == 0 { 1 } else { self.limit };
        self.used.saturating_mul(100) / limit
    }

    /// For how long a client must have taken nothing to lose its stream.
    const fn patience(self) -> Duration {
        if self.percent() >= LAST_PERCENT {
            STALLED_AT_LAST
        } else {
            STALLED
        }
    }

    /// When to look again.
    fn next(self) -> Duration {
        let left = (self.limit / 100 * SERVE_PERCENT).saturating_sub(self.used);
        Duration::from_millis(left / BYTES_IN_A_MILLISECOND).clamp(EVERY_WHEN_SHORT, EVERY)
    }

    /// Whether memory is short, if it was before or was not.
    fn is_short(self, before: bool) -> bool {
        let from = if before {
            SERVE_PERCENT
        } else {
            REFUSE_PERCENT
        };
        self.percent() >= from
    }
}

/// What streams held that were ended. It is looked at again long before all of that shows: without it more and more of
/// them would be ended for the same bytes.
#[derive(Debug, Default)]
struct PendingRelease {
    bytes: u64,
    last: Option<Instant>,
}

impl PendingRelease {
    /// Bytes that are still to come back.
    fn expected(&mut self, now: Instant) -> u64 {
        let is_due = |at: Instant| now.duration_since(at) >= GIVEN_BACK_WITHIN;
        if self.last.is_some_and(is_due) {
            *self = Self::default();
        }
        self.bytes
    }

    fn note(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        self.last = Some(now);
    }
}

/// The limit in force, in bytes.
pub fn limit(limit: MemoryLimit) -> Option<u64> {
    match limit {
        MemoryLimit::Off => None,
        MemoryLimit::Auto => Group::own().first().map(|group| group.limit),
        MemoryLimit::Bytes(bytes) => Some(bytes),
    }
}

/// What the watch looks at and acts on.
#[derive(Debug)]
pub struct Watched {
    /// Told whether memory is short.
    pub memory: Arc<Memory>,
    /// Where the limit and the use are shown.
    pub metrics: Arc<Metrics>,
    /// Streams that may have to end.
    pub streams: Arc<Registry>,
    /// Requests in progress.
    pub requests: Arc<AtomicUsize>,
}

/// Looks at the memory in use for as long as the process runs.
pub async fn watch(watched: Watched, limit: impl Fn() -> MemoryLimit) {
    let Watched {
        memory,
        metrics,
        streams,
        requests,
    } = watched;
    let (mut gauge, mut pending_release, mut last) =
        (Gauge::default(), PendingRelease::default(), None);
    loop {
        // What cannot be read for a moment is as it was.
        let now = match limit() {
            MemoryLimit::Off => None,
            limit => gauge.read(limit).or(last),
        };
        last = now;
        let (limit, used) = now.map_or((0, 0), |it| (it.limit, it.used));
        metrics
            .memory_limit
            .set(i64::try_from(limit).unwrap_or(i64::MAX));
        metrics
            .memory_used
            .set(i64::try_from(used).unwrap_or(i64::MAX));
        let before = memory.is_short();
        // Where nothing is under way there is nothing to be had back: what is used is not Weir's, or it can use it again.
        let idle = requests.load(Ordering::Relaxed) == 0;
        let short = !idle && now.is_some_and(|it| it.is_short(before));
        memory.0.store(short, Ordering::Relaxed);
        if short && !before {
            tracing::warn!(
                used,
                limit,
                "memory is short: new requests are refused (limits.memory)"
            );
        } else if before && !short {
            tracing::info!(used, limit, "memory is there again: requests are served");
        }
        if !short {
            // It is back, or others use it by now.
            pending_release = PendingRelease::default();
        }
        if let Some(now) = now.filter(|it| it.percent() >= END_PERCENT) {
            let ended = end_stalled(&streams, now, &mut pending_release);
            if ended > 0 {
                tracing::warn!(
                    ended,
                    used,
                    limit,
                    "memory is short: streams were ended whose clients take nothing"
                );
            }
        }
        sleep(now.map_or(EVERY, Use::next)).await;
    }
}

/// Ends the streams of clients that take nothing, those for which most waits first, until enough of it was let go; says
/// how many there were.
fn end_stalled(streams: &Registry, used: Use, pending_release: &mut PendingRelease) -> usize {
    let now = Instant::now();
    let (excess, patience) = (used.excess(pending_release.expected(now)), used.patience());
    if excess == 0 {
        return 0;
    }
    let mut stalled: Vec<_> = streams
        .list()
        .into_iter()
        .filter(|live| !live.stop.is_asked())
        .filter_map(|live| {
            let (since, bytes) = live.stalled()?;
            (now.duration_since(since) >= patience).then_some((bytes as u64, live))
        })
        .collect();
    stalled.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let (mut ended, mut bytes) = (0, 0);
    for (waiting, live) in stalled {
        if bytes >= excess {
            break;
        }
        live.stop(End::ClientStalled);
        bytes += waiting;
        ended += 1;
    }
    if ended > 0 {
        pending_release.note(bytes, now);
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_is_from_85_percent_down_to_80() {
        let at = |used| Use { limit: 1000, used };
        assert!(!at(849).is_short(false));
        assert!(at(850).is_short(false));
        assert!(at(800).is_short(true));
        assert!(!at(799).is_short(true));
        assert_eq!(
            Use { limit: 0, used: 1 }.percent(),
            100,
            "no division by nothing"
        );
        assert_eq!((at(950).excess(0), at(700).excess(0)), (150, 0));
        assert_eq!((at(950).excess(100), at(950).excess(200)), (50, 0));
        assert!(at(979).patience() > at(980).patience());
        assert_eq!(at(u64::MAX).percent(), u64::MAX / 1000);
    }

    #[test]
    fn the_less_is_left_the_sooner_it_is_looked_again() {
        const GIB: u64 = 1 << 30;
        let next = |limit, used| Use { limit, used }.next();
        assert_eq!(next(1 << 40, 0), EVERY);
        assert!(next(GIB, GIB / 2) < EVERY && next(GIB, GIB / 2) > next(GIB, GIB / 4 * 3));
        assert_eq!(next(GIB, GIB / 100 * 78), EVERY_WHEN_SHORT);
        assert_eq!(next(GIB, 2 * GIB), EVERY_WHEN_SHORT);
    }

    #[test]
    fn what_was_let_go_is_expected_for_a_while() {
        let mut pending_release = PendingRelease::default();
        let start = Instant::now();
        pending_release.note(100, start);
        pending_release.note(20, start + GIVEN_BACK_WITHIN / 2);
        assert_eq!(pending_release.expected(start + GIVEN_BACK_WITHIN), 120);
        assert_eq!(pending_release.expected(start + GIVEN_BACK_WITHIN * 2), 0);
    }

    #[test]
    fn limits_are_what_was_said() {
        assert_eq!(limit(MemoryLimit::Off), None);
        let mut gauge = Gauge::default();
        assert_eq!(gauge.read(MemoryLimit::Off), None);
        assert_eq!(limit(MemoryLimit::Bytes(5)), Some(5));
        let now = gauge.read(MemoryLimit::Bytes(1)).unwrap();
        assert!(now.limit == 1 && now.used > 100_000);
    }
}
