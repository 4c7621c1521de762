//! When the kernel acknowledges what an upstream sends: at once, unless it was shown that nobody waits for it.
//!
//! Linux acknowledges each small segment when it is read, with a packet of its own: a third of the kernel's work
//! for a stream of single events. Delayed, it is one for every second event, and no event comes later, if the
//! upstream sends without waiting (`TCP_NODELAY`). One that waits (Nagle's algorithm) would send each event 40 ms
//! late. So a trial of two reads tells which it is, now and then, for the kernel forgets: it acknowledges at once
//! again whenever a delayed acknowledgement had to be sent by the clock, as it is after each pause.

use std::time::Duration;

use tokio::time::Instant;

/// Reads before the first trial of a connection.
const FIRST_TRIAL_READS: u32 = 8;
/// Reads between trials that went well: so many are acknowledged at once after a pause.
const TRIAL_READS: u32 = 16;
/// Most reads between trials that did not, each of which has made an event late if the upstream does wait.
const MAX_TRIAL_READS: u32 = 1 << 16;
/// An upstream that waits sends 40 ms (`TCP_DELACK_MIN`) after what it waits for. One that has sent earlier than
/// this does not.
const SOON: Duration = Duration::from_millis(30);

/// How what comes on one connection is acknowledged.
#[derive(Debug)]
pub(super) struct Acks {
    /// Reads until `step`.
    reads: u32,
    /// Reads before the last trial and, if it went well, the next.
    wait: u32,
    trial: Trial,
}

#[derive(Debug)]
enum Trial {
    None,
    /// The next read is not acknowledged at once.
    Begun,
    /// This is when something was read that was not.
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

    /// The body of an answer begins; the head was acknowledged at once.
    pub(super) fn begin(&mut self) {
        self.trial = Trial::None;
        if self.wait == TRIAL_READS {
            self.reads = 1;
        }
    }

    /// One more read. Gives whether its acknowledgements shall be delayed from now on.
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

    /// Reads at which a trial begins, of an upstream whose events are so far apart while it is tried.
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
