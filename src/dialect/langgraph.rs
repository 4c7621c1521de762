//! LangGraph Platform: the event's name is a stream mode, then `|` and the subgraph it comes from.
//!
//! The end of input is its normal end; `end` and `error` are optional.

use super::first_frame::FirstFrame;
use super::message::Message;
use super::object::Object;
use super::reader::Reader;
use super::request::RequestHead;
use super::spec::{self, DialectSpec, Failure, PLAIN, Parser, Sign};
use super::{Dialect, langserve, protocol, text};
use crate::event::{Class, Content, Event, Keep, Terminal};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "langgraph",
    match_head,
    match_first_frame,
    parser: |_| Box::<State>::default(),
    always_streams: true,
    status: Some(|words| {
        let event = Object::new().text("type", "status").text("content", words);
        format!("event: custom\ndata: {}\n\n", event.end())
    }),
    ..PLAIN
};

/// `/runs/stream`, `/threads/T/runs/stream`, `.../runs/R/stream`, `/threads/T/stream`; `/threads/T/stream/events`
/// speaks the thread protocol.
fn match_head(head: &RequestHead<'_>) -> Sign {
    let mut parts = head.parts().peekable();
    let is_protocol = parts.next_if_eq(&"events").is_some();
    let is_run = parts.next() == Some("stream")
        && match parts.next() {
            Some("runs") => !is_protocol,
            Some(id) if !id.is_empty() => match parts.next() {
                Some("runs") => !is_protocol,
                Some("threads") => true,
                _ => false,
            },
            _ => false,
        };
    Sign::Certain.when(is_run)
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let is_understood = || first.is_understood(Dialect::LangGraph);
    match first.name() {
        _ if protocol::match_first_frame(first) => Sign::Certain,
        b"metadata" => Sign::Likely.when(first.has("attempt") && is_understood()),
        // Words that others use, too.
        b"" | b"data" | b"end" | b"error" | b"ping" | b"tools" => Sign::None,
        _ => Sign::Likely.when(is_understood()),
    }
}

/// What must be remembered between events.
#[derive(Debug, Default)]
struct State {
    objects: langserve::State,
    protocol: protocol::State,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>) -> Option<Event> {
        protocol::classify(frame, &mut self.protocol).or_else(|| classify(frame, &mut self.objects))
    }

    fn failure(&self, framing: Framing, failure: &Failure<'_>) -> Option<String> {
        let error = Object::new()
            .text("error", failure.code)
            .text("message", failure.message);
        spec::block(framing, "error", &error.end())
    }

    /// The end of the input is its normal end.
    fn needs_terminal(&self) -> bool {
        false
    }
}

fn classify(frame: &Frame<'_>, objects: &mut langserve::State) -> Option<Event> {
    let name = frame.name();
    let mode = name.split(|byte| *byte == b'|').next().unwrap_or_default();
    let other = |class| {
        Some(Event {
            content: Content::Other,
            ..Event::bare(class)
        })
    };
    match mode {
        b"messages" | b"messages-tuple" => messages(frame),
        b"messages/partial" => partial(frame),
        b"messages/complete" => complete(frame),
        b"messages/metadata" => Some(Event::bare(Class::Status)),
        b"metadata" => Some(Event::bare(Class::Structure)),
        b"values" => values(frame),
        b"updates" | b"command" => other(Class::State),
        b"checkpoints" | b"custom" | b"debug" | b"lifecycle" | b"tasks" => other(Class::Status),
        b"tools" => Some(Event {
            content: Content::Tool,
            ..Event::bare(Class::Tool)
        }),
        b"events" => objects.astream(frame),
        b"end" => Some(Event::bare(Class::Done).ending(Terminal::Done)),
        b"error" => Some(Event::bare(Class::Error).ending(Terminal::Error)),
        _ => None,
    }
}

/// `[message, metadata]`.
fn messages(frame: &Frame<'_>) -> Option<Event> {
    let message = first_message(frame.data())?;
    match message.kind {
        b"AIMessageChunk" => Some(message.delta(frame, frame.name(), Keep::Last)),
        _ if message.is_tool_result() => Some(Event {
            content: Content::Tool,
            ..Event::bare(Class::Tool)
        }),
        // A model that does not stream says it all at once.
        _ => Some(Event {
            content: match message.content() {
                Content::None => Content::Other,
                content => content,
            },
            usage: message.usage(),
            ..Event::bare(Class::State)
        }),
    }
}

/// `[message]`, with all of its text so far: a later one contains an earlier one.
fn partial(frame: &Frame<'_>) -> Option<Event> {
    let message = first_message(frame.data())?;
    let class = match message.content() {
        Content::Tool => Class::Tool,
        // With text or without: the counts must not be dropped.
        _ if message.usage().is_some() => Class::Usage,
        Content::Reasoning => Class::Reasoning,
        Content::None | Content::Other | Content::Token => Class::Token,
    };
    let event = Event {
        content: message.content(),
        usage: message.usage(),
        ..Event::bare(class)
    };
    if message.id.is_empty() {
        return Some(event);
    }
    // A critical one never takes the place of one that may be dropped.
    let key = text::key((frame.name(), message.id, class));
    Some(text::superseded(event, frame, key))
}

/// `[message]`: repeats the partials.
fn complete(frame: &Frame<'_>) -> Option<Event> {
    let message = first_message(frame.data())?;
    let (class, content) = match message.content() {
        Content::Tool => (Class::Tool, Content::Tool),
        _ => (Class::State, Content::Other),
    };
    Some(Event {
        content,
        usage: message.usage(),
        ..Event::bare(class)
    })
}

/// A snapshot of the state: the next one replaces it, unless it asks the user something.
fn values(frame: &Frame<'_>) -> Option<Event> {
    let mut interrupts = false;
    let mut reader = Reader::new(frame.data());
    reader.object(|reader, key| {
        interrupts |= key == b"__interrupt__";
        reader.skip()
    })?;
    reader.end()?;
    let event = Event {
        content: Content::Other,
        ..Event::bare(Class::State)
    };
    if interrupts {
        return Some(event);
    }
    Some(text::superseded(event, frame, text::key(frame.name())))
}

fn first_message(data: &[u8]) -> Option<Message<'_>> {
    let mut reader = Reader::new(data);
    let mut first = None;
    if reader.kind()? != Kind::Array {
        return None;
    }
    reader.array(|reader, at| {
        if at == 0 {
            first = Some(Message::read(reader)?);
            Some(())
        } else {
            reader.skip()
        }
    })?;
    reader.end()?;
    first
}
