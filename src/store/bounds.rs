//! The bounds of what is stored of a stream.

use std::time::Duration;

/// A stream stays at least this long after its end, so that those who follow it see the end.
const SHORTEST: Duration = Duration::from_secs(10);

/// The bounds of what is stored of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long it stays after the stream's end.
    pub keep: Duration,
    /// How long it stays if nothing is written any more: longer than a stream can live. Renewed while it lives, so that
    /// at least half of it is left.
    pub live: Duration,
    /// About how many events are kept.
    pub max_events: usize,
    /// About how many bytes are kept.
    pub max_bytes: usize,
}

impl Bounds {
    /// Returns how long a stream stays after its end.
    pub(super) fn after_end(&self) -> Duration {
        self.keep.max(SHORTEST)
    }
}
