//! Gemini `streamGenerateContent`: one response object per SSE block, or one JSON array of them.
//!
//! Nearly every chunk states a running total of the tokens, so a merge of two chunks keeps the
//! later one's envelope.

use super::beside::{Beside, Seen};
use super::first_frame::FirstFrame;
use super::object::Object;
use super::parts::{self, Parts};
use super::reader::Reader;
use super::spec::{
    ArrayPlace, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, ResumeIds,
    Sign,
};
use super::text;
use crate::event::{Class, Content, Event, Keep, Terminal, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "gemini",
    match_head: |head| Sign::Certain.when(head.contains(":streamGenerateContent")),
    match_first_frame,
    parser: |_| Box::<State>::default(),
    framing: Some(("application/json", Framing::JsonArray)),
    // Google's Python client raises on an SSE comment.
    comments: false,
    heartbeat: |framing| match framing {
        Framing::JsonArray | Framing::Sse => Some(b"\n"),
        Framing::Lines | Framing::Ndjson | Framing::Raw => None,
    },
    refusal: Some(|refusal, _| error(refusal.status, &refusal.with_code())),
    hide: HideFacts::MIXES_CALLS_WITH_TEXT,
    gen_ai: GenAi {
        provider: Some("gcp.gen_ai"),
        operation: Some(|_| "generate_content"),
        paths: &[":generateContent", ":streamGenerateContent"],
    },
    failure,
    resume_ids: ResumeIds::Never,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, seen: &ErrorContext) -> Option<String> {
    let status = if failure.is_timeout() { 504 } else { 503 };
    let error = error(status, &failure.with_code());
    match (framing, seen.array) {
        // The event has no name: with one, one client fails and another skips the event.
        (Framing::Sse, _) => Some(format!("data: {error}\n\n")),
        (Framing::JsonArray, ArrayPlace::Start) => Some(format!("[{error}]")),
        (Framing::JsonArray, ArrayPlace::Opened) => Some(format!("{error}]")),
        (Framing::JsonArray, ArrayPlace::Amid) => Some(format!(",\n{error}]")),
        (Framing::Lines | Framing::Ndjson | Framing::Raw, _) => None,
    }
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let mut is_known = false;
    let mut reader = Reader::new(first.raw("candidates"));
    let mut look = |reader: &mut Reader<'_>| {
        reader.object(|reader, key| {
            is_known |= matches!(key, b"content" | b"finishReason");
            reader.skip()
        })
    };
    // Anything else than an array of objects is no evidence.
    let _ = reader.array(|reader, _| look(reader).map(drop));
    Sign::Certain.when(is_known && first.name().is_empty() && !first.is_line())
}

/// Returns an error object. `error` comes first because the Python client compares the start of the
/// object. Its `status` is from a closed set.
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

/// The state that is kept between chunks.
#[derive(Debug, Default)]
struct State {
    place: ArrayPlace,
    /// Whether the upstream sent an error.
    failed: bool,
    /// The candidates that have begun, one bit each.
    begun: u64,
    /// The candidates whose finish reason was sent.
    finished: u64,
}

impl State {
    /// Returns what a chunk means for the end. After the finish reason of every candidate that has begun, the end of
    /// input is a normal end. A blocked prompt has no candidates.
    const fn end(&mut self, chunk: &Chunk) -> Option<Terminal> {
        let is_new = chunk.begun & !self.begun != 0;
        self.begun |= chunk.begun;
        self.finished |= chunk.finished;
        if chunk.finish && (chunk.finished == 0 || self.begun & !self.finished == 0) {
            Some(Terminal::MayEnd)
        } else if is_new && self.finished != 0 {
            Some(Terminal::Reopens)
        } else {
            None
        }
    }
}

/// Returns the bit of a candidate. All indices from 63 on share the last one.
const fn bit(candidate: u64) -> u64 {
    1 << if candidate < 63 { candidate } else { 63 }
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        match &*frame.block {
            b"[" => {
                self.place = ArrayPlace::Opened;
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
        let chunk = Chunk::read(frame.data())?;
        let terminal = self.end(&chunk);
        let event = event(frame, seen, chunk, terminal);
        self.failed |= event.class == Class::Error;
        let is_element = !matches!(self.place, ArrayPlace::Start);
        // Only the first element has no comma before it, so it can be neither dropped nor merged.
        let is_first = matches!(self.place, ArrayPlace::Opened);
        if is_element {
            self.place = ArrayPlace::Amid;
        }
        Some(Event {
            class: match event.class {
                class if is_first && class.is_droppable() => Class::Structure,
                class => class,
            },
            merge: event.merge.filter(|_| !is_first),
            // The array must still be closed.
            terminal: match event.terminal {
                Some(Terminal::Error) if is_element => Some(Terminal::MayFail),
                terminal => terminal,
            },
            ..event
        })
    }

    fn error_context(&self) -> ErrorContext {
        ErrorContext {
            array: self.place,
            ..ErrorContext::default()
        }
    }
}

fn event(frame: &Frame<'_>, seen: &mut Seen, chunk: Chunk, terminal: Option<Terminal>) -> Event {
    if chunk.failed {
        return Event::bare(Class::Error).ending(Terminal::Error);
    }
    let parts = &chunk.parts;
    seen.note_need(&chunk.beside);
    let class = if !chunk.is_known || parts.strange {
        Class::Opaque
    } else if parts.tool {
        Class::Tool
    } else if chunk.finish {
        Class::Finish
    } else if parts.sealed {
        Class::Structure
    } else if chunk.usage.is_some() {
        // With or without text: the counts must not be dropped.
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
        terminal,
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
        seen.key(&chunk.beside),
    ));
    text::joining(event, Keep::Last, key)
}

/// The contents of one response object.
#[derive(Debug, Default)]
struct Chunk {
    /// Whether there is a top-level `error`.
    failed: bool,
    /// Whether there is a member that only Gemini's response objects have.
    is_known: bool,
    usage: Option<Usage>,
    candidates: usize,
    /// The index of the last candidate.
    candidate: u64,
    /// The candidates of the chunk, one bit each.
    begun: u64,
    /// Its candidates with a finish reason.
    finished: u64,
    parts: Parts,
    /// Whether there is a finish reason, or the reason why the prompt was blocked.
    finish: bool,
    /// What must be equal before two chunks are merged.
    beside: Beside,
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
                b"usageMetadata" if reader.kind()? == Kind::Object => {
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
        let (mut index, mut finished) = (0, false);
        let is_object = reader.object(|reader, key| {
            match key {
                b"index" => {
                    index = self.beside.number(reader, key)?;
                    self.candidate = index;
                }
                b"finishReason" => finished = reader.truthy()?,
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
        self.begun |= if is_object { bit(index) } else { 0 };
        self.finished |= if finished { bit(index) } else { 0 };
        self.finish |= finished;
        Some(())
    }

    /// Reads `promptFeedback`. A blocked prompt has no candidates, so this is the whole response.
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
        self.beside.add(key, reader.raw()?);
        Some(())
    }
}
