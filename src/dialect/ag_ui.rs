//! AG-UI: unnamed blocks, each an object whose `type` is in capitals.
//!
//! A run ends with `RUN_FINISHED` or `RUN_ERROR`; another run may begin in the same stream.

use std::ops::Range;

use http::header::ACCEPT;

use super::Dialect;
use super::beside::{Beside, Seen};
use super::object::Object;
use super::reader::Reader;
use super::request::Members;
use super::spec::{
    self, Carries, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, Sign,
};
use super::text;
use crate::event::{Class, Content, Event, Keep, Side, Step, Terminal, TextsOver, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "ag_ui",
    match_head: |head| Sign::Certain.when(head.lists(&ACCEPT, "application/vnd.ag-ui.event")),
    match_body,
    match_first_frame: |first| {
        let kind = first.word("type");
        let is_shouted = !kind.is_empty() && kind.iter().all(|byte| is_capital(*byte));
        Sign::Certain.when(is_shouted && first.is_understood(Dialect::AgUi))
    },
    parser: |_| Box::<State>::default(),
    always_streams: true,
    status: Some(|words| {
        let event = Object::new()
            .text("type", "CUSTOM")
            .text("name", "status")
            .text("value", words);
        format!("data: {}\n\n", event.end())
    }),
    drop_event: Some(|counts| {
        let event = Object::new()
            .text("type", "CUSTOM")
            .text("name", "weir.gap")
            .raw("value", counts);
        format!("data: {}\n\n", event.end())
    }),
    hide: HideFacts {
        carries: Some(Carries {
            kind: b"RAW",
            member: b"event",
        }),
        // LangGraph's servers write it so.
        asks: b"on_interrupt",
        ..HideFacts::CLOSES_TEXTS
    },
    gen_ai: GenAi::AGENT,
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let error = Object::new()
        .text("type", "RUN_ERROR")
        .text("message", failure.message)
        .text("code", failure.code);
    spec::block(framing, "", &error.end())
}

const fn is_capital(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'_'
}

/// Matches a `RunAgentInput`, which has all of these members.
fn match_body(members: &Members) -> Sign {
    let keys = ["threadId", "runId", "messages", "tools", "context"];
    Sign::Certain.when(keys.into_iter().all(|key| members.has(key)))
}

/// The state that is kept between events.
#[derive(Debug, Default)]
struct State {
    /// A hash of the id of the message that the last chunk of text belonged to. The first chunk of a
    /// message opens it, and those without an id go on with it.
    text: u64,
    /// A hash of the id for chunks of reasoning.
    reasoning: u64,
    /// A hash of the id for chunks of a tool call.
    call: u64,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let fields = Fields::read(frame.data())?;
        let of = |class, content| Event {
            content,
            ..Event::bare(class)
        };
        Some(match fields.kind {
            b"RUN_STARTED" | b"STEP_STARTED" => Event::bare(Class::Structure)
                .ending(Terminal::Reopens)
                .with_texts_over(TextsOver::InLane),
            b"STEP_FINISHED" => Event::bare(Class::Structure).with_texts_over(TextsOver::InLane),
            b"RUN_FINISHED" => Event {
                usage: fields.usage,
                ..Event::bare(Class::Finish).ending(Terminal::MayEnd)
            },
            b"RUN_ERROR" => Event {
                usage: fields.usage,
                ..Event::bare(Class::Error).ending(Terminal::MayFail)
            },
            b"TEXT_MESSAGE_CONTENT" => fields.text(frame, seen, Class::Token, Content::Token),
            b"TEXT_MESSAGE_CHUNK" => {
                let event = fields.text(frame, seen, Class::Token, Content::Token);
                self.chunk(event, &fields)
            }
            b"REASONING_MESSAGE_CONTENT" | b"THINKING_TEXT_MESSAGE_CONTENT" => {
                fields.text(frame, seen, Class::Reasoning, Content::Reasoning)
            }
            b"REASONING_MESSAGE_CHUNK" => {
                let event = fields.text(frame, seen, Class::Reasoning, Content::Reasoning);
                self.chunk(event, &fields)
            }
            b"TOOL_CALL_ARGS" => fields
                .text(frame, seen, Class::Tool, Content::Tool)
                .of_call(Step::GoesOn, 0, text::key(fields.call)),
            b"TOOL_CALL_CHUNK" => {
                let event = fields.text(frame, seen, Class::Tool, Content::Tool);
                self.call_chunk(event, &fields)
            }
            // What the message goes on with after a call is another text.
            b"TOOL_CALL_START" => of(Class::Tool, Content::Tool)
                .of_call(Step::Begins, 0, text::key(fields.call))
                .with_texts_over(TextsOver::InLane),
            b"TOOL_CALL_END" => {
                of(Class::Tool, Content::Tool).of_call(Step::Ends, 0, text::key(fields.call))
            }
            kind if kind.starts_with(b"TOOL_CALL_") => {
                of(Class::Tool, Content::Tool).with_texts_over(TextsOver::InLane)
            }
            b"STATE_SNAPSHOT" | b"MESSAGES_SNAPSHOT" | b"ACTIVITY_SNAPSHOT" => {
                let key = text::key((fields.kind, fields.message, seen.key(&fields.beside)));
                let event = text::superseded(of(Class::State, Content::Other), frame, key);
                if fields.kind == b"ACTIVITY_SNAPSHOT" {
                    event.on(Side::Data)
                } else {
                    event
                }
            }
            b"STATE_DELTA" => of(Class::State, Content::Other),
            b"ACTIVITY_DELTA" => of(Class::State, Content::Other).on(Side::Data),
            b"CUSTOM" | b"RAW" => of(Class::Opaque, Content::Other).on(Side::Application),
            kind if is_bracket(kind) => {
                let event = Event {
                    // Another message or thought begins, even if its run has ended.
                    terminal: kind.ends_with(b"START").then_some(Terminal::Reopens),
                    ..Event::bare(Class::Structure)
                };
                if kind.starts_with(b"TEXT_") {
                    event.in_lane(text::key(fields.message))
                } else {
                    event.on(Side::Reasoning)
                }
            }
            _ => return None,
        })
    }
}

impl State {
    /// Returns the event of a chunk, which stands for start, content and end. The first chunk of a
    /// message must not be dropped.
    fn chunk(&mut self, event: Event, fields: &Fields<'_>) -> Event {
        let (open, side) = if event.class == Class::Reasoning {
            (&mut self.reasoning, Side::Reasoning)
        } else {
            (&mut self.text, Side::Answer)
        };
        if fields.message.is_empty() {
            return event.in_lane(*open);
        }
        let message = text::key(fields.message);
        if std::mem::replace(open, message) == message {
            return event;
        }
        Event {
            class: Class::Structure,
            merge: None,
            side,
            // A message that opens this way closes the one before it.
            texts_over: TextsOver::All,
            terminal: Some(Terminal::Reopens),
            ..event
        }
    }

    /// Returns the event of a chunk of a tool call. Only the first one needs an id.
    fn call_chunk(&mut self, event: Event, fields: &Fields<'_>) -> Event {
        let step = if fields.call.is_empty() {
            Step::Piece
        } else {
            let call = text::key(fields.call);
            if std::mem::replace(&mut self.call, call) == call {
                Step::Piece
            } else {
                Step::FirstPiece
            }
        };
        let event = Event {
            content: Content::Tool,
            ..event
        };
        let event = if step == Step::FirstPiece {
            event.in_lane(0).with_texts_over(TextsOver::InLane)
        } else {
            event
        };
        let merge = event.merge.filter(|_| step == Step::Piece);
        Event { merge, ..event }.of_call(step, 0, self.call)
    }
}

/// Reports whether an event opens or closes a message or a thought, or carries a thought's
/// encrypted value.
fn is_bracket(kind: &[u8]) -> bool {
    let families: [&[u8]; 3] = [b"REASONING_", b"TEXT_MESSAGE_", b"THINKING_"];
    let ends: [&[u8]; 3] = [b"START", b"END", b"ENCRYPTED_VALUE"];
    families.iter().any(|family| kind.starts_with(family))
        && ends.iter().any(|end| kind.ends_with(end))
}

/// The members that any of the events may have.
#[derive(Debug, Default)]
struct Fields<'a> {
    kind: &'a [u8],
    message: &'a [u8],
    call: &'a [u8],
    delta: Option<Range<usize>>,
    varying: Option<Range<usize>>,
    usage: Option<Usage>,
    /// What must be equal before two events are merged.
    beside: Beside,
    /// A hash of the members that a snapshot consists of, and that the next snapshot replaces.
    snapshot: u64,
}

impl<'a> Fields<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"type" => fields.kind = reader.word()?,
                b"messageId" => fields.message = fields.beside.word(reader, key)?,
                b"toolCallId" => fields.call = fields.beside.word(reader, key)?,
                b"delta" if reader.kind()? == Kind::String => fields.delta = reader.string()?,
                b"timestamp" => fields.varying = Some(reader.count_at()?.1),
                b"usage" => {
                    let raw = reader.raw()?;
                    fields.beside.same(key, raw);
                    fields.read_usage(&mut Reader::new(raw))?;
                }
                b"content" | b"messages" | b"snapshot" => {
                    fields.snapshot = text::key((fields.snapshot, key, reader.raw()?));
                }
                // The framework's event from which this one was made. It repeats a piece of the text.
                b"rawEvent" => reader.skip()?,
                _ => fields.beside.add(key, reader.raw()?),
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(fields)
    }

    /// Sums up the token counts: there is one entry for each model that the run called.
    fn read_usage(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let mut sum = Usage::default();
        let add = |total: Option<u64>, more: Option<u64>| match (total, more) {
            (None, None) => None,
            (total, more) => Some(total.unwrap_or(0).saturating_add(more.unwrap_or(0))),
        };
        let models = reader.array(|reader, _| {
            if let Some(one) = reader.usage()? {
                sum.input = add(sum.input, one.input);
                sum.output = add(sum.output, one.output);
                sum.reasoning = add(sum.reasoning, one.reasoning);
            }
            Some(())
        })?;
        self.usage = (models > 0).then_some(sum);
        Some(())
    }

    fn text(&self, frame: &Frame<'_>, seen: &mut Seen, class: Class, content: Content) -> Event {
        let Some(range) = self.delta.clone() else {
            return Event::bare(class);
        };
        let event = text::event(frame, class, content, range).in_lane(text::key(self.message));
        let rest = (seen.key(&self.beside), self.snapshot);
        let key = text::key((self.kind, self.message, self.call, rest));
        let varying = self.varying.clone();
        Event {
            varying: varying.and_then(|at| frame.in_block(at)),
            ..text::joining(event, Keep::Last, key)
        }
    }
}
