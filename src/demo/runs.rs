//! The demo agent's own account of its runs: what it works on, what it generated, and how much was generated after the
//! client had left.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// How many runs are remembered.
const MAX_RUNS: usize = 64;
/// The longest name of a run.
const MAX_NAME: usize = 64;
/// Lateness that counts as nothing: a busy machine, not a client that does not read.
const TOLERATED: Duration = Duration::from_millis(250);

/// The lane of the page that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Through the buffering proxy.
    Left,
    /// Through Weir.
    Right,
}

impl Lane {
    /// Reads the query parameter `lane`.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "left" => Some(Self::Left),
            "right" => Some(Self::Right),
            _ => None,
        }
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The run generates.
    Running,
    /// The run said everything.
    Finished,
    /// The run failed, as the script wanted.
    Crashed,
    /// The run's connection was closed before it had said everything.
    Stopped,
}

impl Phase {
    const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Crashed => "crashed",
            Self::Stopped => "stopped",
        }
    }
}

/// All runs that have a name and a lane.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    left: Totals,
    right: Totals,
    runs: VecDeque<Run>,
    last_key: u64,
}

/// The sums of a lane since the demo started.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    active: u64,
    words: u64,
    for_nobody: u64,
}

#[derive(Debug)]
struct Run {
    key: u64,
    name: String,
    lane: Lane,
    phase: Phase,
    words: u64,
    for_nobody: u64,
    /// The user has said that nobody listens any more.
    unheard: bool,
    /// How much later than its script it was, because the connection took no more.
    held: Duration,
    /// When it says the next word, if nothing holds it up.
    due: Option<Instant>,
}

impl Run {
    fn late(&self, now: Instant) -> Duration {
        let late = self
            .due
            .map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        if late > TOLERATED {
            late
        } else {
            Duration::ZERO
        }
    }

    fn figures(&self, now: Instant) -> Value {
        let held = match self.phase {
            Phase::Running => self.held + self.late(now),
            Phase::Finished | Phase::Crashed | Phase::Stopped => self.held,
        };
        json!({
            "state": self.phase.word(),
            "words": self.words,
            "for_nobody": self.for_nobody,
            "held_ms": u64::try_from(held.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl State {
    const fn totals(&mut self, lane: Lane) -> &mut Totals {
        match lane {
            Lane::Left => &mut self.left,
            Lane::Right => &mut self.right,
        }
    }

    fn figures(&self, lane: Lane, name: &str) -> Value {
        let totals = match lane {
            Lane::Left => self.left,
            Lane::Right => self.right,
        };
        let now = Instant::now();
        let run = self.named(name, lane).map(|run| run.figures(now));
        json!({
            "active": totals.active,
            "words": totals.words,
            "for_nobody": totals.for_nobody,
            "run": run,
        })
    }

    fn named(&self, name: &str, lane: Lane) -> Option<&Run> {
        (self.runs.iter().rev()).find(|run| run.lane == lane && run.name == name)
    }
}

impl Runs {
    /// Begins a run. A name that is too long is cut.
    pub(super) fn begin(self: &Arc<Self>, name: &str, lane: Lane) -> Ticket {
        let mut state = self.lock();
        state.last_key += 1;
        let key = state.last_key;
        if state.runs.len() >= MAX_RUNS {
            state.runs.pop_front();
        }
        state.runs.push_back(Run {
            key,
            name: name.chars().take(MAX_NAME).collect(),
            lane,
            phase: Phase::Running,
            words: 0,
            for_nobody: 0,
            unheard: false,
            held: Duration::ZERO,
            due: None,
        });
        state.totals(lane).active += 1;
        drop(state);
        Ticket {
            runs: Arc::clone(self),
            key,
            lane,
            ended: false,
        }
    }

    /// Notes that nobody listens to a run any more. This does not stop it: a real agent is not told either.
    pub(super) fn leave(&self, name: &str, lane: Lane) {
        let mut state = self.lock();
        let found = (state.runs.iter_mut().rev()).find(|run| run.lane == lane && run.name == name);
        if let Some(run) = found {
            run.unheard = true;
        }
    }

    /// Returns the figures of both lanes, and in each those of the run of this name, as JSON.
    pub(super) fn figures(&self, name: &str) -> String {
        let state = self.lock();
        json!({
            "left": state.figures(Lane::Left, name),
            "right": state.figures(Lane::Right, name),
        })
        .to_string()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run in progress. Dropped before its end, it was stopped.
#[derive(Debug)]
pub(super) struct Ticket {
    runs: Arc<Runs>,
    key: u64,
    lane: Lane,
    ended: bool,
}

impl Ticket {
    /// Counts words that were generated. The next ones are due at once, unless [`Ticket::waits_until`] says otherwise.
    pub(super) fn said(&self, words: u64) {
        let mut state = self.runs.lock();
        let now = Instant::now();
        let mut for_nobody = 0;
        if let Some(run) = state.runs.iter_mut().find(|run| run.key == self.key) {
            run.held += run.late(now);
            run.due = Some(now);
            run.words += words;
            if run.unheard {
                for_nobody = words;
                run.for_nobody += words;
            }
        }
        let totals = state.totals(self.lane);
        totals.words += words;
        totals.for_nobody += for_nobody;
    }

    /// Notes when the next words are due.
    pub(super) fn waits_until(&self, due: Instant) {
        let mut state = self.runs.lock();
        if let Some(run) = state.runs.iter_mut().find(|run| run.key == self.key) {
            run.due = Some(due);
        }
    }

    /// Ends the run.
    pub(super) fn end(&mut self, phase: Phase) {
        if self.ended {
            return;
        }
        self.ended = true;
        let mut state = self.runs.lock();
        let now = Instant::now();
        if let Some(run) = state.runs.iter_mut().find(|run| run.key == self.key) {
            run.held += run.late(now);
            run.phase = phase;
        }
        let totals = state.totals(self.lane);
        totals.active = totals.active.saturating_sub(1);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(Phase::Stopped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(runs: &Runs, name: &str) -> Value {
        let all: Value = serde_json::from_str(&runs.figures(name)).unwrap();
        all["right"].clone()
    }

    #[tokio::test(start_paused = true)]
    async fn words_after_the_last_listener_left_are_for_nobody() {
        let runs = Arc::new(Runs::default());
        let ticket = runs.begin("a", Lane::Right);
        ticket.said(3);
        runs.leave("a", Lane::Left);
        ticket.said(1);
        runs.leave("a", Lane::Right);
        ticket.said(2);
        let seen = right(&runs, "a");
        assert_eq!(
            (&seen["active"], &seen["for_nobody"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(
            seen["run"],
            json!({"state": "running", "words": 6, "for_nobody": 2, "held_ms": 0})
        );
        drop(ticket);
        let seen = right(&runs, "a");
        assert_eq!(
            (&seen["active"], &seen["run"]["state"]),
            (&json!(0), &json!("stopped"))
        );
        assert_eq!(right(&runs, "b")["run"], Value::Null);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_is_held_up_while_its_connection_takes_nothing() {
        let runs = Arc::new(Runs::default());
        let mut ticket = runs.begin("a", Lane::Right);
        ticket.said(1);
        ticket.waits_until(Instant::now() + Duration::from_millis(50));
        tokio::time::advance(Duration::from_millis(60)).await;
        ticket.said(1);
        assert_eq!(right(&runs, "a")["run"]["held_ms"], 0, "a late timer");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(
            right(&runs, "a")["run"]["held_ms"],
            2000,
            "while it is held"
        );
        ticket.said(1);
        ticket.end(Phase::Finished);
        drop(ticket);
        let run = &right(&runs, "a")["run"];
        assert_eq!(
            (&run["held_ms"], &run["state"]),
            (&json!(2000), &json!("finished"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn old_runs_are_forgotten_and_still_leave_the_count() {
        let runs = Arc::new(Runs::default());
        let tickets: Vec<_> = (0..=MAX_RUNS)
            .map(|number| runs.begin(&number.to_string(), Lane::Right))
            .collect();
        assert_eq!(right(&runs, "0")["run"], Value::Null);
        assert_ne!(right(&runs, "1")["run"], Value::Null);
        drop(tickets);
        assert_eq!(right(&runs, "1")["active"], 0);
    }
}
