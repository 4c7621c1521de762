//! What becomes of each agent of a stream, for the log and the metrics.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What becomes of the agents of one stream.
#[derive(Debug)]
pub struct Board {
    names: Vec<String>,
    fates: Mutex<Vec<Fate>>,
}

/// What has become of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// How it has ended; `None` if it still ran when the stream ended.
    pub outcome: Option<&'static str>,
    /// When its first answer text came.
    pub first_token: Option<Instant>,
    /// The agent has begun to stream.
    streams: bool,
}

impl Board {
    /// Creates the board of a stream of these agents.
    pub fn new(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            fates: Mutex::new(vec![Fate::default(); names.len()]),
        }
    }

    /// Returns the name of an agent.
    pub fn name(&self, agent: usize) -> &str {
        self.names.get(agent).map_or("", String::as_str)
    }

    /// Notes how an agent has ended. Only the first note counts.
    pub(super) fn note_outcome(&self, agent: usize, outcome: &'static str) {
        if let Some(fate) = self.lock().get_mut(agent) {
            fate.outcome.get_or_insert(outcome);
        }
    }

    /// Notes that an agent has begun to stream.
    pub(super) fn note_streams(&self, agent: usize) {
        if let Some(fate) = self.lock().get_mut(agent) {
            fate.streams = true;
        }
    }

    /// Notes when the first answer text of an agent came.
    pub(super) fn note_first_token(&self, agent: usize, at: Instant) {
        if let Some(fate) = self.lock().get_mut(agent) {
            fate.first_token.get_or_insert(at);
        }
    }

    /// Returns the name of each agent and what has become of it. Those that still run end as the stream does.
    pub fn fates(&self, end: &'static str) -> Vec<(&str, &'static str, Option<Instant>)> {
        let fates = self.lock().clone();
        let named = self.names.iter().zip(fates);
        named
            .map(|(name, fate)| (name.as_str(), fate.outcome.unwrap_or(end), fate.first_token))
            .collect()
    }

    /// Returns how each stream of an agent has failed that has begun and failed by itself. Calls without a stream are
    /// not among them.
    pub fn failures(&self) -> Vec<&'static str> {
        let fates = self.lock();
        let outcomes = fates.iter().filter(|fate| fate.streams);
        outcomes
            .filter_map(|fate| fate.outcome)
            .filter(|outcome| !matches!(*outcome, "cancelled" | "finished"))
            .collect()
    }

    /// Returns the same as text for a log line: `a=finished (120 ms) b=truncated (-)`. The times count from `started`.
    pub fn line(&self, end: &'static str, started: Instant) -> String {
        let mut line = String::new();
        for (name, outcome, first_token) in self.fates(end) {
            if !line.is_empty() {
                line.push(' ');
            }
            let waited = first_token.map(|at| at.duration_since(started));
            // Writing to a string cannot fail.
            let _ = match waited.as_ref().map(Duration::as_millis) {
                Some(ms) => write!(line, "{name}={outcome} ({ms} ms)"),
                None => write!(line, "{name}={outcome} (-)"),
            };
        }
        line
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fate>> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_still_run_end_as_the_stream_does() {
        let started = Instant::now();
        let board = Board::new(&["a", "b"]);
        board.note_outcome(0, "truncated");
        board.note_outcome(0, "finished");
        board.note_first_token(0, started + Duration::from_millis(120));
        board.note_first_token(0, started + Duration::from_millis(500));
        assert_eq!(
            board.line("client_gone", started),
            "a=truncated (120 ms) b=client_gone (-)"
        );
    }

    #[test]
    fn only_streams_that_failed_by_themselves_are_failures() {
        let names = ["well", "failed", "refused", "cancelled", "runs"];
        let board = Board::new(&names);
        for agent in [0, 1, 3, 4] {
            board.note_streams(agent);
        }
        let outcomes = ["finished", "idle_timeout", "upstream_connect", "cancelled"];
        for (agent, outcome) in outcomes.into_iter().enumerate() {
            board.note_outcome(agent, outcome);
        }
        assert_eq!(board.failures(), ["idle_timeout"]);
    }
}
