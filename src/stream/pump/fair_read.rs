//! Fair reading: streams whose clients cannot keep up with their upstreams ("floods") take turns.
//!
//! Most of what is read for such a client is only merged or dropped. Its upstream must not be held back, but neither
//! must the other streams of the thread: if there are several floods on a thread, they read one after the other.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// Up to this many floods are not limited; they only yield after each read.
const FEW: u32 = 2;
/// The time in which each of more floods gets one slot. In a slot a flood reads once, at most 4 KiB: some 20 events,
/// which take as many microseconds. That is 32 KiB or 150 tokens a second, as much as a fast model writes.
const ROUND: Duration = Duration::from_millis(128);
/// The longest slot. It gives a small number of floods more, 1 MiB a second together. At 4 MiB, the writing of the
/// upstreams, on the same two cores, trebled the 99th percentile of the other streams' delay; at 1 MiB it added a
/// fifth.
const LONGEST: Duration = Duration::from_millis(4);
/// The shortest slot. It gives more than 128 floods less each; together they take a fifth of what one core can
/// read. It also applies while the thread has no other active streams.
const SHORTEST: Duration = Duration::from_millis(1);
/// How long after its last read a stream that is no flood still counts as active.
const OTHERS: Duration = Duration::from_secs(1);

thread_local! {
    static FLOODS: Cell<u32> = const { Cell::new(0) };
    /// The last slot that was assigned.
    static TAKEN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The last read of a stream that is no flood.
    static OTHER: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Records a read of a stream that is no flood. Every such read calls this, so it costs nothing if there are no
/// floods.
pub(super) fn note_other(now: Instant) {
    if FLOODS.get() > FEW {
        OTHER.set(Some(now));
    }
}

/// Counts a stream as a flood until it is dropped.
#[derive(Debug)]
pub(super) struct FairRead(());

impl FairRead {
    pub(super) fn new() -> Self {
        FLOODS.set(FLOODS.get() + 1);
        Self(())
    }

    /// Assigns the next slot, in which a flood may read again. Returns `None` if it may read at once.
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
        // A flood that did not wait for its slot must not leave a gap.
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
