//! LibreChat's chat stream: `event: message` blocks, each an object with `created`, `event` and `data`, `sync` or
//! `final`.
//!
//! Read from danny-avila/LibreChat (`packages/api`, `client/src/hooks/SSE`) and danny-avila/agents (`GraphEvents`). The
//! graph's own events begin with `on_` like LangChain's, but have other names.

use std::ops::Range;

use super::Dialect;
use super::beside::{Beside, Seen};
use super::first_frame::FirstFrame;
use super::object::Object;
use super::reader::Reader;
use super::request::RequestHead;
use super::spec::{self, DialectSpec, ErrorContext, Failure, GenAi, PLAIN, Parser, Sign};
use super::text;
use crate::event::{Class, Content, Event, Keep, Side, Terminal, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "librechat",
    match_head,
    match_first_frame,
    parser: |_| Box::new(State),
    gen_ai: GenAi::AGENT,
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream. Its client shows `text`, or `error` where it resumes.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let error = Object::new()
        .text("error", failure.message)
        .text("text", failure.message)
        .text("message", failure.message)
        .text("code", failure.code);
    spec::block(framing, "error", &error.end())
}

/// Matches `/api/agents/chat/stream/S`.
fn match_head(head: &RequestHead<'_>) -> Sign {
    let mut parts = head.parts();
    let has_id = parts.next().is_some_and(|id| !id.is_empty());
    let is_chat = ["stream", "chat", "agents"]
        .into_iter()
        .all(|part| parts.next() == Some(part));
    Sign::Certain.when(has_id && is_chat)
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let is_named = matches!(first.name(), b"" | b"message");
    let begins = (first.raw("created") == b"true" && first.has_object("message"))
        || (first.raw("sync") == b"true" && first.has_object("resumeState"))
        || (first.raw("final") == b"true" && first.is_understood(Dialect::LibreChat))
        || is_event(first.word("event"));
    Sign::Certain.when(is_named && begins)
}

/// Reports whether this is an event of LibreChat's graph.
pub(super) fn is_event(word: &[u8]) -> bool {
    matches!(
        word,
        b"on_run_step"
            | b"on_run_step_delta"
            | b"on_run_step_completed"
            | b"on_run_step_closed"
            | b"on_message_delta"
            | b"on_reasoning_delta"
            | b"on_agent_update"
            | b"on_summarize_start"
            | b"on_summarize_delta"
            | b"on_summarize_complete"
            | b"on_subagent_update"
            | b"on_context_usage"
            | b"on_token_usage"
    )
}

#[derive(Debug)]
struct State;

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        match frame.name() {
            b"" | b"message" => Fields::read(frame.data())?.event(frame, seen),
            b"error" => Some(Event::bare(Class::Error).ending(Terminal::Error)),
            // A file, or a source that a tool found.
            b"attachment" => Some(of(Class::State, Content::Other)),
            _ => None,
        }
    }
}

const fn of(class: Class, content: Content) -> Event {
    Event {
        content,
        ..Event::bare(class)
    }
}

/// The contents of one object.
#[derive(Debug, Default)]
struct Fields<'a> {
    event: &'a [u8],
    created: bool,
    sync: bool,
    is_final: bool,
    /// The id of the step that a delta belongs to.
    step: &'a [u8],
    /// `message_creation` or `tool_calls`.
    kind: &'a [u8],
    /// Which content a step announces.
    announces: &'a [u8],
    content: Content,
    text: Option<Range<usize>>,
    texts: usize,
    arguments: Option<Range<usize>>,
    /// How many parts or calls there are.
    parts: usize,
    usage: Usage,
    run: &'a [u8],
    sequence: &'a [u8],
    /// What must be equal before two deltas are merged.
    beside: Beside,
    /// Whether there is something that a merge would lose.
    crowded: bool,
}

impl<'a> Fields<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"event" => fields.event = reader.word()?,
                b"created" => fields.created = reader.truthy()?,
                b"sync" => fields.sync = reader.truthy()?,
                b"final" => fields.is_final = reader.truthy()?,
                b"data" => {
                    reader.object(|reader, key| fields.member(reader, key))?;
                }
                _ => fields.other(reader, key)?,
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(fields)
    }

    fn member(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"id" => self.step = self.beside.word(reader, key)?,
            b"runId" => {
                let raw = reader.raw()?;
                self.run = Reader::new(raw).word()?;
                self.beside.same(key, raw);
            }
            b"seq" => self.sequence = reader.raw()?,
            b"stepDetails" => {
                self.crowded |= reader.clone().says_something()?;
                reader.object(|reader, key| {
                    match key {
                        b"type" => self.kind = reader.word()?,
                        b"message_creation" => {
                            reader.object(|reader, key| {
                                match key {
                                    b"content_type" => self.announces = reader.word()?,
                                    _ => reader.skip()?,
                                }
                                Some(())
                            })?;
                        }
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
            }
            b"delta" => {
                reader.object(|reader, key| self.delta(reader, key))?;
            }
            _ => {
                let mut at = reader.clone();
                if self.usage.member(reader, key)? {
                    self.crowded = true;
                } else {
                    self.other(&mut at, key)?;
                }
            }
        }
        Some(())
    }

    fn delta(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"type" => self.kind = self.beside.word(reader, key)?,
            b"content" if reader.kind()? == Kind::String => {
                self.parts += 1;
                self.beside.tag(text::key(key));
                self.text(reader, Content::Token)?;
            }
            b"content" => self.parts += reader.array(|reader, _| self.part(reader))?,
            b"tool_calls" => {
                self.parts += reader.array(|reader, _| {
                    reader.object(|reader, key| {
                        match key {
                            b"args" if reader.kind()? == Kind::String => {
                                self.arguments = reader.string()?;
                            }
                            _ => self.other(reader, key)?,
                        }
                        Some(())
                    })?;
                    Some(())
                })?;
            }
            _ => self.other(reader, key)?,
        }
        Some(())
    }

    fn part(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        reader.object(|reader, key| match key {
            b"text" if reader.kind()? == Kind::String => self.text(reader, Content::Token),
            b"think" | b"thinking" | b"reasoning" if reader.kind()? == Kind::String => {
                self.beside.tag(text::key(key));
                self.text(reader, Content::Reasoning)
            }
            _ => self.other(reader, key),
        })?;
        Some(())
    }

    fn text(&mut self, reader: &mut Reader<'a>, content: Content) -> Option<()> {
        let range = reader.string()?.unwrap_or_default();
        if !range.is_empty() {
            self.texts += 1;
            self.content = text::more_telling(self.content, content);
        }
        self.text = Some(range);
        Some(())
    }

    fn other(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        self.beside.add(key, reader.raw()?);
        Some(())
    }

    fn event(self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        if self.is_final {
            // The server closes the response after it. It repeats the whole answer.
            return Some(Event::bare(Class::Finish).ending(Terminal::Done));
        }
        if self.created {
            return Some(Event::bare(Class::Structure));
        }
        if self.sync && self.event.is_empty() {
            return Some(of(Class::State, Content::Other));
        }
        let lane = text::key(self.step);
        Some(
            match self.event {
                b"on_message_delta" => {
                    let content = self.content;
                    self.delta_event(frame, seen, content)
                }
                b"on_reasoning_delta" => {
                    let content = match self.content {
                        Content::None => Content::None,
                        _ => Content::Reasoning,
                    };
                    self.delta_event(frame, seen, content)
                }
                b"on_run_step_delta" if self.kind == b"tool_calls" => self.call_event(frame, seen),
                b"on_run_step" if self.kind == b"tool_calls" => of(Class::Tool, Content::Tool),
                b"on_run_step_completed" => of(Class::Tool, Content::Tool),
                b"on_run_step" if self.announces == b"think" => {
                    Event::bare(Class::Structure).on(Side::Reasoning)
                }
                b"on_run_step" | b"on_run_step_closed" => Event::bare(Class::Structure),
                b"on_token_usage" => Event {
                    usage: Some(Usage {
                        call: text::key((self.run, self.sequence)),
                        ..self.usage
                    }),
                    ..Event::bare(Class::Usage)
                },
                // What they carry may repeat what the model wrote.
                word if is_event(word) || word.starts_with(b"on_") => {
                    of(Class::State, Content::Other).on(Side::Data)
                }
                b"attachment" | b"title" => of(Class::State, Content::Other).on(Side::Data),
                _ => return None,
            }
            .in_lane(lane),
        )
    }

    /// Returns the event of a delta of a message or a thought.
    fn delta_event(self, frame: &Frame<'_>, seen: &mut Seen, content: Content) -> Event {
        let class = match content {
            Content::Token => Class::Token,
            Content::Reasoning => Class::Reasoning,
            Content::None | Content::Other | Content::Tool => Class::Structure,
        };
        let Some(range) = self.text.filter(|_| self.texts == 1) else {
            return of(class, content);
        };
        let event = text::event(frame, class, content, range);
        let beside = seen.key(&self.beside);
        if self.parts != 1 || self.crowded || self.arguments.is_some() {
            return event;
        }
        let kind = (self.kind, self.content as u8);
        let key = text::key((self.event, self.step, kind, beside));
        text::joining(event, Keep::First, key)
    }

    /// Returns the event of a piece of a tool call.
    fn call_event(self, frame: &Frame<'_>, seen: &mut Seen) -> Event {
        let Some(range) = self.arguments.filter(|_| self.parts == 1) else {
            return of(Class::Tool, Content::Tool);
        };
        let event = text::event(frame, Class::Tool, Content::Tool, range);
        let beside = seen.key(&self.beside);
        if self.crowded || self.text.is_some() {
            return event;
        }
        let key = text::key((self.event, self.step, self.kind, beside));
        text::joining(event, Keep::First, key)
    }
}
