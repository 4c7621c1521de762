//! The doctor's own clock.

use tokio::time::Instant;

/// Counts microseconds from its creation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Creates a clock that begins now.
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}
