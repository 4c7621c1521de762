//! Gemini `streamGenerateContent`: one response object per SSE block, or one JSON array of them.
//!
//! A running total of the tokens stands on nearly every chunk, so a chunk joins its neighbour by keeping
//! the later one's envelope.

use super::first_frame::FirstFrame;
use super::object::Object;
use super::parts::{self, Parts};
use super::reader::Reader;
use super::spec::{DialectSpec, Failure, PLAIN, Parser, Sign};
use super::text;
use crate::event::{Class, Content, Event, Keep, Terminal, Usage};
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "gemini",
    match_head: |head| Sign::Certain.when(head.contains(":streamGenerateContent")),
    match_first_frame,
    parser: |_| Box::<State>::default(),
    framing: Some(("application/json", Framing::JsonArray)),
    // Python's client raises on one.
    comments: false,
    heartbeat: |framing| match framing {
        Framing::JsonArray | Framing::Sse => Some(b"\n"),
        Framing::Lines | Framing::Ndjson | Framing::Raw => None,
    },
    refusal: Some(|refusal, _| error(refusal.status, &refusal.with_code())),
    ..PLAIN
};

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let mut is_known = false;
    let mut reader = Reader::new(first.raw("candidates"));
    let mut look = |reader: &mut Reader<'_>| {
        reader.object(|reader, key| {
            is_known |= matches!(key, b"content" | b"finishReason");
            reader.skip()
        })
    };
    // What is no array of objects shows nothing.
    let _ = reader.array(|reader, _| look(reader).map(drop));
    Sign::Certain.when(is_known && first.name().is_empty() && !first.is_line())
}

/// `error` comes first: the Python client compares the start of the object. The status is a closed set.
fn error(status: u16, message: &str) -> String {
    let word = match status {
        400 | 413 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        504 => "DEADLINE_EXCEEDED",
        _ => "UNAVAILABLE",
    };
    let error = Object::new()
        .number("code", status.into())
        .text("message", message)
        .text("status", word);
    Object::new().raw("error", &error.end()).end()
}

/// What must be remembered between chunks.
#[derive(Debug, Default)]
struct State {
    place: Place,
    /// An error was told.
    failed: bool,
}

/// Where in its array a stream is.
#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// Nothing was seen.
    #[default]
    Start,
    /// The bracket.
    Opened,
    /// An element.
    Amid,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>) -> Option<Event> {
        match &*frame.block {
            b"[" => {
                self.place = Place::Opened;
                return Some(Event::bare(Class::Structure));
            }
            b"]" => {
                let terminal = if self.failed {
                    Terminal::Error
                } else {
                    Terminal::Done
                };
                return Some(Event::bare(Class::Done).ending(terminal));
            }
            _ => {}
        }
        let event = event(frame, Chunk::read(frame.data())?);
        self.failed |= event.class == Class::Error;
        let is_element = !matches!(self.place, Place::Start);
        // The first element is the one without a comma: it can neither go nor join another.
        let is_first = matches!(self.place, Place::Opened);
        if is_element {
            self.place = Place::Amid;
        }
        Some(Event {
            class: match event.class {
                class if is_first && class.is_droppable() => Class::Structure,
                class => class,
            },
            merge: event.merge.filter(|_| !is_first),
            // The array is still to be closed.
            terminal: match event.terminal {
                Some(Terminal::Error) if is_element => Some(Terminal::MayFail),
                terminal => terminal,
            },
            ..event
        })
    }

    fn failure(&self, framing: Framing, failure: &Failure<'_>) -> Option<String> {
        let status = if failure.is_timeout() { 504 } else { 503 };
        let error = error(status, &failure.with_code());
        match (framing, self.place) {
            // A name in front makes one client fail and another skip it.
            (Framing::Sse, _) => Some(format!("data: {error}\n\n")),
            (Framing::JsonArray, Place::Start) => Some(format!("[{error}]")),
            (Framing::JsonArray, Place::Opened) => Some(format!("{error}]")),
            (Framing::JsonArray, Place::Amid) => Some(format!(",\n{error}]")),
            (Framing::Lines | Framing::Ndjson | Framing::Raw, _) => None,
        }
    }
}

fn event(frame: &Frame<'_>, chunk: Chunk) -> Event {
    if chunk.failed {
        return Event::bare(Class::Error).ending(Terminal::Error);
    }
    let parts = &chunk.parts;
    let class = if !chunk.is_known || parts.strange {
        Class::Opaque
    } else if parts.tool {
        Class::Tool
    } else if chunk.finish {
        Class::Finish
    } else if parts.sealed {
        Class::Structure
    } else if chunk.usage.is_some() {
        // With text or without: the counts must not be dropped.
        Class::Usage
    } else {
        match parts.content {
            Content::Token => Class::Token,
            Content::Reasoning => Class::Reasoning,
            Content::None | Content::Other | Content::Tool => Class::Structure,
        }
    };
    let event = Event {
        content: match (class, parts.content) {
            (Class::Opaque, Content::None) => Content::Other,
            (_, content) => content,
        },
        usage: chunk.usage,
        lane: chunk.candidate,
        // The end of input is a good end after the last word of a candidate, and only then.
        terminal: chunk.finish.then_some(Terminal::MayEnd),
        ..Event::bare(class)
    };
    let Some(range) = parts.only_text() else {
        return event;
    };
    let event = Event {
        text: frame.in_block(range),
        ..event
    };
    let joins = matches!(class, Class::Reasoning | Class::Token | Class::Usage)
        && chunk.candidates == 1
        && parts.count == 1;
    if !joins {
        return event;
    }
    let key = text::key((
        chunk.candidate,
        parts.content == Content::Reasoning,
        chunk.usage.is_some(),
        chunk.rest,
    ));
    text::joining(event, Keep::Last, key)
}

/// What one response object carries.
#[derive(Debug, Default)]
struct Chunk {
    /// A top-level `error`.
    failed: bool,
    /// It has a member that only these objects have.
    is_known: bool,
    usage: Option<Usage>,
    candidates: usize,
    /// The index of the last candidate.
    candidate: u64,
    parts: Parts,
    finish: bool,
    /// A hash of the members that must be equal before two chunks are joined.
    rest: u64,
}

impl Chunk {
    fn read(data: &[u8]) -> Option<Self> {
        let mut chunk = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"error" => chunk.failed |= reader.truthy()?,
                b"candidates" => {
                    chunk.is_known = true;
                    chunk.candidates = reader.array(|reader, _| chunk.candidate(reader))?;
                }
                b"usageMetadata" => {
                    chunk.is_known = true;
                    chunk.usage = parts::usage(reader)?;
                }
                b"promptFeedback" => {
                    chunk.is_known = true;
                    chunk.feedback(reader)?;
                }
                _ => chunk.other(reader, key)?,
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(chunk)
    }

    fn candidate(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        reader.object(|reader, key| {
            match key {
                b"index" => self.candidate = reader.number()?,
                b"finishReason" => self.finish |= reader.truthy()?,
                b"content" => {
                    reader.object(|reader, key| match key {
                        b"parts" => self.parts.read(reader),
                        _ => self.other(reader, key),
                    })?;
                }
                _ => self.other(reader, key)?,
            }
            Some(())
        })?;
        Some(())
    }

    /// A prompt that was refused has no candidates: this is the whole answer.
    fn feedback(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        reader.object(|reader, key| match key {
            b"blockReason" => {
                self.finish |= reader.truthy()?;
                Some(())
            }
            _ => self.other(reader, key),
        })?;
        Some(())
    }

    fn other(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        self.rest = text::key((self.rest, key, reader.raw()?));
        Some(())
    }
}
