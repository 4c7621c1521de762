//! LangGraph Platform: the event name is a stream mode, optionally followed by `|` and the subgraph
//! that sent it.
//!
//! End of input is the normal end of a stream; the events `end` and `error` are optional.

use http::Method;

use super::beside::Seen;
use super::first_frame::FirstFrame;
use super::message::{Message, Metadata};
use super::object::Object;
use super::reader::Reader;
use super::request::RequestHead;
use super::spec::{
    self, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, ResumeIds, Sign,
};
use super::turn::{MAX_STEPS, Turns};
use super::writers::Writers;
use super::{Dialect, langserve, protocol, text};
use crate::event::{Class, Content, Event, Keep, Side, Terminal, TextsOver};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "langgraph",
    match_head,
    match_first_frame,
    parser: |members| {
        if members.is_subscription() {
            Box::<Joined>::default()
        } else {
            Box::<State>::default()
        }
    },
    always_streams: true,
    // A GET joins a thread or a run, which may wait for its turn; the thread protocol subscribes to events by POST.
    subscribes: |parts| {
        let path = parts.uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        parts.method == Method::GET || path.ends_with("/stream/events")
    },
    status: Some(|words| {
        let event = Object::new().text("type", "status").text("content", words);
        format!("event: custom\ndata: {}\n\n", event.end())
    }),
    hide: HideFacts::MIXES_CALLS_WITH_TEXT,
    gen_ai: GenAi::AGENT,
    failure,
    resume_ids: ResumeIds::Used,
    follows_location: true,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let error = Object::new()
        .text("error", failure.code)
        .text("message", failure.message);
    spec::block(framing, "error", &error.end())
}

/// Matches `/runs/stream`, `/threads/T/runs/stream`, `.../runs/R/stream` and `/threads/T/stream`,
/// and also `/threads/T/stream/events`, which uses the thread protocol.
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
        // Names that other dialects use as well.
        b"" | b"data" | b"end" | b"error" | b"ping" | b"tools" => Sign::None,
        _ => Sign::Likely.when(is_understood()),
    }
}

/// The state that is kept between events.
#[derive(Debug, Default)]
struct State {
    objects: langserve::State,
    protocol: protocol::State,
    writers: Writers,
    /// The steps of the last chunks of messages without an id.
    turns: Turns,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        protocol::classify(frame, seen, &mut self.protocol).or_else(|| self.event(frame, seen))
    }

    /// End of input is the normal end of a stream.
    fn needs_terminal(&self) -> bool {
        false
    }

    fn note_repeated(&mut self, lane: u64) {
        self.writers.repeated(lane);
        self.turns.goes_on(lane);
    }
}

impl State {
    fn event(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let name = frame.name();
        let mode = name.split(|byte| *byte == b'|').next().unwrap_or_default();
        match mode {
            b"messages" | b"messages-tuple" => messages(frame, seen, self),
            b"events" => self.objects.astream(frame, seen),
            _ => in_mode(mode, frame, seen),
        }
    }
}

/// The parser of a stream that was joined: a thread goes on after each of its runs.
#[derive(Debug, Default)]
struct Joined(State);

impl Parser for Joined {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let event = self.0.classify(frame, seen)?;
        Some(Event {
            terminal: match event.terminal {
                Some(Terminal::Done) => Some(Terminal::MayEnd),
                Some(Terminal::Error) => Some(Terminal::MayFail),
                other => other,
            },
            ..event
        })
    }

    fn needs_terminal(&self) -> bool {
        self.0.needs_terminal()
    }

    fn note_repeated(&mut self, lane: u64) {
        self.0.note_repeated(lane);
    }
}

/// Classifies an event of a mode whose events need nothing from those before.
fn in_mode(mode: &[u8], frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
    let other = |class| {
        Some(Event {
            content: Content::Other,
            ..Event::bare(class)
        })
    };
    match mode {
        b"messages/partial" => partial(frame, seen),
        b"messages/complete" => complete(frame),
        b"messages/metadata" => Some(Event::bare(Class::Structure)),
        b"metadata" => Some(Event::bare(Class::Structure)),
        // A node has ended: what the application repeats of the next one's text begins anew.
        b"values" => values(frame).map(|event| event.with_texts_over(TextsOver::Perhaps)),
        b"updates" => other(Class::State).map(|event| event.with_texts_over(TextsOver::Perhaps)),
        b"command" => other(Class::State),
        b"checkpoints" | b"debug" | b"lifecycle" | b"tasks" => other(Class::State),
        // The application's own data.
        b"custom" => other(Class::Opaque).map(|event| event.on(Side::Application)),
        b"tools" => Some(Event {
            content: Content::Tool,
            ..Event::bare(Class::Tool)
        }),
        b"end" => Some(Event::bare(Class::Done).ending(Terminal::Done)),
        b"error" => Some(Event::bare(Class::Error).ending(Terminal::Error)),
        _ => None,
    }
}

/// Classifies `[message, metadata]`.
fn messages(frame: &Frame<'_>, seen: &mut Seen, state: &mut State) -> Option<Event> {
    let writers = &mut state.writers;
    let (mut message, metadata) = message(frame.data())?;
    let is_nameless = message.id.is_empty();
    if is_nameless {
        // Then only its node says whose text it is.
        message.id = metadata.node();
    }
    match message.kind {
        b"AIMessageChunk" => {
            let envelope = metadata.key(seen);
            if is_nameless {
                let event = message.delta(frame, seen, envelope, Keep::Last);
                let step = metadata.step();
                return Some(if state.turns.begins(event.lane, step, MAX_STEPS) {
                    event.with_texts_over(TextsOver::Perhaps)
                } else {
                    event
                });
            }
            let text = writers.text(message.id, || metadata.node());
            let event = message
                .of_text(text.lane)
                .delta(frame, seen, envelope, Keep::Last);
            Some(if text.may_begin {
                event.with_texts_over(TextsOver::Perhaps)
            } else {
                event
            })
        }
        _ if message.is_tool_result() => {
            writers.end();
            Some(Event {
                content: Content::Tool,
                // Where messages have no ids, the node that called the tool goes on in the same lane.
                texts_over: if is_nameless {
                    TextsOver::InLane
                } else {
                    TextsOver::None
                },
                ..Event::bare(Class::Tool)
            })
        }
        // A model that does not stream sends the whole message at once.
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

/// Classifies `[message]` with all of its text so far. A later one contains the text of an earlier
/// one.
fn partial(frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
    let (message, metadata) = message(frame.data())?;
    let class = match message.content() {
        Content::Tool => Class::Tool,
        // With or without text: the counts must not be dropped.
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
    // The key contains the class, so that a critical event never replaces one that may be dropped.
    let author = (message.kind, message.id, message.author);
    let key = text::key((author, class, metadata.key(seen)));
    Some(text::superseded(event, frame, key))
}

/// Classifies `[message]`, which repeats the partial messages.
fn complete(frame: &Frame<'_>) -> Option<Event> {
    let (message, _) = message(frame.data())?;
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

/// Classifies a snapshot of the state. The next one replaces it, unless it contains an interrupt,
/// which asks the user something.
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

/// Reads `[message, metadata]`, or `[message]`.
fn message(data: &[u8]) -> Option<(Message<'_>, Metadata<'_>)> {
    let mut reader = Reader::new(data);
    let (mut message, mut metadata) = (None, Metadata::default());
    if reader.kind()? != Kind::Array {
        return None;
    }
    reader.array(|reader, at| {
        match (at, &mut message) {
            (0, _) => message = Some(Message::read(reader)?),
            (1, _) => metadata = Metadata::read(reader)?,
            (_, Some(message)) => message.beside.same(b"more", reader.raw()?),
            (_, None) => reader.skip()?,
        }
        Some(())
    })?;
    reader.end()?;
    Some((message?, metadata))
}
