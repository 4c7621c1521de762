//! The outcome of a request body, for those who do not send it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::time::Instant;

use super::Error;

/// Why a request body was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The client aborted it.
    Aborted = 1,
    /// The body made no progress in time.
    Timeout = 2,
    /// The body is larger than allowed.
    TooLarge = 3,
}

impl Cut {
    /// Returns the error that a call fails with.
    pub(super) const fn error(self) -> Error {
        match self {
            Self::Aborted => Error::RequestAborted,
            Self::Timeout => Error::RequestTimeout,
            Self::TooLarge => Error::RequestTooLarge,
        }
    }
}

/// The outcome of a request body. The code that sends the body only sees that it was cut off, not why.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict(Arc<Fate>);

#[derive(Debug, Default)]
struct Fate {
    cut: AtomicU8,
    sent: OnceLock<Instant>,
    /// When the last piece was handed over; `None` while waiting for the client to send the next one. Locked
    /// only for a read or a write.
    taken: Mutex<Option<Instant>>,
}

impl Verdict {
    /// Returns why the body was cut off, if it was.
    pub(super) fn cut(&self) -> Option<Cut> {
        match self.0.cut.load(Ordering::Relaxed) {
            1 => Some(Cut::Aborted),
            2 => Some(Cut::Timeout),
            3 => Some(Cut::TooLarge),
            _ => None,
        }
    }

    /// Returns when the end of the body was handed over.
    pub(super) fn sent(&self) -> Option<Instant> {
        self.0.sent.get().copied()
    }

    /// Returns since when the upstream has taken nothing although a piece is waiting, or has had everything. Returns
    /// `None` while waiting for the client.
    pub(super) fn upstream_silent(&self) -> Option<Instant> {
        let taken = || *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.sent().or_else(taken)
    }

    /// Records when the last piece was handed over; `None` while waiting for the client to send the next one.
    pub(super) fn took(&self, at: Option<Instant>) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Records why the body was cut off, and returns the error for the code that sends it.
    pub(super) fn set(&self, cut: Cut) -> std::io::Error {
        self.0.cut.store(cut as u8, Ordering::Relaxed);
        std::io::Error::other("request body cut off")
    }

    /// Records that the end of the body was handed over.
    pub(super) fn complete(&self) {
        self.0.sent.get_or_init(Instant::now);
    }
}

/// A handle that tells whether all of a request body has arrived from the client.
#[derive(Clone, Debug)]
pub struct Received(Verdict);

impl Received {
    pub(super) const fn of(verdict: Verdict) -> Self {
        Self(verdict)
    }

    /// Reports whether nothing of the body is missing.
    pub fn is_complete(&self) -> bool {
        self.0.sent().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_upstream_is_silent_from_the_last_piece_it_took() {
        let verdict = Verdict::default();
        assert_eq!(verdict.upstream_silent(), None, "nothing to take yet");
        let first = Instant::now();
        verdict.took(Some(first));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(verdict.upstream_silent(), Some(first));
        verdict.took(None);
        assert_eq!(verdict.upstream_silent(), None, "the client's turn");
        verdict.took(Some(Instant::now()));
        verdict.complete();
        let end = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(verdict.upstream_silent(), Some(end));
    }
}
