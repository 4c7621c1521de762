//! How often a failure is logged: a receiver may be away for days.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// At most one warning is logged in this time.
const EVERY: Duration = Duration::from_secs(60);

/// When the last warning was logged. Locked only for a read and a write.
#[derive(Debug, Default)]
pub(super) struct LogLimit(Mutex<Option<Instant>>);

impl LogLimit {
    /// Reports whether a warning may be logged, and counts it as logged.
    pub(super) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= EVERY);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_warning_a_minute() {
        let log_limit = LogLimit::default();
        assert!(log_limit.is_due());
        tokio::time::advance(EVERY - Duration::from_secs(1)).await;
        assert!(!log_limit.is_due());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(log_limit.is_due() && !log_limit.is_due());
    }
}
