//! The bounds of what is stored of a stream.

use std::time::Duration;

use super::terms::Bounds;

/// A stream stays at least this long after its end, so that those who follow it see the end.
const SHORTEST: Duration = Duration::from_secs(10);

impl Bounds {
    /// Returns how long a stream stays after its end.
    pub(super) fn after_end(&self) -> Duration {
        self.keep.max(SHORTEST)
    }
}
