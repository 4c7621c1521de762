//! Delayed TCP acknowledgements: used only for upstreams that do not wait for an acknowledgement before they send.
//!
//! Linux acknowledges each small segment when it is read, with a packet of its own: a third of the kernel's work for a
//! stream of single events. Delayed acknowledgements take one packet for every second event, and no event is late if
//! the upstream sends without waiting (`TCP_NODELAY`). An upstream that waits (Nagle's algorithm) would send each
//! event 40 ms late. A trial of two reads tells which kind the upstream is. Trials are repeated from time to time,
//! because the kernel forgets the setting: it acknowledges at once again whenever a delayed acknowledgement had to be
//! sent by timer, as it is after each pause.

use std::time::Duration;

use tokio::time::Instant;

/// Reads before the first trial of a connection.
const FIRST_TRIAL_READS: u32 = 8;
/// Reads between trials that succeed: after a pause, this many are acknowledged at once.
const TRIAL_READS: u32 = 16;
/// Maximum number of reads between trials that fail. Each of these has made an event late if the upstream does wait.
const MAX_TRIAL_READS: u32 = 1 << 16;
/// An upstream that waits sends 40 ms (`TCP_DELACK_MIN`) after the data whose acknowledgement it waits for. One that
/// sends sooner than this does not wait.
const SOON: Duration = Duration::from_millis(30);

/// How the data that arrives on one connection is acknowledged.
#[derive(Debug)]
pub(super) struct Acks {
    /// Reads left until the next `step`.
    reads: u32,
    /// Reads before the last trial and, if it succeeded, before the next.
    wait: u32,
    trial: Trial,
}

#[derive(Debug)]
enum Trial {
    None,
    /// The next read is not acknowledged at once.
    Begun,
    /// When data was read that was not acknowledged at once.
    Delayed(Instant),
}

impl Acks {
    pub(super) const fn new() -> Self {
        Self {
            reads: FIRST_TRIAL_READS,
            wait: FIRST_TRIAL_READS,
            trial: Trial::None,
        }
    }

    /// Begins the body of a response, whose head was acknowledged at once.
    pub(super) fn begin(&mut self) {
        self.trial = Trial::None;
        if self.wait == TRIAL_READS {
            self.reads = 1;
        }
    }

    /// Counts one read. Returns whether acknowledgements are to be delayed from now on.
    #[inline]
    pub(super) fn read(&mut self) -> bool {
        self.reads -= 1;
        self.reads == 0 && self.step(Instant::now())
    }

    #[cold]
    fn step(&mut self, now: Instant) -> bool {
        match self.trial {
            Trial::None => {
                self.trial = Trial::Begun;
                self.reads = 1;
                return true;
            }
            Trial::Begun => {
                self.trial = Trial::Delayed(now);
                self.reads = 1;
            }
            Trial::Delayed(at) => {
                self.trial = Trial::None;
                self.wait = if now.duration_since(at) < SOON {
                    TRIAL_READS
                } else {
                    self.wait.saturating_mul(16).min(MAX_TRIAL_READS)
                };
                self.reads = self.wait;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the reads at which a trial begins, for an upstream whose events are `apart` from each other.
    fn trials(apart: Duration, reads: u32) -> Vec<u32> {
        let mut acks = Acks::new();
        let mut now = Instant::now();
        let mut trials = Vec::new();
        for read in 1..=reads {
            now += apart;
            acks.reads -= 1;
            if acks.reads == 0 && acks.step(now) {
                trials.push(read);
            }
        }
        trials
    }

    #[test]
    fn an_upstream_that_does_not_wait_is_tried_again_and_again() {
        let tried = trials(Duration::from_millis(20), 64);
        assert_eq!(tried, [8, 26, 44, 62]);
    }

    #[test]
    fn an_upstream_that_waits_is_hardly_ever_tried() {
        let tried = trials(Duration::from_millis(41), 20_000);
        assert_eq!(tried, [8, 138, 2_188]);
    }
}
