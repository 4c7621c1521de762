//! A stream whose reader takes nothing, and whose upstream writes on all the same.
//!
//! What is read of it is for the most part read to be dropped. Its upstream must not be held back, but nor must
//! the thread's other streams: so it reads seldom and much, and the more there are of its kind the more seldom.

use std::cell::Cell;
use std::time::Duration;

/// The pause after each read of up to 64 KiB is this for one such stream of a thread, four times as much for
/// two, nine times for three: all of them together read less the more they are.
const PAUSE: Duration = Duration::from_millis(1);
/// No longer: 512 KiB a second, 2,500 events, are still far more than a model writes.
const LONGEST: Duration = Duration::from_millis(128);

thread_local! {
    static FLOODS: Cell<u32> = const { Cell::new(0) };
}

/// One such stream, for as long as this lives.
#[derive(Debug)]
pub(super) struct Flood(());

impl Flood {
    pub(super) fn new() -> Self {
        FLOODS.set(FLOODS.get() + 1);
        Self(())
    }

    /// The pause after a read.
    pub(super) fn pause() -> Duration {
        let floods = FLOODS.get().max(1);
        PAUSE
            .saturating_mul(floods.saturating_mul(floods))
            .min(LONGEST)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        FLOODS.set(FLOODS.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_floods_the_longer_each_pauses() {
        let one = Flood::new();
        assert_eq!(Flood::pause(), PAUSE);
        let more: Vec<Flood> = (0..3).map(|_| Flood::new()).collect();
        assert_eq!(Flood::pause(), PAUSE * 16);
        let many: Vec<Flood> = (0..100).map(|_| Flood::new()).collect();
        assert_eq!(Flood::pause(), LONGEST);
        drop((more, many));
        assert_eq!(Flood::pause(), PAUSE);
        drop(one);
    }
}
