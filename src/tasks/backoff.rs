//! How long to wait before something that failed is started again.

use std::time::Duration;

/// The pause after the second failure in a row; each further one doubles it.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);
/// What ran for this long before it failed starts again at once.
const STEADY: Duration = Duration::from_secs(10);

/// The pauses between starts of something that must run. There is none after a single failure. What fails each time it
/// is started is not started more than once a second, so that it does not take the processor from the rest.
#[derive(Debug, Default)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Returns how long to wait after a failure. `ran`: how long it ran until then.
    pub fn pause(&mut self, ran: Duration) -> Duration {
        if ran >= STEADY {
            self.next = Duration::ZERO;
        }
        let pause = self.next;
        self.next = (pause * 2).clamp(FIRST, LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_failure_costs_no_time_and_a_row_of_them_more_and_more() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..7)
            .map(|_| backoff.pause(Duration::from_millis(5)).as_millis())
            .collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.pause(STEADY), Duration::ZERO);
        assert_eq!(backoff.pause(Duration::ZERO), FIRST);
    }
}
