//! Load shedding when memory runs out: new requests are refused, then the streams of stalled clients are ended.
//!
//! If the kernel kills the process for using too much memory, all of its streams are lost. To prevent that, the memory
//! in use is checked regularly, and the load is reduced well before the limit.

mod cgroup;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::MemoryLimit;
use crate::metrics::Metrics;
use crate::session::registry::Registry;
use crate::session::resumable::Resumables;
use cgroup::Group;

/// New requests are refused from this percentage of the limit.
const REFUSE_PERCENT: u64 = 85;
/// New requests are served again below this percentage.
const SERVE_PERCENT: u64 = 80;
/// The streams of stalled clients are ended from this percentage.
const END_PERCENT: u64 = 95;
/// From this percentage, [`STALLED_AT_LAST`] is enough for a client to count as stalled: otherwise the kernel would
/// soon kill the process.
const LAST_PERCENT: u64 = 98;
/// How often memory is checked while there is plenty.
const EVERY: Duration = Duration::from_millis(500);
/// How often memory is checked when it is short, or may soon be.
const EVERY_WHEN_SHORT: Duration = Duration::from_millis(20);
/// How many bytes all agents together can write in one millisecond. The next check comes before they can have used up
/// the memory below [`SERVE_PERCENT`].
const BYTES_IN_A_MILLISECOND: u64 = 2 * 1024 * 1024;
/// How often the limit is read again. A limit that is changed while the process runs takes effect within this time.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A client that has taken nothing for this long counts as stalled.
const STALLED: Duration = Duration::from_secs(1);
/// From [`LAST_PERCENT`] on, a client that has taken nothing for this long counts as stalled.
const STALLED_AT_LAST: Duration = Duration::from_millis(200);

/// How long the memory of ended streams is expected to be released: until then, the streams have ended and the
/// allocator has returned their memory.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(1);

/// The flag that shows whether memory is short.
///
/// **How it works.** [`App`](crate::app::App) owns the flag, and [`watch`], a task that runs as long as the process, is
/// its only writer. The flag wakes nobody: `proxy::admit` reads it for each request. A timer wakes the watch every 20
/// to 500 ms, more often the less memory is left. The watch sets the flag when 85 % of the limit are used, and clears
/// it below 80 % or when no request is in progress. From 95 % it also asks the streams of stalled clients to end, those
/// with the most waiting bytes first, until their waiting bytes make up the excess over 80 %; each stop signal wakes
/// the pump of its stream. A client counts as stalled if it has taken nothing for 1 s; from 98 % on, 200 ms are enough.
/// The limit is that of the control groups or of the configuration; without a limit, nothing is refused or ended.
#[derive(Debug, Default)]
pub struct Memory(AtomicBool);

impl Memory {
    /// Reports whether new requests are refused.
    pub fn is_short(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A memory limit and how much of it is used, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    limit: u64,
    used: u64,
}

/// Reads the memory in use.
#[derive(Debug, Default)]
struct Gauge {
    groups: Vec<Group>,
    looked: Option<Instant>,
}

impl Gauge {
    /// Reads the current use of the limit that is closest to being reached. Returns `None` if there is no limit, or if
    /// the use cannot be read.
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
    /// Returns how many bytes must be released before requests can be served again, in addition to the `expected`
    /// bytes.
    const fn excess(self, expected: u64) -> u64 {
        let served = self.limit / 100 * SERVE_PERCENT;
        self.used.saturating_sub(served).saturating_sub(expected)
    }

    const fn percent(self) -> u64 {
        let limit = if self.limit == 0 { 1 } else { self.limit };
        self.used.saturating_mul(100) / limit
    }

    /// Returns how long a client must have taken nothing for its stream to be ended.
    const fn stalled_after(self) -> Duration {
        if self.percent() >= LAST_PERCENT {
            STALLED_AT_LAST
        } else {
            STALLED
        }
    }

    /// Returns the time until the next check.
    fn next(self) -> Duration {
        let left = (self.limit / 100 * SERVE_PERCENT).saturating_sub(self.used);
        Duration::from_millis(left / BYTES_IN_A_MILLISECOND).clamp(EVERY_WHEN_SHORT, EVERY)
    }

    /// Reports whether memory is short. `before`: whether it was short at the last check.
    fn is_short(self, before: bool) -> bool {
        let from = if before {
            SERVE_PERCENT
        } else {
            REFUSE_PERCENT
        };
        self.percent() >= from
    }
}

/// The memory of ended streams that has not been released yet. Memory is checked again long before the release shows:
/// without this record, more and more streams would be ended for the same bytes.
#[derive(Debug, Default)]
struct PendingRelease {
    bytes: u64,
    last: Option<Instant>,
}

impl PendingRelease {
    /// Returns how many bytes are still expected to be released.
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

/// Returns the limit in force, in bytes.
pub fn limit(limit: MemoryLimit) -> Option<u64> {
    match limit {
        MemoryLimit::Off => None,
        MemoryLimit::Auto => Group::own().first().map(|group| group.limit),
        MemoryLimit::Bytes(bytes) => Some(bytes),
    }
}

/// Returns the resident memory of this process in bytes; `None` if it cannot be read.
pub fn resident() -> Option<u64> {
    cgroup::resident()
}

/// Returns the memory of the machine in bytes, if the system tells.
pub fn machine() -> Option<u64> {
    cgroup::machine()
}

/// What [`watch`] reads and acts on.
#[derive(Debug)]
pub struct WatchInputs {
    /// Set while memory is short.
    pub memory: Arc<Memory>,
    /// Show the limit and the use.
    pub metrics: Arc<Metrics>,
    /// The streams that may be ended.
    pub streams: Arc<Registry>,
    /// The journals, of which those of streams that are over are not needed.
    pub resumables: Arc<Resumables>,
    /// The number of requests in progress.
    pub requests: Arc<AtomicUsize>,
}

/// Checks the memory in use for as long as the process runs.
pub async fn watch(inputs: WatchInputs, limit: impl Fn() -> MemoryLimit) {
    let WatchInputs {
        memory,
        metrics,
        streams,
        resumables,
        requests,
    } = inputs;
    let (mut gauge, mut pending_release, mut last) =
        (Gauge::default(), PendingRelease::default(), None);
    loop {
        // If the use cannot be read, the last value is kept.
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
        // Without requests in progress, refusing new ones releases nothing: the memory is used by others, or Weir can
        // reuse it.
        let idle = requests.load(Ordering::Relaxed) == 0;
        let short = !idle && now.is_some_and(|it| it.is_short(before));
        memory.0.store(short, Ordering::Relaxed);
        if short && resumables.relieve(&metrics) > 0 {
            tracing::warn!(
                used,
                limit,
                "memory is short: the journals of streams that are over were emptied (limits.memory)"
            );
        }
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
            // The memory has been released, or others use it by now.
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

/// Ends the streams of stalled clients, those with the most waiting bytes first, until enough bytes will be released.
/// Returns how many were ended.
fn end_stalled(streams: &Registry, used: Use, pending_release: &mut PendingRelease) -> usize {
    let now = Instant::now();
    let (excess, stalled_after) = (
        used.excess(pending_release.expected(now)),
        used.stalled_after(),
    );
    if excess == 0 {
        return 0;
    }
    let mut stalled: Vec<_> = streams
        .list()
        .into_iter()
        .filter(|live| !live.stop.is_asked())
        .filter_map(|live| {
            let (since, bytes) = live.stalled()?;
            (now.duration_since(since) >= stalled_after).then_some((bytes as u64, live))
        })
        .collect();
    stalled.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let (mut ended, mut bytes) = (0, 0);
    for (waiting, live) in stalled {
        if bytes >= excess {
            break;
        }
        live.lose_slowest();
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
        assert!(at(979).stalled_after() > at(980).stalled_after());
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
