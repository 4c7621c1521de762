//! Strands Agents: the events of `stream_async` as unnamed JSON blocks, as AgentCore's runtime and applications send
//! them; and Bedrock's Converse events, which they contain.
//!
//! Read from strands-agents/sdk-python (`types/_events.py`, `types/streaming.py`, `event_loop/streaming.py`) and
//! aws/bedrock-agentcore-sdk-python (`runtime/app.py`). The SDK has no server of its own: its A2A server speaks A2A,
//! its AG-UI adapter AG-UI. An application sends all events or picks some. Each piece of a model's output comes twice:
//! as the model's event (`event`), and as the agent's (`data`, `reasoningText`), which repeats it in `delta`.

use std::ops::Range;

use super::Dialect;
use super::beside::{Beside, Seen};
use super::first_frame::FirstFrame;
use super::object::Object;
use super::reader::{self, Reader};
use super::spec::{
    self, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, Sign,
};
use super::text;
use crate::event::{Class, Content, Event, Keep, Side, Terminal, TextsOver, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "strands",
    match_first_frame,
    parser: |_| Box::<State>::default(),
    hide: HideFacts::CLOSES_TEXTS,
    gen_ai: GenAi::AGENT,
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream, as AgentCore's runtime writes it.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let error = Object::new()
        .text("error", failure.message)
        .text("error_type", failure.code)
        .text("message", failure.message);
    spec::block(framing, "", &error.end())
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let is_true = |key| first.raw(key) == b"true";
    let is_own = is_true("init_event_loop")
        || is_true("start_event_loop")
        || (is_true("start") && first.len() == 1)
        || (first.raw("data").starts_with(b"\"") && first.has_object("delta"))
        || (is_true("reasoning") && first.has_object("delta"))
        || (first.has_object("event") && first.len() == 1)
        // A graph or a swarm of agents.
        || first.word("type").starts_with(b"multiagent_")
        || first.has_object("messageStart")
        || first.has_object("contentBlockDelta");
    Sign::Certain.when(first.name().is_empty() && is_own && first.is_understood(Dialect::Strands))
}

/// Reports whether the payload is a Python value written as text, which AgentCore sends for what is not JSON.
pub(super) fn is_python(data: &[u8]) -> bool {
    data.starts_with(b"\"{'")
}

/// The state that is kept between events.
#[derive(Debug, Default)]
struct State {
    /// How many messages ended. Each states the token counts of one model call.
    messages: u64,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        if !frame.name().is_empty() {
            return None;
        }
        if is_python(frame.data()) {
            return Some(of(Class::State, Content::Other));
        }
        let event = Fields::read(frame.data())?.event(frame, seen)?;
        let usage = event.usage.map(|usage| Usage {
            call: self.messages,
            ..usage
        });
        self.messages += u64::from(usage.is_some());
        Some(Event { usage, ..event })
    }
}

const fn of(class: Class, content: Content) -> Event {
    Event {
        content,
        ..Event::bare(class)
    }
}

/// What a member says that an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Meaning {
    #[default]
    Unknown,
    /// The agent's own progress.
    State,
    Starts,
    Structure,
    /// A content begins.
    Opens,
    Delta,
    /// A signature or a redacted part of a thought.
    Thought,
    /// The agent's text, beside a delta that repeats it.
    Data,
    Tool,
    Usage,
    /// The model stopped to call a tool.
    Pauses,
    Ends,
    Error,
}

/// The contents of one event.
#[derive(Debug, Default)]
struct Fields<'a> {
    meaning: Meaning,
    kind: &'a [u8],
    node: &'a [u8],
    index: u64,
    content: Content,
    text: Option<Range<usize>>,
    /// The agent's own text.
    own: Option<(Content, Range<usize>)>,
    usage: Option<Usage>,
    /// What must be equal before two events are merged.
    beside: Beside,
    /// How many members say what the event is.
    meanings: usize,
    /// How many texts the delta has.
    texts: usize,
    /// Whether it is an event of the agent itself, not of its model.
    is_own: bool,
    /// Whether a delta repeats the agent's own text.
    repeats: bool,
}

impl<'a> Fields<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| match key {
            // An agent's event within that of a node of a graph or swarm.
            b"event" => {
                fields.beside.tag(1);
                reader.object(|reader, key| match key {
                    b"event" => {
                        fields.beside.tag(2);
                        reader.object(|reader, key| fields.member(reader, key))?;
                        Some(())
                    }
                    _ => fields.member(reader, key),
                })?;
                Some(())
            }
            b"type" => {
                fields.kind = fields.beside.word(reader, key)?;
                Some(())
            }
            b"node_id" => {
                fields.node = fields.beside.word(reader, key)?;
                Some(())
            }
            _ => fields.member(reader, key),
        })?;
        reader.end()?;
        is_object.then_some(fields)
    }

    fn member(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        let meaning = match key {
            b"data" | b"reasoningText" if reader.kind()? == Kind::String => {
                let content = if key == b"data" {
                    Content::Token
                } else {
                    Content::Reasoning
                };
                self.own = Some((content, reader.string()?.unwrap_or_default()));
                Meaning::Data
            }
            b"reasoning" if reader.truthy()? => {
                self.beside.tag(text::key(key));
                Meaning::Thought
            }
            b"init_event_loop" | b"start" | b"start_event_loop" | b"messageStart" => {
                reader.skip()?;
                self.is_own = key != b"messageStart";
                Meaning::Starts
            }
            b"contentBlockStart" => {
                let mut meaning = Meaning::Opens;
                reader.object(|reader, key| {
                    match key {
                        b"contentBlockIndex" => self.index = reader.number()?,
                        b"start" => {
                            reader.object(|reader, key| {
                                if key == b"toolUse" {
                                    meaning = Meaning::Tool;
                                }
                                reader.skip()
                            })?;
                        }
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
                meaning
            }
            b"contentBlockDelta" => {
                reader.object(|reader, key| match key {
                    b"contentBlockIndex" => {
                        self.index = self.beside.number(reader, key)?;
                        Some(())
                    }
                    b"delta" => {
                        reader.object(|reader, key| self.delta(reader, key))?;
                        Some(())
                    }
                    _ => self.other(reader, key),
                })?;
                Meaning::Delta
            }
            b"contentBlockStop" => {
                reader.object(|reader, key| {
                    match key {
                        b"contentBlockIndex" => self.index = reader.number()?,
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
                Meaning::Structure
            }
            b"messageStop" => {
                let mut reason: &[u8] = b"";
                reader.object(|reader, key| {
                    match key {
                        b"stopReason" => reason = reader.word()?,
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
                if reason == b"tool_use" {
                    Meaning::Pauses
                } else {
                    Meaning::Ends
                }
            }
            b"metadata" => {
                reader.object(|reader, key| {
                    match key {
                        b"usage" => self.usage = reader.usage()?,
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
                Meaning::Usage
            }
            b"result" => {
                reader.skip()?;
                Meaning::Ends
            }
            b"tool_result" | b"tool_stream_event" | b"current_tool_use" | b"tool_cancel_event" => {
                reader.skip()?;
                self.is_own = true;
                Meaning::Tool
            }
            b"message" if reader.kind()? != Kind::Object => return self.other(reader, key),
            // The whole message: what is written next is another one.
            b"message" => {
                reader.skip()?;
                self.is_own = true;
                Meaning::State
            }
            b"delta" => {
                let raw = reader.raw()?;
                self.repeats |= reader::says_something(raw);
                self.beside.add(key, raw);
                return Some(());
            }
            b"redactContent"
            | b"citation"
            | b"structured_output"
            | b"event_loop_throttled_delay"
            | b"tool_interrupt_event" => {
                reader.skip()?;
                Meaning::State
            }
            b"error" | b"force_stop" if reader.truthy()? => Meaning::Error,
            key if key.ends_with(b"Exception") => {
                reader.skip()?;
                Meaning::Error
            }
            b"reasoning" | b"error" | b"force_stop" => return Some(()),
            _ => return self.other(reader, key),
        };
        self.meaning = self.meaning.max(meaning);
        // That a text is a thought is no other meaning.
        self.meanings += usize::from(meaning != Meaning::Thought);
        Some(())
    }

    fn delta(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"text" if reader.kind()? == Kind::String => {
                self.content = Content::Token;
                self.text = reader.string()?;
                self.texts += 1;
            }
            b"reasoningContent" | b"toolUse" => {
                self.content = if key == b"toolUse" {
                    Content::Tool
                } else {
                    Content::Reasoning
                };
                reader.object(|reader, key| match key {
                    b"text" | b"input" if reader.kind()? == Kind::String => {
                        self.text = reader.string()?;
                        self.texts += 1;
                        self.beside.tag(text::key(key));
                        Some(())
                    }
                    _ => self.other(reader, key),
                })?;
            }
            _ => self.other(reader, key)?,
        }
        Some(())
    }

    fn other(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        self.beside.add(key, reader.raw()?);
        Some(())
    }

    fn event(self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let lane = if self.is_own {
            self.own_lane()
        } else {
            text::key((self.node, self.index))
        };
        let state = of(Class::State, Content::Other);
        // The end of a node is not the end of the graph.
        let is_inner = !self.node.is_empty();
        let event = match self.meaning {
            _ if self.kind == b"multiagent_result" => {
                Event::bare(Class::Finish).ending(Terminal::MayEnd)
            }
            Meaning::Unknown
                if matches!(self.kind, b"multiagent_node_start" | b"multiagent_handoff") =>
            {
                state.ending(Terminal::Reopens)
            }
            Meaning::Unknown if self.kind.starts_with(b"multiagent_") => state,
            Meaning::Unknown => return None,
            Meaning::State if self.is_own => state.with_texts_over(TextsOver::InLane),
            Meaning::State => state,
            Meaning::Starts => Event::bare(Class::Structure)
                .ending(Terminal::Reopens)
                .with_texts_over(TextsOver::InLane),
            Meaning::Structure | Meaning::Pauses => Event::bare(Class::Structure),
            Meaning::Opens => Event::bare(Class::Structure).ending(Terminal::Reopens),
            Meaning::Delta => return Some(self.piece(frame, seen).in_lane(lane)),
            Meaning::Data => return Some(self.own_text(frame, seen)),
            Meaning::Thought => Event::bare(Class::Structure).on(Side::Reasoning),
            Meaning::Tool if self.is_own => {
                of(Class::Tool, Content::Tool).with_texts_over(TextsOver::InLane)
            }
            Meaning::Tool => of(Class::Tool, Content::Tool),
            Meaning::Usage => Event {
                usage: self.usage,
                ..Event::bare(Class::Usage)
            },
            Meaning::Ends if is_inner => state,
            Meaning::Ends => Event::bare(Class::Finish).ending(Terminal::MayEnd),
            Meaning::Error => Event::bare(Class::Error).ending(Terminal::MayFail),
        };
        Some(event.in_lane(lane))
    }

    /// Returns the event of a piece of the model's output.
    fn piece(self, frame: &Frame<'_>, seen: &mut Seen) -> Event {
        let class = match self.content {
            Content::Token => Class::Token,
            Content::Reasoning => Class::Reasoning,
            Content::Tool => Class::Tool,
            Content::None | Content::Other => return of(Class::State, Content::Other),
        };
        let Some(range) = self.text else {
            // A signature, or a redacted part.
            let side = match self.content {
                Content::Reasoning => Side::Reasoning,
                _ => Side::Answer,
            };
            return Event::bare(Class::Structure).on(side);
        };
        let event = text::event(frame, class, self.content, range);
        let beside = seen.key(&self.beside);
        if self.meanings > 1 || self.texts > 1 {
            return event;
        }
        let ids = (self.kind, self.node, self.index);
        text::joining(event, Keep::First, text::key((class, ids, beside)))
    }

    /// Identifies the agent's own text.
    fn own_lane(&self) -> u64 {
        text::key((self.node, "data"))
    }

    /// Returns the event of the agent's own text. With a `delta` that repeats it, it is not merged: the delta would not
    /// repeat all of it any more.
    fn own_text(self, frame: &Frame<'_>, seen: &mut Seen) -> Event {
        let lane = self.own_lane();
        let (content, range) = self.own.unwrap_or_default();
        let class = match content {
            Content::Reasoning => Class::Reasoning,
            _ => Class::Token,
        };
        let event = text::event(frame, class, content, range).in_lane(lane);
        if self.repeats || self.meanings > 1 {
            seen.note_need(&self.beside);
            return event;
        }
        let beside = seen.key(&self.beside);
        let key = text::key((class, "data", self.kind, self.node, beside));
        text::joining(event, Keep::First, key)
    }
}
