//! Google ADK `/run_sse`: one event of the agent per block, no names, no sentinel.
//!
//! Partial events carry the text; then one without `partial` repeats all of it. The stream is over after an event
//! that ADK itself takes for a final response: not partial, no call, no result of one, or a call that runs on.

use super::object::Object;
use super::parts::{self, Parts};
use super::reader::Reader;
use super::spec::{self, DialectSpec, Failure, PLAIN, Parser, Sign};
use super::text;
use crate::event::{Class, Content, Event, Keep, Terminal, Usage};
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "adk",
    match_head: |head| Sign::Certain.when(head.ends_with("/run_sse")),
    match_first_frame: |first| Sign::Certain.when(first.has("author") && first.has("invocationId")),
    parser: |_| Box::<State>::default(),
    always_streams: true,
    ..PLAIN
};

/// What must be remembered between events.
#[derive(Debug, Default)]
struct State {
    /// Text came in partial events since the last whole one, which then only repeats it.
    streamed: bool,
    /// Whole events so far: each ends the model call whose counts it and its partials state.
    wholes: u64,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>) -> Option<Event> {
        // The server formats its errors by hand: a quote in one makes them no JSON.
        let Some(step) = Step::read(frame.data()) else {
            let is_error = frame.data().starts_with(b"{\"error\"");
            return is_error.then(|| Event::bare(Class::Error).ending(Terminal::MayFail));
        };
        if step.failed {
            return Some(Event::bare(Class::Error).ending(Terminal::MayFail));
        }
        step.is_known.then(|| self.event(frame, &step))
    }

    fn failure(&self, framing: Framing, failure: &Failure<'_>) -> Option<String> {
        let error = Object::new().text("error", &failure.with_code());
        spec::block(framing, "", &error.end())
    }
}

impl State {
    fn event(&mut self, frame: &Frame<'_>, step: &Step) -> Event {
        let parts = &step.parts;
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
        let repeats = !step.partial && self.streamed && !parts.tool;
        self.streamed = step.partial && (self.streamed || parts.only_text().is_some());
        // As ADK itself says.
        let is_final = step.runs_on || !(step.partial || parts.calls || parts.ends_with_result);
        let event = Event {
            content: if repeats {
                Content::None
            } else {
                parts.content
            },
            usage,
            terminal: is_final.then_some(Terminal::MayEnd),
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
        if !joins || parts.count != 1 {
            return event;
        }
        let is_thought = parts.content == Content::Reasoning;
        let key = text::key((is_thought, event.usage.is_some(), step.rest));
        text::joining(event, Keep::Last, key)
    }
}

/// What one event carries.
#[derive(Debug, Default)]
struct Step {
    /// `error` or `errorCode`.
    failed: bool,
    is_known: bool,
    partial: bool,
    parts: Parts,
    usage: Option<Usage>,
    /// It waits for something outside, or nobody is to sum it up.
    runs_on: bool,
    /// A hash of the members that must be equal before two events are joined.
    rest: u64,
}

impl Step {
    fn read(data: &[u8]) -> Option<Self> {
        let mut step = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"error" | b"errorCode" => step.failed |= reader.truthy()?,
                b"author" => {
                    step.is_known = true;
                    step.other(reader, key)?;
                }
                b"partial" => step.partial = reader.truthy()?,
                b"longRunningToolIds" => step.runs_on |= reader.says_something()?,
                b"actions" => {
                    let at = reader.clone();
                    reader.object(|reader, key| {
                        match key {
                            b"skipSummarization" => step.runs_on |= reader.truthy()?,
                            _ => reader.skip()?,
                        }
                        Some(())
                    })?;
                    step.other(&mut at.clone(), key)?;
                }
                b"usageMetadata" => step.usage = parts::usage(reader)?,
                // Each event has its own.
                b"id" | b"timestamp" => reader.skip()?,
                b"content" => {
                    reader.object(|reader, key| match key {
                        b"parts" => step.parts.read(reader),
                        _ => step.other(reader, key),
                    })?;
                }
                _ => step.other(reader, key)?,
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(step)
    }

    fn other(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        self.rest = text::key((self.rest, key, reader.raw()?));
        Some(())
    }
}
