//! Vercel AI SDK data stream of version 4: each line is a code, a colon and JSON, sent as
//! `text/plain`.

use std::ops::Range;

use http::HeaderName;

use super::beside::{Beside, Seen};
use super::object::{self, Object};
use super::reader::Reader;
use super::spec::{DialectSpec, ErrorContext, Failure, PLAIN, Parser, ResumeIds, Sign};
use super::text;
use crate::event::{Class, Content, Event, Keep, Side, Step, Terminal, TextsOver, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "vercel_v4",
    match_response: |headers| {
        const VERSION: HeaderName = HeaderName::from_static("x-vercel-ai-data-stream");
        Sign::Certain.when(headers.contains_key(&VERSION))
    },
    // Only the head of the response identifies this dialect.
    match_first_frame: |_| Sign::None,
    parser: |_| Box::<State>::default(),
    framing: Some(("text/plain", Framing::Lines)),
    comments: false,
    // The SDK skips empty lines.
    heartbeat: |framing| match framing {
        Framing::Lines => Some(b"\n"),
        Framing::JsonArray | Framing::Ndjson | Framing::Raw | Framing::Sse => None,
    },
    failure,
    resume_ids: ResumeIds::Never,
    ..PLAIN
};

/// Returns the lines that end a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    if framing != Framing::Lines {
        return None;
    }
    let usage = Object::new()
        .number("promptTokens", 0)
        .number("completionTokens", 0);
    let end = Object::new()
        .text("finishReason", "error")
        .raw("usage", &usage.end());
    let message = object::string(&failure.with_code());
    Some(format!("3:{message}\nd:{}\n", end.end()))
}

/// The state that is kept between lines.
#[derive(Debug, Default)]
struct State {
    /// The number of steps that have ended. Each is one model call.
    steps: u64,
    /// Whether the upstream sent an error. The stream then counts as failed, whatever follows.
    failed: bool,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let data = frame.data();
        let of = |class, content| Event {
            content,
            ..Event::bare(class)
        };
        Some(match frame.name() {
            b"0" => text(frame, Class::Token, Content::Token)?,
            b"g" => text(frame, Class::Reasoning, Content::Reasoning)?,
            // Redacted reasoning and signatures: the API expects them back.
            b"i" | b"j" => Event::bare(Class::Structure).on(Side::Reasoning),
            // Another call of the model.
            b"f" => Event::bare(Class::Structure).with_texts_over(TextsOver::InLane),
            b"h" | b"k" => of(Class::Structure, Content::Other),
            // The application's own data, and what it notes of the message.
            b"2" | b"8" => of(Class::State, Content::Other).on(Side::Application),
            b"c" => arguments(frame, seen)?,
            b"a" => of(Class::Tool, Content::Tool),
            b"9" => of(Class::Tool, Content::Tool).of_call(Step::Ends, 0, call(data)?),
            b"b" => of(Class::Tool, Content::Tool).of_call(Step::Begins, 0, call(data)?),
            b"3" => {
                self.failed = true;
                Event::bare(Class::Error).ending(Terminal::MayFail)
            }
            b"e" => {
                self.steps += 1;
                let usage = usage(data)?.map(|usage| Usage {
                    call: self.steps,
                    ..usage
                });
                Event {
                    usage,
                    ..Event::bare(Class::Finish)
                }
            }
            b"d" => {
                // These are the sums of the steps, so they count only if there were no steps.
                let usage = usage(data)?.filter(|_| self.steps == 0);
                let terminal = if self.failed {
                    Terminal::Error
                } else {
                    Terminal::Done
                };
                Event {
                    usage,
                    ..Event::bare(Class::Finish).ending(terminal)
                }
            }
            _ => return None,
        })
    }
}

/// Classifies a line whose JSON is a string of text.
fn text(frame: &Frame<'_>, class: Class, content: Content) -> Option<Event> {
    let mut reader = Reader::new(frame.data());
    let range = reader.string()??;
    reader.end()?;
    let event = text::event(frame, class, content, range);
    Some(text::joining(event, Keep::First, text::key(frame.name())))
}

/// Classifies a fragment of a tool call's arguments: `{"toolCallId","argsTextDelta"}`.
fn arguments(frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
    let mut reader = Reader::new(frame.data());
    let mut delta: Option<Range<usize>> = None;
    let mut beside = Beside::default();
    reader.object(|reader, key| {
        match key {
            b"argsTextDelta" if reader.kind()? == Kind::String => delta = reader.string()?,
            _ => beside.add(key, reader.raw()?),
        }
        Some(())
    })?;
    reader.end()?;
    let event = text::event(frame, Class::Tool, Content::Tool, delta?);
    let event = text::joining(event, Keep::First, text::key(("c", seen.key(&beside))));
    Some(event.of_call(Step::GoesOn, 0, call(frame.data())?))
}

/// Returns a number for the tool call that a line belongs to.
fn call(data: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(data);
    let mut id: &[u8] = b"";
    reader.object(|reader, key| {
        match key {
            b"toolCallId" => id = reader.word()?,
            _ => reader.skip()?,
        }
        Some(())
    })?;
    Some(text::key(id))
}

/// Reads the token counts of `{"finishReason","usage":{"promptTokens","completionTokens"}}`. A
/// model that does not count sends `null` or NaN.
fn usage(data: &[u8]) -> Option<Option<Usage>> {
    let mut reader = Reader::new(data);
    let mut usage = None;
    reader.object(|reader, key| {
        match key {
            b"usage" => usage = reader.usage()?,
            _ => reader.skip()?,
        }
        Some(())
    })?;
    reader.end()?;
    Some(usage)
}
