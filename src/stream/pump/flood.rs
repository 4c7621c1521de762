//! A stream whose reader takes nothing, and whose upstream writes on all the same.
//!
//! What is read of it is for the most part read to be dropped. Its upstream must not be held back, but nor must
//! the thread's other streams: so it reads seldom and much, and the more there are of its kind the more seldom.

use std::cell::Cell;
use std::time::Duration;

/// The pause after each read of up to 16 KiB is so much for three such streams of a thread; it grows with their
/// number squared, so all of them together read less the more they are.
const PAUSE_OF_THREE: Duration = Duration::from_millis(2);
/// No longer: 512 KiB a second, 2,500 events, are still far more than a model writes.
const LONGEST: Duration = Duration::from_millis(32);

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

    /// The pause after a read. One or two only take turns with the others.
    pub(super) fn pause() -> Option<Duration> {
        match FLOODS.get() {
            0..3 => None,
            floods => {
                let pause = PAUSE_OF_THREE.saturating_mul(floods.saturating_mul(floods)) / 9;
                Some(pause.min(LONGEST))
            }
        }
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
        let few: Vec<Flood> = (0..2).map(|_| Flood::new()).collect();
        assert_eq!(Flood::pause(), None);
        let one = Flood::new();
        assert_eq!(Flood::pause(), Some(PAUSE_OF_THREE));
        let more: Vec<Flood> = (0..3).map(|_| Flood::new()).collect();
        assert_eq!(Flood::pause(), Some(PAUSE_OF_THREE * 4));
        let many: Vec<Flood> = (0..100).map(|_| Flood::new()).collect();
        assert_eq!(Flood::pause(), Some(LONGEST));
        drop((one, more, many));
        assert_eq!(Flood::pause(), None);
        drop(few);
    }
}
