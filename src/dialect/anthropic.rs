//! Anthropic Messages: named events, each with an object whose `type` repeats the name.

use std::ops::Range;

use http::HeaderName;

use super::Dialect;
use super::beside::{Beside, Seen};
use super::first_frame::FirstFrame;
use super::object::Object;
use super::reader::Reader;
use super::spec::{
    self, BlockIndex, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, Refusal,
    Sign,
};
use super::text;
use crate::event::{Class, Content, Event, Keep, Side, Step, Terminal, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "anthropic",
    match_head: |head| {
        const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
        let is_named = head.ends_with("/messages") && head.has(&VERSION);
        Sign::Certain.when(head.ends_with("/v1/messages") || is_named)
    },
    match_first_frame,
    parser: |_| Box::<State>::default(),
    // Anthropic's own `ping` event, which its clients skip.
    heartbeat: |framing| match framing {
        Framing::Sse => Some(b"event: ping\ndata: {\"type\":\"ping\"}\n\n"),
        other => spec::comment(other),
    },
    refusal: Some(|refusal, _| error(status_type(refusal), &refusal.with_code())),
    streams_on_request: true,
    hide: HideFacts {
        keeps_emptied_events: true,
        block_index: Some(BlockIndex {
            member: b"index",
            opened_by: b"\"content_block_start\"",
        }),
        ..HideFacts::NONE
    },
    gen_ai: GenAi {
        provider: Some("anthropic"),
        operation: Some(|_| "chat"),
        paths: &["/messages"],
    },
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let kind = if failure.is_timeout() {
        "timeout_error"
    } else {
        "api_error"
    };
    spec::block(framing, "error", &error(kind, &failure.with_code()))
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    match first.name() {
        b"" => Sign::Certain.when(
            first.word("type") == b"message_start" && first.is_understood(Dialect::Anthropic),
        ),
        b"error" => Sign::Likely.when(first.has_object("error")),
        // Names that other dialects use as well.
        b"data" | b"end" | b"metadata" | b"ping" | b"tools" => Sign::None,
        _ => Sign::Likely.when(first.is_understood(Dialect::Anthropic)),
    }
}

/// The state that is kept between events.
#[derive(Debug, Default)]
struct State {
    /// The open blocks that are not part of the answer, by their index.
    sides: Vec<(u64, Side)>,
}

/// Maximum number of open blocks that are tracked. Blocks are open one at a time, so more than a
/// few are a server error.
const MAX_OPEN: usize = 16;

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let event = classify(frame, seen)?;
        if !event.is_in_block {
            return Some(event.event);
        }
        let index = event.event.lane;
        let known = self.sides.iter().position(|(open, _)| *open == index);
        if event.event.side != Side::Answer && known.is_none() && self.sides.len() < MAX_OPEN {
            self.sides.push((index, event.event.side));
        }
        let side = known
            .and_then(|at| self.sides.get(at))
            .map(|(_, side)| *side);
        if event.ends
            && let Some(at) = known
        {
            self.sides.remove(at);
        }
        Some(match side {
            Some(side) => event.event.on(side),
            None => event.event,
        })
    }
}

/// Returns an error object. Its `type` is from a closed set, so Weir's error code is part of the
/// message.
fn error(kind: &str, message: &str) -> String {
    let error = Object::new().text("type", kind).text("message", message);
    Object::new()
        .text("type", "error")
        .raw("error", &error.end())
        .end()
}

fn status_type(refusal: &Refusal<'_>) -> &'static str {
    match refusal.status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ if refusal.is_timeout() => "timeout_error",
        _ => "api_error",
    }
}

/// The meaning of an event without the state of its stream.
struct Read {
    event: Event,
    /// Whether it opens, fills or closes a block.
    is_in_block: bool,
    ends: bool,
}

impl From<Event> for Read {
    fn from(event: Event) -> Self {
        Self {
            event,
            is_in_block: false,
            ends: false,
        }
    }
}

fn classify(frame: &Frame<'_>, seen: &mut Seen) -> Option<Read> {
    // An error is recognised by its name alone: its data need not be JSON.
    if frame.name() == b"error" {
        return Some(Event::bare(Class::Error).ending(Terminal::Error).into());
    }
    if frame.name() == b"ping" {
        return Some(Event::bare(Class::Heartbeat).into());
    }
    let message = Message::read(frame.data())?;
    // The SDKs use the event name; some compatible servers send none.
    let name = match frame.name() {
        b"" => message.kind,
        name => name,
    };
    let usage = message.usage;
    let lane = message.index;
    let in_block = |event: Event| Read {
        event: event.in_lane(lane),
        is_in_block: true,
        ends: false,
    };
    Some(match name {
        b"message_start" => Event {
            // It states an output of about one token before there is any, so that count is ignored.
            usage: usage.map(|usage| Usage {
                output: None,
                ..usage
            }),
            ..Event::bare(Class::Structure)
        }
        .into(),
        b"content_block_start" => in_block(message.block_start()),
        b"content_block_delta" => in_block(message.delta(frame, seen)?),
        b"content_block_stop" => Read {
            ends: true,
            ..in_block(Event::bare(Class::Structure).of_call(Step::Ends, 0, lane))
        },
        b"message_delta" => Event {
            usage,
            ..Event::bare(Class::Finish)
        }
        .into(),
        b"message_stop" => Event::bare(Class::Done).ending(Terminal::Done).into(),
        b"ping" => Event::bare(Class::Heartbeat).into(),
        b"error" => Event::bare(Class::Error).ending(Terminal::Error).into(),
        _ => return None,
    })
}

/// The members that any of the events may have.
#[derive(Debug, Default)]
struct Message<'a> {
    kind: &'a [u8],
    index: u64,
    /// `type` of the delta or of the content block.
    part: &'a [u8],
    /// The member name and the range of the text in the delta or the block.
    text: Option<(&'a [u8], Range<usize>)>,
    /// How many texts there are.
    texts: usize,
    usage: Option<Usage>,
    /// What must be equal before two deltas are merged.
    beside: Beside,
    /// Whether there is something that a merge would lose.
    crowded: bool,
}

impl<'a> Message<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut message = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"type" => message.kind = message.beside.word(reader, key)?,
                b"index" => message.index = message.beside.number(reader, key)?,
                b"delta" | b"content_block" => {
                    reader.object(|reader, key| message.part(reader, key))?;
                }
                b"message" => {
                    message.crowded |= reader.clone().says_something()?;
                    reader.object(|reader, key| match key {
                        b"usage" => {
                            message.usage = reader.usage()?;
                            Some(())
                        }
                        _ => reader.skip(),
                    })?;
                }
                b"usage" => {
                    message.crowded |= reader.clone().says_something()?;
                    message.usage = reader.usage()?;
                }
                _ => message.beside.inner(key, reader.raw()?),
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(message)
    }

    fn part(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"type" => self.part = reader.word()?,
            b"text" | b"thinking" | b"partial_json" if reader.kind()? == Kind::String => {
                self.text = reader.string()?.map(|range| (key, range));
                self.texts += 1;
            }
            _ => self.beside.inner(key, reader.raw()?),
        }
        Some(())
    }

    fn block_start(&self) -> Event {
        let starts_with_text = self
            .text
            .as_ref()
            .is_some_and(|(_, range)| !range.is_empty());
        let (class, content) = match self.part {
            // Its data is encrypted, and the API expects it back unchanged.
            b"redacted_thinking" => (Class::Opaque, Content::Reasoning),
            part if part.ends_with(b"tool_use") || part.ends_with(b"tool_result") => {
                (Class::Tool, Content::Tool)
            }
            b"thinking" if starts_with_text => (Class::Structure, Content::Reasoning),
            b"text" if starts_with_text => (Class::Structure, Content::Token),
            _ => (Class::Structure, Content::None),
        };
        let side = match self.part {
            b"redacted_thinking" | b"thinking" => Side::Reasoning,
            _ if class == Class::Tool => Side::Tool,
            _ => Side::Answer,
        };
        let event = Event {
            content,
            ..Event::bare(class)
        }
        .on(side);
        if self.part.ends_with(b"tool_use") {
            event.of_call(Step::Begins, 0, self.index)
        } else {
            event
        }
    }

    fn delta(self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let (field, class, content): (&[u8], _, _) = match self.part {
            b"text_delta" => (b"text", Class::Token, Content::Token),
            b"thinking_delta" => (b"thinking", Class::Reasoning, Content::Reasoning),
            b"input_json_delta" => (b"partial_json", Class::Tool, Content::Tool),
            // These belong to the text before them.
            b"signature_delta" | b"citations_delta" => return Some(Event::bare(Class::Structure)),
            _ => return None,
        };
        let (found, range) = self.text?;
        if found != field {
            return None;
        }
        let event = text::event(frame, class, content, range);
        let event = match class {
            Class::Tool => event.of_call(Step::GoesOn, 0, self.index),
            _ => event,
        };
        let beside = seen.key(&self.beside);
        if self.crowded || self.texts > 1 {
            return Some(event);
        }
        let key = text::key((self.index, self.kind, self.part, beside));
        Some(text::joining(event, Keep::First, key))
    }
}
