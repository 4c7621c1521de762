//! A stream whose reader takes nothing, and whose upstream writes on all the same.
//!
//! What is read of it is for the most part read to be joined or dropped. Its upstream must not be held back, but
//! nor must the thread's other streams: where there are several of its kind, they read one after the other.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// So many only take turns with the others.
const FEW: u32 = 2;
/// More of them read once in each of these slots, and narrowly: some 20 events, which no other stream waits for
/// long, and 4 MiB a second, which is what a hundred fast models write and a fifth of what one core takes in.
const SLOT: Duration = Duration::from_millis(1);

thread_local! {
    static FLOODS: Cell<u32> = const { Cell::new(0) };
    /// The last slot given away.
    static TAKEN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// One such stream, for as long as this lives.
#[derive(Debug)]
pub(super) struct Flood(());

impl Flood {
    pub(super) fn new() -> Self {
        FLOODS.set(FLOODS.get() + 1);
        Self(())
    }

    /// When one of them may read again; `None`: at once.
    pub(super) fn next_slot(now: Instant) -> Option<Instant> {
        if FLOODS.get() <= FEW {
            return None;
        }
        let slot = TAKEN.get().map_or(now, |taken| taken.max(now)) + SLOT;
        TAKEN.set(Some(slot));
        Some(slot)
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
    fn several_floods_read_one_after_the_other() {
        let now = Instant::now();
        let few: Vec<Flood> = (0..2).map(|_| Flood::new()).collect();
        assert_eq!(Flood::next_slot(now), None);
        let _third = Flood::new();
        let slots: Vec<_> = few.iter().map(|_| Flood::next_slot(now)).collect();
        assert_eq!(slots, [Some(now + SLOT), Some(now + 2 * SLOT)]);
        let later = now + 10 * SLOT;
        assert_eq!(Flood::next_slot(later), Some(later + SLOT));
        drop(few);
        assert_eq!(Flood::next_slot(later), None);
    }
}
