//! The figures of a running stream: its pump publishes them once for each read, and the list of live streams reads
//! them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Nanoseconds in a second.
const NANOS: u64 = 1_000_000_000;

/// What is known of a running stream apart from its queue. Times count from the start of its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// How many events came, heartbeats excepted.
    pub events: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// How many output tokens came, as far as it is known.
    pub tokens: u64,
    /// When the last read returned.
    pub last_read: Option<Duration>,
    /// When the first answer text came.
    pub first_token: Option<Duration>,
    /// When the first text came, answer or reasoning.
    pub first_text: Option<Duration>,
    /// When the last text came, answer or reasoning.
    pub last_text: Option<Duration>,
    /// Since when the upstream has not been read, because the queue is full.
    pub held_since: Option<Duration>,
}

impl Known {
    /// Returns the output tokens per second, from the first to the last text and without the first token. Returns
    /// `None` for fewer than two tokens.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let seconds = self
            .last_text?
            .saturating_sub(self.first_text?)
            .as_secs_f64();
        let after_first = u32::try_from(self.tokens.checked_sub(1)?).ok()?;
        (seconds > 0.0 && after_first > 0).then(|| f64::from(after_first) / seconds)
    }
}

/// The figures: their only writer is the pump, with plain stores, and readers may see some of them one read older than
/// others. A time is in nanoseconds and one more, so that zero means none.
#[derive(Debug, Default)]
pub struct Figures {
    events: AtomicU64,
    bytes: AtomicU64,
    tokens: AtomicU64,
    last_read: AtomicU64,
    first_token: AtomicU64,
    first_text: AtomicU64,
    last_text: AtomicU64,
    held_since: AtomicU64,
}

impl Figures {
    /// Publishes the totals after a read that returned at `at`. `text`: whether it returned text.
    pub(super) fn read(&self, events: u64, bytes: u64, tokens: u64, at: Duration, text: bool) {
        let at = stored(at);
        self.events.store(events, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.tokens.store(tokens, Ordering::Relaxed);
        self.last_read.store(at, Ordering::Relaxed);
        if text {
            self.last_text.store(at, Ordering::Relaxed);
        }
    }

    /// Publishes when the first answer text and the first text came.
    pub(super) fn firsts(&self, token: Option<Duration>, text: Option<Duration>) {
        let stored = |at: Option<Duration>| at.map_or(0, stored);
        self.first_token.store(stored(token), Ordering::Relaxed);
        self.first_text.store(stored(text), Ordering::Relaxed);
    }

    /// Publishes since when the upstream has not been read.
    pub(super) fn held(&self, since: Option<Duration>) {
        self.held_since
            .store(since.map_or(0, stored), Ordering::Relaxed);
    }

    /// Returns what is known now.
    pub fn known(&self) -> Known {
        let time = |at: &AtomicU64| {
            let nanos = at.load(Ordering::Relaxed).checked_sub(1);
            nanos.map(Duration::from_nanos)
        };
        Known {
            events: self.events.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            tokens: self.tokens.load(Ordering::Relaxed),
            last_read: time(&self.last_read),
            first_token: time(&self.first_token),
            first_text: time(&self.first_text),
            last_text: time(&self.last_text),
            held_since: time(&self.held_since),
        }
    }
}

fn stored(at: Duration) -> u64 {
    // Enough for 584 years.
    let nanos = at.as_secs().wrapping_mul(NANOS);
    nanos
        .wrapping_add(u64::from(at.subsec_nanos()))
        .wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_known() {
        let figures = Figures::default();
        assert_eq!(figures.known(), Known::default());
        let (first, last) = (Duration::from_millis(500), Duration::from_millis(2500));
        figures.read(1, 10, 1, first, true);
        figures.firsts(Some(first), Some(first));
        assert_eq!(
            figures.known().tokens_per_second(),
            None,
            "one token has no pace"
        );
        figures.read(5, 50, 5, last, true);
        figures.read(6, 60, 5, Duration::from_secs(4), false);
        let known = figures.known();
        assert_eq!((known.events, known.bytes, known.tokens), (6, 60, 5));
        assert_eq!(known.last_read, Some(Duration::from_secs(4)));
        assert_eq!(
            (known.first_token, known.last_text),
            (Some(first), Some(last))
        );
        assert_eq!(known.tokens_per_second(), Some(2.0));
        figures.held(Some(Duration::ZERO));
        assert_eq!(figures.known().held_since, Some(Duration::ZERO));
        figures.held(None);
        assert_eq!(figures.known().held_since, None);
    }

    #[test]
    fn the_figures_take_one_cache_line() {
        assert_eq!(size_of::<Figures>(), 64);
    }
}
