//! The events of one agent on their way to the client.

use crate::event::{Content, Event, Step};
use crate::stream::pipeline::{Sink, is_content};

/// How much of one agent is passed on in its turn, as a number of bytes. Each event counts for at least
/// [`EVENT_BYTES`]: no event of another agent waits for more than that of each agent.
const QUANTUM: usize = 4096;
/// The least that an event counts.
const EVENT_BYTES: usize = 128;

/// Passes the events of one agent on, and tells its token counts and calls from those of others.
pub(super) struct AgentSink<'a> {
    inner: &'a mut dyn Sink,
    agent: usize,
    work: usize,
    passed: Passed,
}

/// What was passed on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passed {
    pub(super) events: usize,
    /// Any of them had content.
    pub(super) content: bool,
    /// Any of them had answer text.
    pub(super) answer: bool,
}

impl<'a> AgentSink<'a> {
    pub(super) fn new(inner: &'a mut dyn Sink, agent: usize) -> Self {
        Self {
            inner,
            agent,
            work: 0,
            passed: Passed::default(),
        }
    }

    pub(super) const fn passed(&self) -> Passed {
        self.passed
    }

    /// Returns the event with numbers that no other agent uses.
    fn own(&self, event: &Event) -> Event {
        let mut event = *event;
        let salt = (self.agent as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        if let Some(usage) = &mut event.usage {
            usage.call ^= salt;
        }
        if let Some(call) = event
            .call
            .as_mut()
            .filter(|call| call.step != Step::Several)
        {
            call.id ^= salt;
            call.group ^= u32::try_from(self.agent).unwrap_or_default() << 16;
        }
        event
    }
}

impl Sink for AgentSink<'_> {
    fn arrived(&mut self, block: &[u8], event: &Event) {
        self.work += block.len().max(EVENT_BYTES);
        self.passed.events += 1;
        self.passed.content |= is_content(event);
        self.passed.answer |= event.content == Content::Token;
        if event.usage.is_none() && event.call.is_none() {
            self.inner.arrived(block, event);
        } else {
            let event = self.own(event);
            self.inner.arrived(block, &event);
        }
    }

    fn leaves(&mut self, block: &[u8], event: &Event) {
        self.inner.leaves(block, event);
    }

    fn leaves_owned(&mut self, block: Vec<u8>, event: &Event) {
        self.inner.leaves_owned(block, event);
    }

    fn decoded(&mut self, bytes: usize) {
        self.inner.decoded(bytes);
    }

    fn has_room(&self) -> bool {
        self.work < QUANTUM && self.inner.has_room()
    }
}
