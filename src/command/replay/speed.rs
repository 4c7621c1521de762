//! How fast a recording is replayed.

use std::time::Duration;

/// The slowest and the fastest speed with pauses.
const MIN: f64 = 0.01;
const MAX: f64 = 1_000_000.0;

/// How many times as fast as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Speed {
    /// Without any pause.
    Max,
    /// This many times as fast.
    Times(f64),
}

impl Speed {
    /// Reads a speed.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        text.strip_suffix('x')
            .unwrap_or(text)
            .parse::<f64>()
            .ok()
            .filter(|times| (MIN..=MAX).contains(times))
            .map(Self::Times)
            .ok_or_else(|| {
                format!("--speed `{text}`: expected a number such as 1, 2.5 or 10, or `max`")
            })
    }

    /// Returns how long after the request something is played that happened `micros` microseconds after the request.
    pub(super) fn delay(self, micros: u64) -> Duration {
        match self {
            Self::Max => Duration::ZERO,
            // `micros` is bounded by what a file may hold, so this does not overflow.
            Self::Times(times) => Duration::from_micros(micros).div_f64(times),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_number_or_max() {
        let delay = |text: &str| Speed::parse(text).map(|speed| speed.delay(1_000_000));
        assert_eq!(delay("1"), Ok(Duration::from_secs(1)));
        assert_eq!(delay("10"), Ok(Duration::from_millis(100)));
        assert_eq!(delay("10x"), Ok(Duration::from_millis(100)));
        assert_eq!(delay("2.5"), Ok(Duration::from_millis(400)));
        assert_eq!(delay("max"), Ok(Duration::ZERO));
        for wrong in ["", "0", "-1", "fast", "inf", "NaN", "1e9"] {
            assert!(Speed::parse(wrong).is_err(), "{wrong}");
        }
    }
}
