//! Mastra's agent, network and workflow streams: unnamed blocks, each a chunk with `type`, `runId`, `from` and
//! `payload`, then `[DONE]`.
//!
//! Read from `@mastra/core` (`stream/types`), `@mastra/hono` and `@mastra/client-js` of the repository
//! mastra-ai/mastra. The client splits the body at empty lines and ignores every piece that does not begin with
//! `data: `, so a comment must be a block of its own.

mod chunk;

use super::Dialect;
use super::beside::Seen;
use super::first_frame::FirstFrame;
use super::object::Object;
use super::request::RequestHead;
use super::spec::{
    self, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, Sign,
};
use super::text;
use crate::event::{Class, Event, Terminal, Usage};
use crate::wire::{Frame, Framing};
use chunk::Chunk;

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "mastra",
    match_head,
    match_first_frame,
    parser: |_| Box::<State>::default(),
    comments: false,
    heartbeat: |framing| match framing {
        // With the empty line: the client would take the next event for the rest of the comment.
        Framing::Sse => Some(b":\n\n"),
        _ => spec::comment(framing),
    },
    always_streams: true,
    status: Some(|words| {
        let data = Object::new().text("text", words);
        let part = Object::new()
            .text("type", "data-status")
            .raw("data", &data.end())
            .raw("transient", "true");
        format!("data: {}\n\n", part.end())
    }),
    hide: HideFacts {
        wraps: &[b"data", b"payload"],
        ..HideFacts::CLOSES_TEXTS
    },
    gen_ai: GenAi::AGENT,
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream, and the sentinel.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let error = Object::new()
        .text("message", failure.message)
        .text("name", "Error")
        .text("code", failure.code);
    let payload = Object::new().raw("error", &error.end());
    let chunk = Object::new()
        .text("type", "error")
        .text("runId", "")
        .text("from", "SYSTEM")
        .raw("payload", &payload.end());
    let block = spec::block(framing, "", &chunk.end())?;
    Some(block + "data: [DONE]\n\n")
}

/// Matches `/api/agents/A/stream`, `.../network`, and their variants.
fn match_head(head: &RequestHead<'_>) -> Sign {
    let mut parts = head.parts();
    let is_stream = matches!(
        parts.next(),
        Some(
            "network"
                | "resume-stream"
                | "resume-stream-until-idle"
                | "stream"
                | "stream-until-idle"
        )
    );
    let has_agent = parts.next().is_some_and(|id| !id.is_empty());
    let is_agent = parts.next() == Some("agents") && parts.next() == Some("api");
    Sign::Likely.when(is_stream && has_agent && is_agent)
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let is_chunk = matches!(
        first.word("from"),
        b"AGENT" | b"NETWORK" | b"SYSTEM" | b"USER" | b"WORKFLOW"
    ) && first.has("runId");
    Sign::Certain.when(is_chunk && first.is_understood(Dialect::Mastra))
}

/// The state that is kept between chunks.
#[derive(Debug, Default)]
struct State {
    /// Whether the upstream sent an error. The stream then counts as failed, whatever follows.
    failed: bool,
    /// Whether a workflow runs: the end of an agent is not its end.
    in_workflow: bool,
    /// A hash of the id of the run that `total` counts.
    run: u64,
    /// What the steps of the run have used so far.
    total: Usage,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        if frame.data().starts_with(b"[DONE]") {
            let terminal = if self.failed {
                Terminal::Error
            } else {
                Terminal::Done
            };
            return Some(Event::bare(Class::Done).ending(terminal));
        }
        let chunk = Chunk::read(frame.data())?;
        let event = chunk.event(frame, seen)?;
        self.failed |= event.class == Class::Error;
        match chunk.kind {
            b"workflow-start" => self.in_workflow = true,
            b"workflow-finish" | b"workflow-canceled" => self.in_workflow = false,
            _ => {}
        }
        let terminal = match event.terminal {
            Some(Terminal::MayEnd | Terminal::MayEndWithInput) if self.failed => {
                Some(Terminal::MayFail)
            }
            // The next step may be silent for longer than an agent that has ended.
            Some(Terminal::MayEnd) if self.in_workflow => Some(Terminal::MayEndWithInput),
            terminal => terminal,
        };
        let usage = self.count(&chunk);
        let class = match event.class {
            Class::Structure | Class::State if usage.is_some() => Class::Usage,
            class => class,
        };
        Some(Event {
            class,
            terminal,
            usage,
            ..event
        })
    }
}

impl State {
    /// Returns what the run has used so far, if the chunk says so. Steps add up; the end of the run repeats the sum.
    fn count(&mut self, chunk: &Chunk<'_>) -> Option<Usage> {
        type Join = fn(u64, u64) -> u64;
        let join: Join = match chunk.kind {
            b"step-finish"
            | b"routing-agent-end"
            | b"agent-execution-end"
            | b"workflow-execution-end" => u64::saturating_add,
            b"finish" | b"network-execution-event-finish" | b"workflow-finish" => u64::max,
            _ => return None,
        };
        let usage = chunk.usage?;
        let run = text::key(chunk.run);
        if self.run != run {
            self.run = run;
            self.total = Usage::default();
        }
        let joined = |old: Option<u64>, new: Option<u64>| match (old, new) {
            (Some(old), Some(new)) => Some(join(old, new)),
            (old, new) => old.or(new),
        };
        self.total = Usage {
            input: joined(self.total.input, usage.input),
            output: joined(self.total.output, usage.output),
            reasoning: joined(self.total.reasoning, usage.reasoning),
            call: 0,
        };
        Some(text::of_call(self.total, chunk.run))
    }
}
