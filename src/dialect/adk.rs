//! Google ADK `/run_sse`: one agent event per block, without event names or a terminal event.
//!
//! Members are named in camel case, as ADK's own server writes them, or in snake case, as its events name them in
//! Python.
//!
//! Partial events carry the text; then one without `partial` repeats all of it. The stream may end
//! after an event that ADK itself considers a final response: one that is not partial and has
//! neither a tool call nor the result of one, or one with a long-running call. A result that escalates
//! ends its agent, and with it possibly the run. An event that only changes the state, or says that an agent begins or
//! ends, is no response, although it passes that rule.

use super::beside::{Beside, Seen};
use super::object::Object;
use super::parts::{self, Parts};
use super::reader::{self, Reader};
use super::spec::{
    self, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, Sign,
};
use super::text;
use crate::event::{Class, Content, Event, Keep, Terminal, TextsOver, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "adk",
    match_head: |head| Sign::Certain.when(head.ends_with("/run_sse")),
    match_first_frame: |first| {
        let has_run = first.has("invocationId") || first.has("invocation_id");
        Sign::Certain.when(first.has("author") && has_run)
    },
    parser: |_| Box::<State>::default(),
    always_streams: true,
    hide: HideFacts {
        beside: &[b"customMetadata", b"custom_metadata"],
        ..HideFacts::MIXES_CALLS_WITH_TEXT
    },
    gen_ai: GenAi::AGENT,
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let error = Object::new().text("error", &failure.with_code());
    spec::block(framing, "", &error.end())
}

/// The most agents of one stream whose texts are told apart.
const MAX_AGENTS: usize = 64;

/// The state that is kept between events.
#[derive(Debug, Default)]
struct State {
    /// The agents whose partial events carried text since their last whole event. Their next whole event
    /// then only repeats it.
    streamed: Vec<u64>,
    /// Whether the last event that was more than the action of an agent was a final one.
    over: bool,
    /// The number of whole events so far. Each ends one model call, whose token counts it and its
    /// partial events state.
    wholes: u64,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        // The server formats its errors by hand: a quote in the message makes them invalid JSON.
        let Some(step) = Step::read(frame.data()) else {
            let is_error = frame.data().starts_with(b"{\"error\"");
            return is_error.then(|| Event::bare(Class::Error).ending(Terminal::MayFail));
        };
        if step.failed {
            return Some(Event::bare(Class::Error).ending(Terminal::MayFail));
        }
        step.is_known.then(|| self.event(frame, seen, &step))
    }
}

impl State {
    fn event(&mut self, frame: &Frame<'_>, seen: &mut Seen, step: &Step) -> Event {
        let parts = &step.parts;
        seen.note_need(&step.beside);
        let usage = step.usage.map(|usage| Usage {
            call: self.wholes,
            ..usage
        });
        self.wholes += u64::from(!step.partial);
        let class = if parts.strange {
            Class::Opaque
        } else if parts.tool {
            Class::Tool
        } else if parts.sealed || !step.partial {
            Class::Structure
        } else {
            match parts.content {
                _ if usage.is_some() => Class::Usage,
                Content::Token => Class::Token,
                Content::Reasoning => Class::Reasoning,
                Content::None | Content::Other | Content::Tool => Class::Structure,
            }
        };
        let known = self
            .streamed
            .iter()
            .position(|author| *author == step.author);
        let repeats = !step.partial && known.is_some() && !parts.tool;
        let begins = step.partial && known.is_none() && parts.only_text().is_some();
        if let Some(at) = known.filter(|_| !step.partial) {
            self.streamed.swap_remove(at);
        } else if begins && self.streamed.len() < MAX_AGENTS {
            self.streamed.push(step.author);
        }
        // This is the rule of ADK itself.
        let is_final = step.runs_on || !(step.partial || parts.calls || parts.ends_with_result);
        let event = Event {
            content: if repeats {
                Content::None
            } else {
                parts.content
            },
            usage,
            terminal: self.end(step, is_final),
            // Agents that run in parallel write one text each, and a whole event ends a call of the model.
            lane: step.author,
            texts_over: if step.partial {
                TextsOver::None
            } else {
                TextsOver::InLane
            },
            ..Event::bare(class)
        };
        let Some(range) = parts.only_text().filter(|_| !repeats) else {
            return event;
        };
        let event = Event {
            text: frame.in_block(range),
            ..event
        };
        let joins = matches!(class, Class::Reasoning | Class::Token | Class::Usage);
        if !joins || parts.count != 1 || event.terminal.is_some() {
            return event;
        }
        let is_thought = parts.content == Content::Reasoning;
        let beside = seen.key(&step.beside);
        let key = text::key((is_thought, event.usage.is_some(), step.author, beside));
        text::joining(event, Keep::Last, key)
    }

    /// Returns what an event means for the end of the stream; `is_final`: by the rule of ADK. An event without content
    /// is final by that rule, although most are notes of an agent, before its first word or after its last one.
    const fn end(&mut self, step: &Step, is_final: bool) -> Option<Terminal> {
        if !step.only_acts() {
            self.over = is_final;
            return if is_final {
                Some(Terminal::MayEnd)
            } else {
                None
            };
        }
        if step.begins {
            self.over = false;
            return Some(Terminal::Reopens);
        }
        if self.over {
            None
        } else {
            Some(Terminal::MayEndWithInput)
        }
    }
}

/// The contents of one event.
#[derive(Debug, Default)]
struct Step {
    /// Whether there is an `error` or `errorCode`.
    failed: bool,
    is_known: bool,
    partial: bool,
    parts: Parts,
    usage: Option<Usage>,
    /// Whether the event has a long-running tool call, a result that the model is not to summarise, or one that
    /// ends its agent (`escalate`).
    runs_on: bool,
    /// Whether the event says why the model stopped.
    stops: bool,
    /// Whether there is an action: a change of the state, an agent that begins or ends, ...
    acts: bool,
    /// Whether an agent of a workflow begins or goes on, which its state shows.
    begins: bool,
    /// A hash of the agent that speaks, and of its branch and its run.
    author: u64,
    /// What must be equal before two events are merged.
    beside: Beside,
}

impl Step {
    fn read(data: &[u8]) -> Option<Self> {
        let mut step = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"error" | b"errorCode" | b"error_code" => step.failed |= reader.truthy()?,
                b"author" => {
                    step.is_known = true;
                    step.spoken_by(reader, key)?;
                }
                b"branch" | b"invocationId" | b"invocation_id" => step.spoken_by(reader, key)?,
                b"partial" => step.partial = reader.truthy()?,
                b"longRunningToolIds" | b"long_running_tool_ids" => {
                    step.runs_on |= reader.says_something()?;
                }
                b"actions" => {
                    let raw = reader.raw()?;
                    step.beside.same(key, raw);
                    Reader::new(raw).object(|reader, key| {
                        match key {
                            // The agent that called the tool is done with it.
                            b"skipSummarization" | b"skip_summarization" | b"escalate" => {
                                step.runs_on |= reader.truthy()?;
                            }
                            _ => {
                                let raw = reader.raw()?;
                                let says = reader::says_something(raw);
                                step.acts |= says;
                                step.begins |=
                                    says && matches!(key, b"agentState" | b"agent_state");
                                step.beside.needs(key, raw);
                            }
                        }
                        Some(())
                    })?;
                }
                b"finishReason" | b"finish_reason" | b"turnComplete" | b"turn_complete" => {
                    let raw = reader.raw()?;
                    step.stops |= reader::says_something(raw);
                    step.beside.add(key, raw);
                }
                b"usageMetadata" | b"usage_metadata" if reader.kind()? == Kind::Object => {
                    step.usage = parts::usage(reader)?;
                }
                // These differ in every event.
                b"id" | b"timestamp" => reader.skip()?,
                b"content" => {
                    reader.object(|reader, key| match key {
                        b"parts" => step.parts.read(reader),
                        _ => {
                            step.beside.add(key, reader.raw()?);
                            Some(())
                        }
                    })?;
                }
                _ => step.beside.add(key, reader.raw()?),
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(step)
    }

    /// Reports whether the event is an action and nothing else.
    const fn only_acts(&self) -> bool {
        let says_more = self.partial || self.runs_on || self.stops || self.parts.count > 0;
        self.acts && !says_more
    }

    /// Notes a member that says who speaks. The sum does not depend on the members' order.
    fn spoken_by(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        let author = text::key((key, reader.raw()?));
        self.author = self.author.wrapping_add(author);
        Some(())
    }
}
