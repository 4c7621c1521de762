//! A stream whose reader takes nothing, and whose upstream writes on all the same.
//!
//! What is read of it is for the most part read to be joined or dropped. Its upstream must not be held back, but
//! nor must the thread's other streams: where there are several of its kind, they read one after the other.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// So many only take turns with the others.
const FEW: u32 = 2;
/// More of them read once in a slot each, and narrowly: 4 KiB, some 20 events in as many microseconds. So often comes
/// each one's turn: 32 KiB a second, 150 tokens, which is what a fast model writes.
const ROUND: Duration = Duration::from_millis(128);
/// No slot is longer, so few of them get more: 1 MiB a second together. At 4 MiB the upstreams' writing, on the same
/// two cores, trebled the 99th percentile of the other streams' delay; at 1 MiB it added a fifth.
const LONGEST: Duration = Duration::from_millis(4);
/// Nor is one shorter, so more than 128 get less: it is a fifth of what one core takes in. This is the length when
/// nobody else has anything to wait for.
const SHORTEST: Duration = Duration::from_millis(1);
/// After the last read of another stream, so long there are others.
const OTHERS: Duration = Duration::from_secs(1);

thread_local! {
    static FLOODS: Cell<u32> = const { Cell::new(0) };
    /// The last slot given away.
    static TAKEN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The last read of a stream that is none of them.
    static OTHER: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A stream was read whose reader takes what comes. Where there are no floods nobody asks, and every read comes here.
pub(super) fn note_other(now: Instant) {
    if FLOODS.get() > FEW {
        OTHER.set(Some(now));
    }
}

/// One such stream, for as long as this lives.
#[derive(Debug)]
pub(super) struct FairRead(());

impl FairRead {
    pub(super) fn new() -> Self {
        FLOODS.set(FLOODS.get() + 1);
        Self(())
    }

    /// When one of them may read again; `None`: at once.
    pub(super) fn next_slot(now: Instant) -> Option<Instant> {
        let floods = FLOODS.get();
        if floods <= FEW {
            return None;
        }
        let others = OTHER
            .get()
            .is_some_and(|at| now.duration_since(at) < OTHERS);
        let length = if others {
            (ROUND / floods).clamp(SHORTEST, LONGEST)
        } else {
            SHORTEST
        };
        // Those that took a slot and went on without it leave no gap.
        let last = now + length * floods;
        let slot = TAKEN.get().map_or(now, |taken| taken.clamp(now, last)) + length;
        TAKEN.set(Some(slot));
        Some(slot)
    }
}

impl Drop for FairRead {
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
        let few: Vec<FairRead> = (0..2).map(|_| FairRead::new()).collect();
        assert_eq!(FairRead::next_slot(now), None);
        let _third = FairRead::new();
        note_other(now);
        let slots: Vec<_> = few.iter().map(|_| FairRead::next_slot(now)).collect();
        let slot = Duration::from_millis(4);
        assert_eq!(slots, [Some(now + slot), Some(now + 2 * slot)]);
        let later = now + 10 * slot;
        assert_eq!(FairRead::next_slot(later), Some(later + slot));

        let many: Vec<FairRead> = (3..64).map(|_| FairRead::new()).collect();
        let next = later + slot;
        assert_eq!(FairRead::next_slot(later), Some(next + slot / 2));
        let more: Vec<FairRead> = (64..1000).map(|_| FairRead::new()).collect();
        assert_eq!(FairRead::next_slot(later), Some(next + slot / 2 + slot / 4));

        drop((many, more));
        let alone = later + 2 * OTHERS;
        assert_eq!(FairRead::next_slot(alone), Some(alone + SHORTEST));
        drop(few);
        assert_eq!(FairRead::next_slot(later), None);
    }
}
