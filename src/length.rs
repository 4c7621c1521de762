//! A length of time in eight bytes.

use std::time::Duration;

/// A length of time in half the room of a [`Duration`], because each stream keeps several: whole nanoseconds, at most
/// 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(u64);

impl Length {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// Converts a length. One of more than 584 years becomes the longest there is.
    pub const fn of(length: Duration) -> Self {
        let seconds = length.as_secs().saturating_mul(1_000_000_000);
        Self(seconds.saturating_add(length.subsec_nanos() as u64))
    }

    /// Returns the length.
    pub const fn get(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_exact_until_they_are_too_long_to_matter() {
        for length in [Duration::ZERO, Duration::new(7, 999_999_999)] {
            assert_eq!(Length::of(length).get(), length);
        }
        assert_eq!(
            Length::of(Duration::MAX).get(),
            Duration::from_nanos(u64::MAX)
        );
        assert!(Length::of(Duration::from_secs(1)) > Length::ZERO);
        assert_eq!(size_of::<Length>(), 8);
    }
}
