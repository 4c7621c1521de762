//! Vercel AI SDK UI message stream, version 1: unnamed blocks, each an object with a `type`, then `[DONE]`.

use std::ops::Range;

use http::HeaderName;

use super::Dialect;
use super::beside::{Beside, Seen};
use super::first_frame::FirstFrame;
use super::object::Object;
use super::reader::Reader;
use super::spec::{self, DialectSpec, ErrorContext, Failure, HideFacts, PLAIN, Parser, Sign};
use super::text;
use crate::event::{Class, Content, Event, Keep, Side, Step, Terminal, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "vercel_ui",
    match_response: |headers| {
        const VERSION: HeaderName = HeaderName::from_static("x-vercel-ai-ui-message-stream");
        Sign::Certain.when(headers.contains_key(&VERSION))
    },
    match_first_frame,
    parser: |_| Box::<State>::default(),
    status: Some(|words| {
        let data = Object::new().text("text", words);
        let part = Object::new()
            .text("type", "data-status")
            .raw("data", &data.end())
            .raw("transient", "true");
        format!("data: {}\n\n", part.end())
    }),
    drop_event: Some(|counts| {
        let part = Object::new()
            .text("type", "data-weir-gap")
            .raw("data", counts)
            .raw("transient", "true");
        format!("data: {}\n\n", part.end())
    }),
    hide: HideFacts {
        wraps: &[b"data"],
        beside: &[b"messageMetadata"],
        ..HideFacts::CLOSES_TEXTS
    },
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream, and the sentinel.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let error = Object::new()
        .text("type", "error")
        .text("errorText", &failure.with_code());
    let block = spec::block(framing, "", &error.end())?;
    Some(block + "data: [DONE]\n\n")
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    match first.word("type") {
        b"start" => Sign::Certain.when(first.has("messageId") || first.has("messageMetadata")),
        // Tutorials use these types as well.
        b"abort" | b"custom" | b"error" | b"file" | b"finish" => Sign::None,
        _ => Sign::Certain.when(first.is_understood(Dialect::VercelUi)),
    }
}

/// The state that is kept between events.
#[derive(Debug, Default)]
struct State {
    /// Whether the upstream sent an error. The stream then counts as failed, whatever follows.
    failed: bool,
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
        let part = Part::read(frame.data())?;
        let event = part.event(frame, seen)?;
        self.failed |= event.class == Class::Error;
        Some(match event.terminal {
            Some(Terminal::MayEnd | Terminal::MayFail) if self.failed => {
                event.ending(Terminal::MayFail)
            }
            _ => event,
        })
    }
}

const fn of(class: Class, content: Content) -> Event {
    Event {
        content,
        ..Event::bare(class)
    }
}

/// The contents of one part.
#[derive(Debug, Default)]
struct Part<'a> {
    kind: &'a [u8],
    id: &'a [u8],
    call: &'a [u8],
    delta: Option<Range<usize>>,
    input_delta: Option<Range<usize>>,
    transient: bool,
    preliminary: bool,
    usage: Option<Usage>,
    /// What must be equal before two parts are merged.
    beside: Beside,
    /// A hash of the members that a later part with the same id replaces.
    payload: u64,
    /// Whether there is something that a merge would lose.
    crowded: bool,
}

impl<'a> Part<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut part = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"type" => part.kind = reader.word()?,
                b"id" => part.id = part.beside.word(reader, key)?,
                b"toolCallId" => part.call = part.beside.word(reader, key)?,
                b"delta" if reader.kind()? == Kind::String => part.delta = reader.string()?,
                b"inputTextDelta" if reader.kind()? == Kind::String => {
                    part.input_delta = reader.string()?;
                }
                b"transient" | b"preliminary" => {
                    let raw = reader.raw()?;
                    let is_true = Reader::new(raw).truthy()?;
                    if key == b"transient" {
                        part.transient = is_true;
                    } else {
                        part.preliminary = is_true;
                    }
                    part.beside.same(key, raw);
                }
                b"messageMetadata" => {
                    part.crowded |= reader.clone().says_something()?;
                    reader.object(|reader, key| {
                        match key {
                            b"usage" | b"totalUsage" => part.usage = reader.usage()?,
                            _ => reader.skip()?,
                        }
                        Some(())
                    })?;
                }
                b"data" | b"output" => part.payload = text::key((part.payload, key, reader.raw()?)),
                _ => part.beside.add(key, reader.raw()?),
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(part)
    }

    fn event(&self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let event = match self.kind {
            b"text-delta" => self.text(frame, seen, Class::Token, Content::Token)?,
            b"reasoning-delta" => self.text(frame, seen, Class::Reasoning, Content::Reasoning)?,
            b"tool-input-delta" => self.text(frame, seen, Class::Tool, Content::Tool)?.of_call(
                Step::GoesOn,
                0,
                text::key(self.call),
            ),
            b"tool-input-start" => {
                of(Class::Tool, Content::Tool).of_call(Step::Begins, 0, text::key(self.call))
            }
            b"tool-input-available" | b"tool-input-error" => {
                of(Class::Tool, Content::Tool).of_call(Step::Ends, 0, text::key(self.call))
            }
            b"tool-output-available" if self.preliminary => {
                self.superseded(frame, seen, Class::Tool)
            }
            b"tool-output-available"
            | b"tool-output-error"
            | b"tool-output-denied"
            | b"tool-approval-request"
            | b"tool-approval-response" => of(Class::Tool, Content::Tool),
            b"reasoning-start" => Event::bare(Class::Structure)
                .on(Side::Reasoning)
                .ending(Terminal::Reopens),
            b"reasoning-end" | b"reasoning-file" => {
                Event::bare(Class::Structure).on(Side::Reasoning)
            }
            b"start" | b"start-step" | b"reset-step" | b"text-start" => {
                Event::bare(Class::Structure).ending(Terminal::Reopens)
            }
            b"finish-step" | b"text-end" | b"message-metadata" => Event::bare(Class::Structure),
            b"source-url" | b"source-document" | b"file" | b"custom" => {
                of(Class::Structure, Content::Other)
            }
            b"error" => Event::bare(Class::Error).ending(Terminal::MayFail),
            b"abort" | b"finish" => Event::bare(Class::Finish).ending(Terminal::MayEnd),
            kind if kind.starts_with(b"data-") && self.transient => {
                of(Class::State, Content::Other).on(Side::Application)
            }
            kind if kind.starts_with(b"data-") => self
                .superseded(frame, seen, Class::State)
                .on(Side::Application),
            _ => return None,
        };
        Some(Event {
            usage: self.usage,
            lane: text::key(self.id),
            ..event
        })
    }

    fn text(
        &self,
        frame: &Frame<'_>,
        seen: &mut Seen,
        class: Class,
        content: Content,
    ) -> Option<Event> {
        let (range, other) = match class {
            Class::Tool => (&self.input_delta, &self.delta),
            _ => (&self.delta, &self.input_delta),
        };
        let event = text::event(frame, class, content, range.clone()?);
        let rest = (seen.key(&self.beside), self.payload);
        if self.crowded || other.is_some() {
            return Some(event);
        }
        let key = text::key((self.kind, self.id, self.call, rest));
        Some(text::joining(event, Keep::First, key))
    }

    /// Returns an event that a later part with the same id replaces.
    fn superseded(&self, frame: &Frame<'_>, seen: &mut Seen, class: Class) -> Event {
        let content = if class == Class::Tool {
            Content::Tool
        } else {
            Content::Other
        };
        let event = of(class, content);
        if self.id.is_empty() && self.call.is_empty() {
            return event;
        }
        let key = text::key((self.kind, self.id, self.call, seen.key(&self.beside)));
        text::superseded(event, frame, key)
    }
}
