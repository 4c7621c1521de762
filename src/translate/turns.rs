//! Whose turn it is where all agents write into one text: each gets one paragraph under its name.
//!
//! The agent that speaks first is passed on as it speaks. What the others say meanwhile is held back, and follows once
//! it has ended, in the order in which they began. An agent of which too much is held back is not read any more.

use std::collections::VecDeque;

/// The most bytes of one agent's text that are held back.
const MAX_HELD_BYTES: usize = 256 * 1024;

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Turns {
    speaker: Option<usize>,
    /// The agents that have something to say, in the order in which they began.
    waiting: VecDeque<usize>,
    /// What is held back of each agent: the raw body of a JSON string.
    held: Vec<Vec<u8>>,
    /// Which agents have ended.
    ended: Vec<bool>,
    /// How many have spoken.
    spoken: usize,
}

/// What happens to a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The agent begins to speak with it. `first`: nobody has spoken before.
    Begins { first: bool },
    /// The agent goes on with it.
    GoesOn,
    /// The piece is held back.
    Waits,
}

impl Turns {
    pub(super) fn new(agents: usize) -> Self {
        Self {
            speaker: None,
            waiting: VecDeque::new(),
            held: vec![Vec::new(); agents],
            ended: vec![false; agents],
            spoken: 0,
        }
    }

    /// Reports whether so much of an agent is held back that it must not be read.
    pub(super) fn is_full(&self, agent: usize) -> bool {
        (self.held.get(agent)).is_some_and(|held| held.len() >= MAX_HELD_BYTES)
    }

    /// Reports whether an agent speaks.
    pub(super) fn speaks(&self, agent: usize) -> bool {
        self.speaker == Some(agent)
    }

    /// Takes a piece of an agent's text, and keeps it if it is not the agent's turn. `joins`: it begins another
    /// message.
    pub(super) fn take(&mut self, agent: usize, text: &[u8], joins: bool) -> Turn {
        match self.speaker {
            Some(speaker) if speaker == agent => Turn::GoesOn,
            None if self.waiting.is_empty() => self.begin(agent),
            _ => {
                if !self.waiting.contains(&agent) {
                    self.waiting.push_back(agent);
                }
                if let Some(held) = self.held.get_mut(agent) {
                    if joins && !held.is_empty() {
                        held.extend_from_slice(b"\\n\\n");
                    }
                    held.extend_from_slice(text);
                }
                Turn::Waits
            }
        }
    }

    /// Ends an agent. It stays in the queue if something of it is held back.
    pub(super) fn end(&mut self, agent: usize) {
        if let Some(ended) = self.ended.get_mut(agent) {
            *ended = true;
        }
        if self.speaker == Some(agent) {
            self.speaker = None;
        }
    }

    /// Returns the next agent whose turn it is, with what was held back of it, if nobody speaks. To be asked again
    /// until it returns nothing: those that have ended say all at once.
    pub(super) fn next(&mut self) -> Option<(usize, Vec<u8>, Turn)> {
        if self.speaker.is_some() {
            return None;
        }
        let agent = self.waiting.pop_front()?;
        let turn = self.begin(agent);
        if self.ended.get(agent).copied().unwrap_or(true) {
            self.speaker = None;
        }
        let held = self.held.get_mut(agent).map(std::mem::take);
        Some((agent, held.unwrap_or_default(), turn))
    }

    fn begin(&mut self, agent: usize) -> Turn {
        self.speaker = Some(agent);
        self.spoken += 1;
        Turn::Begins {
            first: self.spoken == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_speaks_and_the_others_follow_in_the_order_in_which_they_began() {
        let mut turns = Turns::new(3);
        assert_eq!(turns.take(1, b"b1", true), Turn::Begins { first: true });
        assert_eq!(turns.take(2, b"c1", true), Turn::Waits);
        assert_eq!(turns.take(0, b"a1", true), Turn::Waits);
        assert_eq!(turns.take(1, b"b2", false), Turn::GoesOn);
        assert_eq!(turns.take(2, b"c2", true), Turn::Waits);
        assert!(turns.next().is_none(), "somebody speaks");
        turns.end(2);
        turns.end(1);
        let begins = Turn::Begins { first: false };
        assert_eq!(turns.next(), Some((2, b"c1\\n\\nc2".to_vec(), begins)));
        // It has ended, so the next one follows at once, and goes on live.
        assert_eq!(turns.next(), Some((0, b"a1".to_vec(), begins)));
        assert!(turns.next().is_none());
        assert_eq!(turns.take(0, b"a2", false), Turn::GoesOn);
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        let mut turns = Turns::new(2);
        turns.take(0, b"a", true);
        let piece = vec![b'x'; MAX_HELD_BYTES / 2];
        turns.take(1, &piece, true);
        assert!(!turns.is_full(1));
        turns.take(1, &piece, false);
        assert!(turns.is_full(1) && !turns.is_full(0));
        turns.end(0);
        assert_eq!(turns.next().map(|(agent, ..)| agent), Some(1));
        assert!(!turns.is_full(1));
    }
}
