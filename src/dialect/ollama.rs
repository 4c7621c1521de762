//! Ollama chat and generate: one JSON object per line; the last one has `"done":true`.

use std::ops::Range;

use super::beside::{Beside, Seen};
use super::object::Object;
use super::reader::Reader;
use super::spec::{
    DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, ResumeIds, Sign,
    chat_or_completion,
};
use super::text;
use crate::event::{Class, Content, Event, Keep, LISTS, Terminal, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "ollama",
    match_head: |head| {
        Sign::Certain.when(head.ends_with("/api/chat") || head.ends_with("/api/generate"))
    },
    match_first_frame: |first| {
        Sign::Certain.when(first.is_line() && first.has("model") && first.has("done"))
    },
    parser: |_| Box::new(Ollama),
    comments: false,
    // The Python client raises on an empty line. A single space is read as white space at the start
    // of the next line.
    heartbeat: |framing| match framing {
        Framing::Ndjson => Some(b" "),
        Framing::Sse => Some(b":\n"),
        Framing::JsonArray | Framing::Lines | Framing::Raw => None,
    },
    // `stream` is true by default.
    always_streams: true,
    refusal: Some(|refusal, _| error(&refusal.with_code())),
    default_framing: Framing::Ndjson,
    hide: HideFacts::MIXES_CALLS_WITH_TEXT,
    gen_ai: GenAi {
        provider: Some("ollama"),
        operation: Some(chat_or_completion),
        paths: &["/api/chat", "/api/generate"],
    },
    failure,
    resume_ids: ResumeIds::Never,
    ..PLAIN
};

/// Returns the line or event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let body = error(&failure.with_code());
    match framing {
        Framing::Ndjson => Some(format!("{body}\n")),
        Framing::Sse => Some(format!("data: {body}\n\n")),
        Framing::JsonArray | Framing::Lines | Framing::Raw => None,
    }
}

/// A parser without state.
#[derive(Debug)]
struct Ollama;

impl Parser for Ollama {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        classify(frame, seen)
    }
}

/// Returns an error object. `error` is a string, because clients do not handle an object properly.
fn error(message: &str) -> String {
    Object::new().text("error", message).end()
}

fn classify(frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
    let line = Line::read(frame.data())?;
    if line.failed {
        return Some(Event::bare(Class::Error).ending(Terminal::Error));
    }
    let (class, content) = match &line.text {
        _ if line.tool => (Class::Tool, Content::Tool),
        Some((Field::Thinking(_), _)) if line.texts == 1 => (Class::Reasoning, Content::Reasoning),
        Some(_) => (Class::Token, Content::Token),
        None if line.is_known => (Class::Structure, Content::None),
        None => return None,
    };
    let event = Event {
        content,
        ..Event::bare(class)
    };
    let text = line.text.filter(|_| line.texts == 1);
    let event = Event {
        text: text
            .as_ref()
            .and_then(|(_, range)| frame.in_block(range.clone())),
        ..event
    };
    if line.done {
        // The last line may carry text, too.
        let usage = Some(line.usage).filter(|usage| *usage != Usage::default());
        return Some(Event {
            class: Class::Done,
            usage,
            ..event.ending(Terminal::Done)
        });
    }
    let beside = seen.key(&line.beside);
    match text {
        Some((field, _)) if class != Class::Tool && !line.crowded => {
            let event = Event {
                varying: line.varying.and_then(|at| frame.in_block(at)),
                ..event
            };
            let event = text::joining(event, Keep::Last, text::key((field, beside)));
            Some(text::with_lists(event, line.lists))
        }
        _ => Some(event),
    }
}

/// A member that carries text. [`Place`] says whether `thinking` is in `message` or at the top
/// level.
#[derive(Clone, Copy, Debug, Hash)]
enum Field {
    Content,
    Response,
    Thinking(Place),
}

#[derive(Clone, Copy, Debug, Hash)]
enum Place {
    Message,
    Top,
}

/// The contents of one line.
#[derive(Debug, Default)]
struct Line {
    failed: bool,
    done: bool,
    /// Whether there is a member that identifies a line of this dialect.
    is_known: bool,
    tool: bool,
    /// What must be equal before two lines are merged.
    beside: Beside,
    /// Whether there is something that a merge would lose.
    crowded: bool,
    /// Whether there are log probabilities.
    lists: bool,
    text: Option<(Field, Range<usize>)>,
    texts: usize,
    varying: Option<Range<usize>>,
    usage: Usage,
}

impl Line {
    fn read(data: &[u8]) -> Option<Self> {
        let mut line = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"error" => line.failed |= reader.truthy()?,
                b"done" => {
                    line.is_known = true;
                    line.done |= reader.raw()? == b"true";
                }
                b"message" => {
                    line.is_known |= reader.object(|reader, key| line.message(reader, key))?;
                }
                b"response" => {
                    line.is_known = true;
                    line.text(reader, Field::Response)?;
                }
                b"thinking" => line.text(reader, Field::Thinking(Place::Top))?,
                b"tool_calls" => line.tool |= reader.says_something()?,
                b"prompt_eval_count" => line.usage.input = reader.count()?,
                b"eval_count" => line.usage.output = reader.count()?,
                // A merge keeps the later time.
                b"created_at" => line.varying = reader.string()?,
                b"model" | b"remote_model" | b"remote_host" => {
                    line.beside.same(key, reader.raw()?);
                }
                key if LISTS.contains(&key) => line.lists |= reader.says_something()?,
                _ => line.beside.inner(key, reader.raw()?),
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(line)
    }

    fn message(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        match key {
            b"role" => self.beside.same(key, reader.raw()?),
            b"content" => self.text(reader, Field::Content)?,
            b"thinking" => self.text(reader, Field::Thinking(Place::Message))?,
            b"tool_calls" => self.tool |= reader.says_something()?,
            _ => self.beside.inner(key, reader.raw()?),
        }
        Some(())
    }

    fn text(&mut self, reader: &mut Reader<'_>, field: Field) -> Option<()> {
        if reader.kind()? != Kind::String {
            self.crowded |= reader.says_something()?;
            return Some(());
        }
        let range = reader.string()?.unwrap_or_default();
        if range.is_empty() {
            return Some(());
        }
        self.texts += 1;
        // If there are both, the answer takes precedence over the thinking.
        if self.texts == 1 || !matches!(field, Field::Thinking(_)) {
            self.text = Some((field, range));
        }
        Some(())
    }
}
