//! How the latest probe streams have ended.

use std::collections::VecDeque;

use crate::session::stream_id::StreamId;

/// How many streams are remembered.
const KEPT: usize = 64;

/// What became of a probe stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The stream runs, as far as the probe can tell.
    Runs,
    /// All of it was sent.
    Complete,
    /// The client of the stream has left, or the next proxy closed the connection.
    Left,
}

impl State {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Complete => "complete",
            Self::Left => "left",
        }
    }
}

/// A probe stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The id that its client has given it.
    pub id: StreamId,
    /// What became of it.
    pub state: State,
    /// How many events and heartbeats were sent, once it has ended.
    pub sent: u32,
    /// When it ended, in microseconds since 1970.
    pub ended: Option<u64>,
    number: u64,
}

/// The latest streams, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: VecDeque<Entry>,
    last: u64,
}

impl Ledger {
    /// Adds a stream, and returns its number.
    pub(super) fn begin(&mut self, id: StreamId) -> u64 {
        if self.entries.len() >= KEPT {
            self.entries.pop_front();
        }
        self.last += 1;
        self.entries.push_back(Entry {
            id,
            state: State::Runs,
            sent: 0,
            ended: None,
            number: self.last,
        });
        self.last
    }

    pub(super) fn end(&mut self, number: u64, state: State, sent: u32, at: u64) {
        let mut entries = self.entries.iter_mut();
        if let Some(entry) = entries.find(|entry| entry.number == number) {
            entry.state = state;
            entry.sent = sent;
            entry.ended = Some(at);
        }
    }

    /// Returns the newest stream with this id.
    pub(super) fn find(&self, id: StreamId) -> Option<Entry> {
        let mut entries = self.entries.iter().rev();
        entries.find(|entry| entry.id == id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_streams_are_remembered() {
        let mut ledger = Ledger::default();
        let first = StreamId::random();
        let number = ledger.begin(first);
        for _ in 0..KEPT {
            ledger.begin(StreamId::random());
        }
        assert_eq!(ledger.find(first), None);
        ledger.end(number, State::Left, 1, 1);
        assert_eq!(ledger.entries.len(), KEPT);
    }

    #[test]
    fn the_newer_of_two_streams_with_one_id_counts() {
        let mut ledger = Ledger::default();
        let id = StreamId::random();
        let older = ledger.begin(id);
        ledger.begin(id);
        ledger.end(older, State::Left, 1, 1);
        assert_eq!(ledger.find(id).map(|entry| entry.state), Some(State::Runs));
    }
}
