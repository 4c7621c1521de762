//! LangServe's `data` / `end` / `error` events, and `astream_events` objects, which are also sent
//! without event names.

use std::ops::Range;

use super::Dialect;
use super::beside::{Beside, Seen};
use super::first_frame::FirstFrame;
use super::message::{Message, Metadata};
use super::object::Object as Writer;
use super::reader::Reader;
use super::spec::{
    self, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, Sign,
};
use super::{librechat, text};
use crate::event::{Class, Content, Event, Keep, Side, Terminal, TextsOver, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "langserve",
    match_head: |head| {
        let ends = ["/stream", "/stream_log", "/stream_events"];
        Sign::Possible.when(ends.into_iter().any(|end| head.ends_with(end)))
    },
    match_first_frame,
    parser: |_| Box::<State>::default(),
    always_streams: true,
    reads_request_body: true,
    hide: HideFacts::MIXES_CALLS_WITH_TEXT,
    gen_ai: GenAi::AGENT,
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let status = if failure.is_timeout() { 504 } else { 502 };
    let error = Writer::new()
        .number("status_code", status)
        .text("message", failure.message);
    spec::block(framing, "error", &error.end())
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let event = first.word("event");
    if event.starts_with(b"on_") && !librechat::is_event(event) || first.has_array("ops") {
        return Sign::Certain;
    }
    let may_be = match first.name() {
        b"data" | b"end" => true,
        b"metadata" => !first.has("attempt"),
        _ => false,
    };
    // Any application may name its events like that. LangServe's own streams begin with `metadata`.
    let says_more = ["content", "event", "ops", "text"];
    let is_vague = first.name() == b"data"
        && first.is_object()
        && !says_more.into_iter().any(|member| first.has(member));
    Sign::Likely.when(may_be && !is_vague && first.is_understood(Dialect::LangServe))
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        self.frame(frame, seen)
    }
}

/// The state that is kept between `astream_events` objects.
#[derive(Debug, Default)]
pub(super) struct State {
    /// A hash of the id of the outermost run, once its start was seen.
    root: Option<u64>,
}

impl State {
    fn frame(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        match frame.name() {
            // This event has no data.
            b"end" => Some(Event::bare(Class::Done).ending(Terminal::Done)),
            b"error" => Some(Event::bare(Class::Error).ending(Terminal::Error)),
            b"metadata" => Some(Event::bare(Class::Structure)),
            b"data" => self.chunk(frame, seen),
            b"" if frame.data().starts_with(b"[DONE]") => {
                Some(Event::bare(Class::Done).ending(Terminal::Done))
            }
            b"" => self.bare(frame, seen),
            _ => None,
        }
    }

    /// Classifies an object of `astream_events`: `{"event","run_id","parent_ids","data",...}`.
    pub(super) fn astream(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        self.event(frame, seen, Object::read(frame.data())?)
    }

    /// Classifies an object without an event name. There is no `end` event either, so the end of
    /// the outermost run ends the stream. An application that forwards only some of the objects may
    /// leave out that run's start; then any object may be the last.
    fn bare(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let event = self.astream(frame, seen)?;
        Some(match self.root {
            Some(_) => event,
            None => event.ending(Terminal::MayEndWithInput),
        })
    }

    /// Classifies a chunk of the runnable's output, which may have any shape.
    fn chunk(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let mut reader = Reader::new(frame.data());
        if reader.kind()? != Kind::String {
            let object = Object::read(frame.data())?;
            return if let Some(patch) = object.patch {
                Some(of(Class::State, patch))
            } else if !object.event.is_empty() {
                self.event(frame, seen, object)
            } else {
                // A bare message: `/stream` of a model without a chain.
                let envelope = ("data", object.run_id, object.key(seen));
                let is_alone = !object.crowded && !object.has_data;
                let message = object.own;
                let added = Added::read(frame.data()).filter(|added| {
                    let is_message = !message.kind.is_empty() || added.texts == 1;
                    !(message.is_message() && is_message)
                });
                if let Some(added) = added {
                    return Some(added.event(frame));
                }
                message.is_message().then(|| {
                    let event = message.delta(frame, seen, envelope, Keep::First);
                    Event {
                        merge: event.merge.filter(|_| is_alone),
                        ..event
                    }
                })
            };
        }
        let range = reader.string()?.unwrap_or_default();
        reader.end()?;
        let event = text::event(frame, Class::Token, Content::Token, range);
        Some(text::joining(event, Keep::First, text::key("data")))
    }

    fn event(&mut self, frame: &Frame<'_>, seen: &mut Seen, object: Object<'_>) -> Option<Event> {
        let run = || Some(text::key(object.run_id));
        let starts_root = match object.parents {
            Parents::None => object.event.ends_with(b"_start"),
            Parents::Some => false,
            Parents::Unknown => object.event == b"on_chain_start",
        };
        if starts_root && self.root.is_none() {
            self.root = run();
        }
        let ends_root = object.event.ends_with(b"_end")
            && match object.parents {
                Parents::None => true,
                Parents::Some => false,
                Parents::Unknown => self.root == run(),
            };
        let is_chain = object.event == b"on_chain_end";
        let begins = object.event.ends_with(b"_start");
        let event = object.into_event(frame, seen)?;
        Some(match (ends_root, is_chain) {
            (false, _) if begins => event.ending(Terminal::Reopens),
            (false, _) => event,
            (true, true) => Event::bare(Class::Finish).ending(Terminal::MayEnd),
            // A model or a tool that runs without a chain.
            (true, false) => event.ending(Terminal::MayEnd),
        })
    }
}

const fn of(class: Class, content: Content) -> Event {
    Event {
        content,
        ..Event::bare(class)
    }
}

/// Whether a run has parent runs, as far as the object says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Parents {
    /// The run is the outermost one.
    None,
    Some,
    /// Older versions do not say.
    #[default]
    Unknown,
}

#[derive(Debug, Default)]
struct Object<'a> {
    event: &'a [u8],
    run_id: &'a [u8],
    parents: Parents,
    chunk: Message<'a>,
    /// The text of a chunk that is a string.
    plain: Option<Range<usize>>,
    /// The text of a chunk that repeats a model's text.
    repeat: Option<Range<usize>>,
    usage: Option<Usage>,
    /// The content that `ops` (`/stream_log`) add, if there are any.
    patch: Option<Content>,
    /// The object read as a message, as long as no `event` member was found.
    own: Message<'a>,
    metadata: Metadata<'a>,
    /// What must be equal before two objects are merged.
    beside: Beside,
    /// Whether there is a member `data`.
    has_data: bool,
    /// Whether there is something that a merge would lose.
    crowded: bool,
}

impl<'a> Object<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut object = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"event" => object.event = object.beside.word(reader, key)?,
                b"run_id" => object.run_id = object.beside.word(reader, key)?,
                b"parent_ids" => {
                    let raw = reader.raw()?;
                    object.beside.same(key, raw);
                    let mut reader = Reader::new(raw);
                    let is_array = reader.kind()? == Kind::Array;
                    object.parents = match reader.array(|reader, _| reader.skip())? {
                        _ if !is_array => Parents::Unknown,
                        0 => Parents::None,
                        _ => Parents::Some,
                    };
                }
                b"data" => {
                    object.has_data = true;
                    reader.object(|reader, key| {
                        match key {
                            b"chunk" if reader.kind()? == Kind::String => {
                                object.plain = reader.string()?;
                                object.repeat.clone_from(&object.plain);
                            }
                            b"chunk" => {
                                object.chunk = Message::read(reader)?;
                                // What has no type may have any members.
                                let is_message = !object.chunk.kind.is_empty();
                                object.repeat = object.chunk.only_text().filter(|_| is_message);
                            }
                            b"output" => {
                                object.crowded |= reader.clone().says_something()?;
                                object.usage = Message::read(reader)?.usage();
                            }
                            _ => object.beside.add(key, reader.raw()?),
                        }
                        Some(())
                    })?;
                }
                b"ops" => {
                    object.crowded |= reader.clone().says_something()?;
                    object.patch = patch(reader)?;
                }
                // Where in the graph the run is.
                b"metadata" => object.metadata = Metadata::read(reader)?,
                _ if object.event.is_empty() => object.own.member(reader, key)?,
                _ => object.beside.add(key, reader.raw()?),
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(object)
    }

    /// Returns a hash of what must be equal before two objects are merged.
    fn key(&self, seen: &mut Seen) -> (u64, u64) {
        (seen.key(&self.beside), self.metadata.key(seen))
    }

    fn into_event(self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        Some(match self.event {
            b"on_chat_model_stream" | b"on_llm_stream" => {
                let own = (self.own.kind, self.own.id, seen.key(&self.own.beside));
                let envelope = (self.event, self.run_id, own, self.key(seen));
                let is_alone = !self.crowded && !self.own.is_message();
                let event = match self.plain {
                    // A model that completes a text.
                    Some(range) => {
                        let event = text::event(frame, Class::Token, Content::Token, range)
                            .in_lane(text::key(self.run_id));
                        text::joining(event, Keep::First, text::key(envelope))
                    }
                    // A run is one message, whose id may change from chunk to chunk, and in its end event.
                    None => {
                        let chunk = self.chunk.of_run(self.run_id);
                        chunk.delta(frame, seen, envelope, Keep::First)
                    }
                };
                Event {
                    merge: event.merge.filter(|_| is_alone),
                    ..event
                }
            }
            b"on_chat_model_end" | b"on_llm_end" => Event {
                usage: (self.usage).map(|usage| text::of_call(usage, self.run_id)),
                ..Event::bare(Class::Usage)
            }
            .in_lane(text::key(self.run_id))
            .with_texts_over(TextsOver::InLane),
            // These repeat the model's text at each enclosing level.
            b"on_chain_stream" | b"on_parser_stream" => {
                let text = self.repeat.and_then(|range| frame.in_block(range));
                let side = match text {
                    Some(_) => Side::Answer,
                    // What else a chain puts out may have any shape.
                    None => Side::Data,
                };
                Event {
                    text,
                    side,
                    ..of(Class::State, Content::Other)
                }
                .in_lane(text::key((self.event, self.run_id)))
            }
            b"on_tool_start" | b"on_tool_end" | b"on_tool_error" => of(Class::Tool, Content::Tool),
            // The application's own data.
            b"on_custom_event" => of(Class::Opaque, Content::Other).on(Side::Application),
            event if event.starts_with(b"on_") => of(Class::State, Content::Other),
            _ => return None,
        })
    }
}

/// The members that repeat what the runnable was asked.
const INPUTS: [&[u8]; 5] = [b"input", b"inputs", b"prompt", b"query", b"question"];

/// What a chunk of a runnable adds that puts out an object: clients join the strings of each member.
#[derive(Debug, Default)]
struct Added<'a> {
    /// The last member with a string.
    name: &'a [u8],
    text: Range<usize>,
    /// How many there are.
    texts: usize,
    /// Whether there is something else.
    others: bool,
}

impl<'a> Added<'a> {
    /// Reads a chunk. Returns `None` if it adds no text.
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut added = Self::default();
        let mut reader = Reader::new(data);
        reader.object(|reader, key| {
            if reader.kind()? == Kind::String && !INPUTS.contains(&key) {
                added.name = key;
                added.text = reader.string()?.unwrap_or_default();
                added.texts += 1;
            } else {
                added.others |= reader.says_something()?;
            }
            Some(())
        })?;
        reader.end()?;
        (added.texts > 0).then_some(added)
    }

    fn event(self, frame: &Frame<'_>) -> Event {
        let name = text::key(("data", self.name));
        if self.others || self.texts > 1 {
            // Each member is a text of its own.
            return of(Class::State, Content::Token)
                .on(Side::Data)
                .in_lane(text::key("data"));
        }
        let (class, content) = match self.name {
            b"reasoning" | b"reasoning_content" | b"thinking" | b"thought" | b"thoughts" => {
                (Class::Reasoning, Content::Reasoning)
            }
            _ => (Class::Token, Content::Token),
        };
        let event = text::event(frame, class, content, self.text).in_lane(name);
        text::joining(event, Keep::First, name)
    }
}

/// Returns the content that a JSON patch adds. Every operation matters, so none may be dropped.
fn patch(reader: &mut Reader<'_>) -> Option<Option<Content>> {
    if reader.kind()? != Kind::Array {
        reader.skip()?;
        return Some(None);
    }
    let mut content = Content::Other;
    reader.array(|reader, _| {
        let (mut path, mut has_text): (&[u8], _) = (b"", false);
        reader.object(|reader, key| {
            match key {
                b"path" => path = reader.word()?,
                b"value" => has_text = reader.string()?.is_some_and(|range| !range.is_empty()),
                _ => reader.skip()?,
            }
            Some(())
        })?;
        if has_text && path.ends_with(b"/streamed_output_str/-") {
            content = Content::Token;
        }
        Some(())
    })?;
    Some(Some(content))
}
