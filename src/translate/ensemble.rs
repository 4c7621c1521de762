//! Several agents in one stream: what their translators share, and how each of them is named.
//!
//! Each agent has a translator of its own, and so has the run as a whole. Each of these has a [`Voice`], which adds
//! what tells the agents apart. What must be one in the stream, such as the numbers of the events, is in the
//! [`Ensemble`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::raw;
use super::turns::Turns;

/// What the translators of one stream share.
#[derive(Debug)]
pub struct Ensemble {
    /// The raw body of a JSON string, as everything else here.
    run: Vec<u8>,
    thread: Vec<u8>,
    names: Vec<Vec<u8>>,
    /// The number of the last native event.
    seq: AtomicU64,
    /// Some agent waits for the client to run a tool.
    waits: AtomicBool,
    /// How many calls clients of OpenAI were told.
    calls: AtomicU64,
    /// How each agent has ended: its outcome, once it has one.
    outcomes: Mutex<Vec<Option<&'static str>>>,
    /// What agents wait for, as JSON objects.
    interrupts: Mutex<Vec<Vec<u8>>>,
    /// Whose turn it is where one text holds all of them.
    turns: Mutex<Turns>,
}

/// The most interrupts that are remembered.
const MAX_INTERRUPTS: usize = 64;

impl Ensemble {
    /// Creates what the translators of these agents share. `run` and `thread` identify the run and its conversation for
    /// the client.
    pub fn new(run: &str, thread: &str, names: &[&str]) -> Self {
        let body = |text: &str| raw::escaped(text.as_bytes()).into_owned();
        Self {
            run: body(run),
            thread: body(thread),
            names: names.iter().map(|name| body(name)).collect(),
            seq: AtomicU64::new(0),
            waits: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            outcomes: Mutex::new(vec![None; names.len()]),
            interrupts: Mutex::default(),
            turns: Mutex::new(Turns::new(names.len())),
        }
    }

    /// Notes how an agent has ended, before the run is told to end.
    pub fn note_outcome(&self, agent: usize, outcome: &'static str) {
        if let Some(known) = lock(&self.outcomes).get_mut(agent) {
            known.get_or_insert(outcome);
        }
    }

    /// Reports whether so much of an agent is held back, because another one speaks, that it must not be read.
    pub fn holds_back(&self, agent: usize) -> bool {
        lock(&self.turns).is_full(agent)
    }

    pub(super) fn run(&self) -> &[u8] {
        &self.run
    }

    pub(super) fn thread(&self) -> &[u8] {
        &self.thread
    }

    pub(super) fn names(&self) -> &[Vec<u8>] {
        &self.names
    }

    pub(super) fn name(&self, agent: usize) -> &[u8] {
        self.names.get(agent).map_or(b"".as_slice(), Vec::as_slice)
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    pub(super) fn turns(&self) -> MutexGuard<'_, Turns> {
        lock(&self.turns)
    }

    /// Returns the number of the next call, from 0.
    pub(super) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes that an agent waits for the client to run a tool.
    pub(super) fn note_wait(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    pub(super) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Notes what an agent waits for. Returns whether there was room.
    pub(super) fn note_interrupt(&self, interrupt: Vec<u8>) -> bool {
        let mut interrupts = lock(&self.interrupts);
        let has_room = interrupts.len() < MAX_INTERRUPTS;
        if has_room {
            interrupts.push(interrupt);
        }
        has_room
    }

    pub(super) fn take_interrupts(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut lock(&self.interrupts))
    }

    /// Returns the outcomes of all agents, as a JSON object.
    pub(super) fn outcomes(&self) -> Vec<u8> {
        let outcomes = lock(&self.outcomes);
        let mut object = b"{".to_vec();
        for (index, (name, outcome)) in self.names.iter().zip(outcomes.iter()).enumerate() {
            let comma: &[u8] = if index == 0 { b"" } else { b"," };
            let outcome = outcome.unwrap_or("cancelled");
            for part in [comma, b"\"", name, b"\":\"", outcome.as_bytes(), b"\""] {
                object.extend_from_slice(part);
            }
        }
        object.push(b'}');
        object
    }

    /// Returns the names of all agents, as a JSON array.
    pub(super) fn list(&self) -> Vec<u8> {
        let quoted: Vec<Vec<u8>> = self.names.iter().map(|name| raw::quoted(name)).collect();
        [b"[".as_slice(), &quoted.join(b",".as_slice()), b"]"].concat()
    }
}

/// Whose words a translator writes: those of one agent, or those of the run as a whole.
#[derive(Debug)]
pub(super) struct Voice {
    ensemble: Arc<Ensemble>,
    /// `None`: the run.
    agent: Option<usize>,
    /// What an agent's ids begin with.
    prefix: Vec<u8>,
    /// The member of native events that names the agent, after a comma.
    member: Vec<u8>,
    /// The member of other objects that names the agent, before a comma.
    named: Vec<u8>,
    /// The member by which the AI SDK's parts say whose they are, after a comma.
    metadata: Vec<u8>,
    /// The member by which AG-UI's events say whose they are, after a comma.
    tag: Vec<u8>,
}

impl Voice {
    pub(super) fn of_agent(ensemble: &Arc<Ensemble>, agent: usize) -> Self {
        let name = ensemble.name(agent);
        Self {
            agent: Some(agent),
            prefix: [name, b":"].concat(),
            member: [b",\"agent\":[\"".as_slice(), name, b"\"]"].concat(),
            named: [b"\"agent\":\"".as_slice(), name, b"\","].concat(),
            metadata: [
                b",\"providerMetadata\":{\"weir\":{\"agent\":\"".as_slice(),
                name,
                b"\"}}",
            ]
            .concat(),
            tag: [
                b",\"subagentRunId\":\"".as_slice(),
                &ensemble.run,
                b".",
                name,
                b"\"",
            ]
            .concat(),
            ensemble: Arc::clone(ensemble),
        }
    }

    pub(super) fn of_run(ensemble: &Arc<Ensemble>) -> Self {
        Self {
            ensemble: Arc::clone(ensemble),
            agent: None,
            prefix: Vec::new(),
            member: Vec::new(),
            named: Vec::new(),
            metadata: Vec::new(),
            tag: Vec::new(),
        }
    }

    pub(super) const fn ensemble(&self) -> &Arc<Ensemble> {
        &self.ensemble
    }

    /// Returns the number of the agent; `None` for the run.
    pub(super) const fn agent(&self) -> Option<usize> {
        self.agent
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(super) fn name(&self) -> &[u8] {
        self.agent
            .map_or(b"".as_slice(), |agent| self.ensemble.name(agent))
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.ensemble.seq.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What a voice adds to the events of a stream; nothing where there is only one. Most streams have one
/// agent, so there is room only for a pointer.
#[derive(Debug, Default)]
pub(super) struct Voiced(pub(super) Option<Arc<Voice>>);

impl Voiced {
    fn part(&self, of: impl Fn(&Voice) -> &[u8]) -> &[u8] {
        self.0.as_deref().map_or(b"".as_slice(), of)
    }

    pub(super) fn prefix(&self) -> &[u8] {
        self.part(|voice| &voice.prefix)
    }

    pub(super) fn member(&self) -> &[u8] {
        self.part(|voice| &voice.member)
    }

    pub(super) fn named(&self) -> &[u8] {
        self.part(|voice| &voice.named)
    }

    pub(super) fn metadata(&self) -> &[u8] {
        self.part(|voice| &voice.metadata)
    }

    pub(super) fn tag(&self) -> &[u8] {
        self.part(|voice| &voice.tag)
    }

    /// Returns the voice of an agent, if it is one of several.
    pub(super) fn agent(&self) -> Option<&Arc<Voice>> {
        self.0.as_ref().filter(|voice| voice.agent.is_some())
    }

    /// Returns the voice of the run, if it has several agents.
    pub(super) fn run(&self) -> Option<&Arc<Voice>> {
        self.0.as_ref().filter(|voice| voice.agent.is_none())
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_without_an_outcome_was_cancelled_and_the_first_outcome_counts() {
        let ensemble = Ensemble::new("r", "t", &["a", "b", "c"]);
        ensemble.note_outcome(0, "finished");
        ensemble.note_outcome(1, "truncated");
        ensemble.note_outcome(1, "finished");
        ensemble.note_outcome(9, "finished");
        let outcomes = String::from_utf8(ensemble.outcomes()).unwrap();
        assert_eq!(
            outcomes,
            r#"{"a":"finished","b":"truncated","c":"cancelled"}"#
        );
        assert_eq!(ensemble.list(), br#"["a","b","c"]"#);
    }

    #[test]
    fn interrupts_are_bounded_and_taken_once() {
        let ensemble = Ensemble::new("r", "t", &["a"]);
        for _ in 0..MAX_INTERRUPTS {
            assert!(ensemble.note_interrupt(b"{}".to_vec()));
        }
        assert!(!ensemble.note_interrupt(b"{}".to_vec()));
        assert_eq!(ensemble.take_interrupts().len(), MAX_INTERRUPTS);
        assert!(ensemble.take_interrupts().is_empty());
    }
}
