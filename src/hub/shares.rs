//! Distributes drops fairly among agents: the agent with the most waiting loses most, so that an agent that writes a
//! lot does not push out what a quiet one says.

use crate::journal::Kept;

/// How many agents are told apart. The first place is for events without an agent.
const AGENTS: usize = 32;

/// How many events, and how many bytes, are removed of each agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    events: Level,
    bytes: Level,
}

impl Shares {
    /// Shares out `excess`, a number of events and of bytes, among the agents of the events that may go. Of each of
    /// these, the agent and the size in bytes.
    pub(super) fn new(
        droppable: impl Iterator<Item = (u8, usize)>,
        (events, bytes): (usize, usize),
    ) -> Self {
        let mut waiting = [[0; AGENTS]; 2];
        for (agent, size) in droppable {
            for (sums, size) in waiting.iter_mut().zip([1, size]) {
                if let Some(sum) = sums.get_mut(place(agent)) {
                    *sum += size;
                }
            }
        }
        let [counts, sizes] = waiting;
        Self {
            events: Level::new(counts, events),
            bytes: Level::new(sizes, bytes),
        }
    }

    /// Decides whether an event goes, the oldest first.
    pub(super) fn takes(&mut self, kept: &Kept<'_>) -> bool {
        let of_events = self.events.takes(kept.agent, 1);
        let of_bytes = self.bytes.takes(kept.agent, kept.block.len());
        of_events || of_bytes
    }
}

/// How much waits of each agent, and down to where it goes.
#[derive(Clone, Copy, Debug)]
struct Level {
    waiting: [usize; AGENTS],
    level: usize,
}

impl Level {
    /// Finds the highest level at which `excess` goes, or all if that is not enough.
    fn new(waiting: [usize; AGENTS], excess: usize) -> Self {
        let goes = |level: usize| -> usize {
            let above = waiting.iter().map(|sum| sum.saturating_sub(level));
            above.sum()
        };
        let (mut low, mut high) = (0, waiting.iter().copied().max().unwrap_or_default());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if goes(middle) >= excess {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Self {
            waiting,
            level: low,
        }
    }

    fn takes(&mut self, agent: u8, size: usize) -> bool {
        let Some(sum) = self.waiting.get_mut(place(agent)) else {
            return true;
        };
        let goes = *sum > self.level;
        if goes {
            *sum = sum.saturating_sub(size);
        }
        goes
    }
}

fn place(agent: u8) -> usize {
    usize::from(agent).min(AGENTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Class;

    /// Returns how many of ten events of agent 1, two of agent 2 and four of agent 3, of ten bytes each, are left.
    fn left(excess: (usize, usize)) -> [usize; 3] {
        let kept = |agent| Kept {
            block: b"0123456789",
            class: Class::Token,
            agent,
            text: b"",
        };
        let all = [1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1].map(kept);
        let sizes = all.iter().map(|kept| (kept.agent, kept.block.len()));
        let mut shares = Shares::new(sizes, excess);
        let mut left = [0; 3];
        for kept in all.iter().filter(|kept| !shares.takes(kept)) {
            left[usize::from(kept.agent) - 1] += 1;
        }
        left
    }

    #[test]
    fn the_largest_shares_are_made_equal() {
        assert_eq!(left((0, 0)), [10, 2, 4]);
        assert_eq!(left((3, 0)), [7, 2, 4]);
        assert_eq!(left((6, 0)), [4, 2, 4]);
        assert_eq!(left((8, 0)), [3, 2, 3]);
        assert_eq!(left((0, 80)), [3, 2, 3]);
        // The larger excess counts.
        assert_eq!(left((3, 60)), [4, 2, 4]);
        assert_eq!(left((16, 0)), [0, 0, 0]);
        assert_eq!(left((99, 0)), [0, 0, 0]);
    }
}
