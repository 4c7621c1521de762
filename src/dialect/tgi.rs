//! Hugging Face text-generation-inference, `/generate_stream`: one unnamed block per token; the last one has
//! `generated_text`, which repeats the whole text.
//!
//! Sources: `router/src/server.rs` and `router/src/lib.rs` of text-generation-inference, and the clients in
//! `huggingface_hub` (`inference/_common.py`), `huggingface.js` and `text_generation`.

use std::ops::Range;

use super::beside::{Beside, Seen};
use super::object::Object;
use super::reader::{self, Reader};
use super::spec::{self, DialectSpec, ErrorContext, Failure, GenAi, PLAIN, Parser, Refusal, Sign};
use super::text;
use crate::event::{Class, Content, Event, Keep, LISTS, Terminal, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "tgi",
    // Triton has a path of the same name, `/v2/models/MODEL/generate_stream`, and other events.
    match_head: |head| {
        let is_tgi = head.ends_with("/generate_stream") && !head.contains("/v2/models/");
        Sign::Certain.when(is_tgi)
    },
    // `/` streams if the body asks for it.
    match_body: |members| {
        let is_prompt = members.raw("inputs").starts_with(b"\"");
        Sign::Likely.when(is_prompt && members.raw("stream") == b"true")
    },
    match_first_frame: |first| {
        let is_token = first.has_object("token") && first.has("generated_text");
        let is_error = !first.word("error").is_empty() && !first.word("error_type").is_empty();
        Sign::Certain.when(!first.is_line() && (is_token || is_error))
    },
    parser: |_| Box::new(Tgi),
    // `/generate_stream` streams whatever the body says, `/` only if the body asks for it.
    always_streams: true,
    streams_on_request: true,
    refusal: Some(|refusal, _| error(error_type(refusal), &refusal.with_code())),
    gen_ai: GenAi {
        operation: Some(|_| "text_completion"),
        paths: &["/generate_stream"],
        ..GenAi::NONE
    },
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream. The clients raise on any object with an `error`.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let error = error("incomplete_generation", &failure.with_code());
    spec::block(framing, "", &error)
}

/// Returns an error object. Its type is from a closed set, so Weir's error code is part of the message.
fn error(kind: &str, message: &str) -> String {
    Object::new()
        .text("error", message)
        .text("error_type", kind)
        .end()
}

const fn error_type(refusal: &Refusal<'_>) -> &'static str {
    match refusal.status {
        429 | 503 => "overloaded",
        400..500 => "validation",
        _ => "generation",
    }
}

/// A parser without state.
#[derive(Debug)]
struct Tgi;

impl Parser for Tgi {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        // The server sends no such end, but servers that imitate it do, and the clients stop at it.
        if frame.data().starts_with(b"[DONE]") {
            return Some(Event::bare(Class::Done).ending(Terminal::Done));
        }
        let token = Token::read(frame.data())?;
        if token.failed {
            return Some(Event::bare(Class::Error).ending(Terminal::Error));
        }
        token.is_known.then(|| token.event(frame, seen))
    }
}

/// The contents of one event.
#[derive(Debug, Default)]
struct Token {
    failed: bool,
    /// Whether there is a member that identifies an event of this dialect.
    is_known: bool,
    /// Whether the token is a control token of the model: its text is not part of the answer.
    special: bool,
    text: Option<Range<usize>>,
    /// Whether this is the last token.
    last: bool,
    /// What must be equal before two tokens are merged.
    beside: Beside,
    /// Whether there is something that a merge would lose.
    crowded: bool,
    /// Whether there are alternatives to the token.
    lists: bool,
    usage: Usage,
}

impl Token {
    fn read(data: &[u8]) -> Option<Self> {
        let mut token = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"error" => token.failed |= reader.truthy()?,
                b"token" => {
                    token.is_known |= reader.object(|reader, key| token.member(reader, key))?;
                }
                // It is `null` in every event but the last.
                b"generated_text" => {
                    let raw = reader.raw()?;
                    token.last |= raw.starts_with(b"\"");
                    token.crowded |= reader::says_something(raw);
                }
                b"details" => {
                    let raw = reader.raw()?;
                    token.crowded |= reader::says_something(raw);
                    Reader::new(raw).object(|reader, key| {
                        match key {
                            b"generated_tokens" => token.usage.output = reader.count()?,
                            b"input_length" => token.usage.input = reader.count()?,
                            _ => reader.skip()?,
                        }
                        Some(())
                    })?;
                }
                b"index" => reader.skip()?,
                // The alternatives to the token, which the request asked for.
                key if LISTS.contains(&key) => token.lists |= reader.says_something()?,
                _ => token.beside.inner(key, reader.raw()?),
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(token)
    }

    fn member(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        match key {
            b"text" if reader.kind()? == Kind::String => self.text = reader.string()?,
            b"special" => self.special |= reader.truthy()?,
            b"id" | b"logprob" => reader.skip()?,
            _ => self.beside.inner(key, reader.raw()?),
        }
        Some(())
    }

    fn event(self, frame: &Frame<'_>, seen: &mut Seen) -> Event {
        let event = match self.text.filter(|_| !self.special) {
            Some(range) => text::event(frame, Class::Token, Content::Token, range),
            None => Event::bare(Class::Structure),
        };
        if self.last {
            // The text is that of the last token. `generated_text` only repeats what was sent.
            return Event {
                class: Class::Done,
                usage: Some(self.usage).filter(|usage| *usage != Usage::default()),
                ..event.ending(Terminal::Done)
            };
        }
        let beside = seen.key(&self.beside);
        if self.crowded {
            return event;
        }
        // Each token has its own number, id and probability. They do not prevent a merge, or no two tokens could be
        // merged: the clients read each event by itself, require only that these members exist, and do not compare
        // them with those of other events. The merged event keeps those of its last token.
        let event = text::joining(event, Keep::Last, text::key(("token", beside)));
        text::with_lists(event, self.lists)
    }
}
