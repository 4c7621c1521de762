//! OpenAI Responses: named events whose payload repeats the name as `type` and has a sequence
//! number.
//!
//! The OpenAI Agents SDK wraps them. Servers that forward its events send `raw_response_event` with
//! the model's event under `data`, and also `run_item_stream_event` and
//! `agent_updated_stream_event`.

mod server_tool;

use std::ops::Range;

use super::beside::{Beside, Seen};
use super::first_frame::FirstFrame;
use super::object::Object;
use super::openai_chat;
use super::reader::Reader;
use super::request::{Members, RequestHead};
use super::spec::{
    self, BlockIndex, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, Sign,
};
use super::text;
use crate::event::{Class, Content, Event, Keep, LISTS, Side, Step, Terminal, TextsOver, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "openai_responses",
    match_head,
    match_first_frame,
    parser: |members| Box::new(State::new(members)),
    single_reply: is_api,
    refusal: Some(|refusal, _| openai_chat::error(refusal.code, refusal.message)),
    streams_on_request: true,
    hide: HideFacts {
        closes_texts: true,
        block_index: Some(BlockIndex {
            member: b"output_index",
            opened_by: b"\"response.output_item.added\"",
        }),
        ..HideFacts::NONE
    },
    gen_ai: GenAi {
        provider: Some("openai"),
        operation: Some(|_| "chat"),
        paths: &["/responses"],
    },
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, seen: &ErrorContext) -> Option<String> {
    if seen.wrapped {
        return spec::block(framing, "", &spec::plain_error(failure).end());
    }
    // The SDKs raise on the nested object only; they merely deliver the outer members, which other
    // clients read.
    let error = Object::new()
        .text("type", failure.code)
        .text("code", failure.code)
        .text("message", failure.message)
        .raw("param", "null");
    let number = seen.sequence.map_or(0, |last| last.saturating_add(1));
    let event = Object::new()
        .text("type", "error")
        .number("sequence_number", number)
        .text("code", failure.code)
        .text("message", failure.message)
        .raw("param", "null")
        .raw("error", &error.end());
    spec::block(framing, "error", &event.end())
}

/// Matches `/responses`, and requests that resume a stream.
fn match_head(head: &RequestHead<'_>) -> Sign {
    Sign::Certain.when(head.ends_with("/responses") || resumes(head))
}

/// Reports whether it is `GET /responses/R?stream=true`.
fn resumes(head: &RequestHead<'_>) -> bool {
    head.parts().nth(1) == Some("responses") && head.queries("stream=true")
}

/// Reports whether the path is that of OpenAI's API, `/v1/responses`, or Azure's, `/openai/responses`: what it answers is one
/// response. Servers of agents have `/responses` alone (MLflow's), and may forward every response of a run there, and their
/// own data after the last.
fn is_api(head: &RequestHead<'_>) -> bool {
    let mut parts = head.parts().skip(usize::from(resumes(head)));
    parts.next() == Some("responses") && matches!(parts.next(), Some("openai" | "v1"))
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let kind = first.word("type");
    let is_named = matches!(first.name(), b"" | b"message") || first.name() == kind;
    let is_error = kind == b"error" && first.has("sequence_number");
    let is_wrapped = wrapper(kind).is_some();
    Sign::Certain.when(is_named && (kind.starts_with(b"response.") || is_error || is_wrapped))
}

/// The state that is kept between events.
#[derive(Debug, Default)]
struct State {
    /// The sequence number of the last event. An error takes the next one.
    number: Option<u64>,
    /// Whether the events come from the Agents SDK, whose clients do not know the API's error
    /// event.
    wrapped: bool,
    /// Whether the response has called a tool of the agent: its output is part of the run, and takes its time.
    calls: bool,
    /// Whether the last response of the run is complete.
    completed: bool,
    /// The number of responses that began. Each counts its items from zero.
    responses: u64,
    /// Whether the stream is one response, and ends with it.
    alone: bool,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        if frame.data().starts_with(b"[DONE]") {
            return Some(Event::bare(Class::Done).ending(Terminal::Done));
        }
        let mut fields = Fields::read(frame.data())?;
        self.responses += u64::from(fields.kind == b"response.created");
        fields.response_number = self.responses;
        // Neither a run of the Agents SDK nor several responses are one, whatever the request says.
        self.alone &= fields.wrapper.is_empty() && self.responses <= 1;
        fields.alone = self.alone;
        self.number = fields.number.or(self.number);
        if let Some(event) = wrapper(fields.wrapper) {
            self.wrapped = true;
            return match event {
                Wrapper::Raw => match fields.event(frame, seen) {
                    Some(event) => Some(self.in_run(event, &fields)),
                    None => Some(of(Class::State, Content::Other)),
                },
                Wrapper::Item if fields.item_name.starts_with(b"tool_") => {
                    let event = of(Class::Tool, Content::Tool);
                    // A run may end with the output of a tool.
                    Some(if self.completed {
                        event.ending(Terminal::MayEndWithInput)
                    } else {
                        event
                    })
                }
                // The whole message again, a handoff, or a request for approval.
                Wrapper::Item => Some(of(Class::State, Content::Other)),
                Wrapper::Agent => Some(of(Class::State, Content::Other)),
            };
        }
        let event = fields.event(frame, seen)?;
        // An application may forward the events of each response of a run as they are.
        Some(if self.alone {
            event
        } else {
            self.in_run(event, &fields)
        })
    }

    fn note_varying(&mut self, varying: &[u8]) {
        let digits = std::str::from_utf8(varying).ok();
        self.number = digits
            .and_then(|digits| digits.parse().ok())
            .or(self.number);
    }

    fn error_context(&self) -> ErrorContext {
        ErrorContext {
            sequence: self.number,
            wrapped: self.wrapped,
            ..ErrorContext::default()
        }
    }
}

impl State {
    fn new(members: &Members) -> Self {
        Self {
            alone: members.has_single_reply(),
            ..Self::default()
        }
    }

    /// Returns an event of one response of a run. A response that called a tool may be the last one, but the run is
    /// silent for as long as the tool works.
    fn in_run(&mut self, event: Event, fields: &Fields<'_>) -> Event {
        match (fields.kind, event.terminal) {
            (b"response.created", _) => (self.calls, self.completed) = (false, false),
            (b"response.output_item.added" | b"response.output_item.done", _) => {
                self.calls |= server_tool::leaves_the_call_to_others(fields.item_kind);
            }
            (_, Some(Terminal::MayEnd)) => {
                self.completed = true;
                if self.calls {
                    return event.ending(Terminal::MayEndWithInput);
                }
            }
            _ => {}
        }
        event
    }
}

/// The event types of the Agents SDK.
#[derive(Clone, Copy, Debug)]
enum Wrapper {
    Agent,
    Item,
    Raw,
}

const fn wrapper(kind: &[u8]) -> Option<Wrapper> {
    Some(match kind {
        b"agent_updated_stream_event" => Wrapper::Agent,
        b"run_item_stream_event" => Wrapper::Item,
        b"raw_response_event" => Wrapper::Raw,
        _ => return None,
    })
}

const fn of(class: Class, content: Content) -> Event {
    Event {
        content,
        ..Event::bare(class)
    }
}

/// The members that any of the events may have.
#[derive(Debug, Default)]
struct Fields<'a> {
    wrapper: &'a [u8],
    /// The name of an item of the Agents SDK.
    item_name: &'a [u8],
    /// The id of the item that the event belongs to. Some gateways make a new one for each event.
    item: &'a [u8],
    /// The place of the item in the response, which is stable.
    output: Option<u64>,
    /// Which response of the stream it is.
    response_number: u64,
    /// Whether the stream is this response, and ends with it.
    alone: bool,
    /// The index of the part within the item.
    part: u64,
    kind: &'a [u8],
    number: Option<u64>,
    number_at: Option<Range<usize>>,
    delta: Option<Range<usize>>,
    usage: Option<Usage>,
    response: &'a [u8],
    /// The `type` of the item that the event opens or closes.
    item_kind: &'a [u8],
    /// What must be equal before two events are merged.
    beside: Beside,
    /// Whether there are log probabilities.
    lists: bool,
    /// Whether there is something that a merge would lose.
    crowded: bool,
}

impl<'a> Fields<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(data);
        // Members have no order: the wrapped event may stand before the type that says that there is one.
        let mut early = None;
        let is_object = reader.object(|reader, key| match key {
            b"data" if reader.kind()? == Kind::Object => {
                if wrapper(fields.kind).is_some() {
                    fields.wrapper = fields.kind;
                    reader.object(|reader, key| fields.member(reader, key))?;
                    return Some(());
                }
                early = Some(reader.clone());
                reader.skip()
            }
            b"name" => {
                let raw = reader.raw()?;
                fields.item_name = Reader::new(raw).word()?;
                fields.beside.same(key, raw);
                Some(())
            }
            _ => fields.member(reader, key),
        })?;
        reader.end()?;
        if fields.wrapper.is_empty() && wrapper(fields.kind).is_some() {
            fields.wrapper = fields.kind;
            if let Some(mut wrapped) = early {
                wrapped.object(|reader, key| fields.member(reader, key))?;
            }
        } else if let Some(mut other) = early {
            fields.member(&mut other, b"data")?;
        }
        is_object.then_some(fields)
    }

    fn member(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"type" => self.kind = reader.word()?,
            // Some gateways make a new one for each event.
            b"item_id" => {
                let raw = reader.raw()?;
                self.item = Reader::new(raw).word()?;
                self.beside.may_vary(key, raw);
            }
            b"output_index" => {
                let raw = reader.raw()?;
                self.output = Reader::new(raw).count()?;
                self.beside.same(key, raw);
            }
            b"content_index" | b"summary_index" => {
                self.part = self.beside.number(reader, key)?;
                self.beside.tag(u64::from(key == b"summary_index"));
            }
            b"sequence_number" => {
                let (number, at) = reader.count_at()?;
                (self.number, self.number_at) = (number, Some(at));
            }
            b"delta" if reader.kind()? == Kind::String => self.delta = reader.string()?,
            key if LISTS.contains(&key) => self.lists |= reader.says_something()?,
            b"response" => {
                self.crowded |= reader.clone().says_something()?;
                reader.object(|reader, key| {
                    match key {
                        b"usage" => self.usage = reader.usage()?,
                        b"id" => self.response = reader.word()?,
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
            }
            b"item" => {
                self.crowded |= reader.clone().says_something()?;
                reader.object(|reader, key| {
                    match key {
                        b"type" => self.item_kind = reader.word()?,
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
            }
            _ => self.beside.add(key, reader.raw()?),
        }
        Some(())
    }

    fn event(&self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let end = |class, certain, possible| Event {
            usage: self.usage.map(|usage| text::of_call(usage, self.response)),
            ..Event::bare(class).ending(if self.alone { certain } else { possible })
        };
        if self.kind == b"keepalive" {
            return Some(Event::bare(Class::Heartbeat));
        }
        let Some(kind) = self.kind.strip_prefix(b"response.") else {
            let is_error = self.kind == b"error" || frame.name() == b"error";
            return is_error.then(|| Event::bare(Class::Error).ending(Terminal::Error));
        };
        Some(match kind {
            b"output_text.delta" | b"refusal.delta" => {
                self.text(frame, seen, Class::Token, Content::Token)?
            }
            // The last two are older names.
            b"reasoning_text.delta"
            | b"reasoning_summary_text.delta"
            | b"reasoning.delta"
            | b"reasoning_summary.delta"
                if self.delta.is_some() =>
            {
                self.text(frame, seen, Class::Reasoning, Content::Reasoning)?
            }
            b"function_call_arguments.delta" | b"mcp_call_arguments.delta" => self
                .text(frame, seen, Class::Tool, Content::Tool)?
                .of_call(Step::GoesOn, 0, self.item_key()),
            b"function_call_arguments.done" | b"mcp_call_arguments.done" => {
                of(Class::Tool, Content::Tool).of_call(Step::Ends, 0, self.item_key())
            }
            // Their deltas are not JSON.
            b"custom_tool_call_input.delta" | b"code_interpreter_call_code.delta" => {
                self.text(frame, seen, Class::Tool, Content::Tool)?
            }
            b"completed" | b"incomplete" | b"cancelled" => {
                end(Class::Finish, Terminal::Done, Terminal::MayEnd)
            }
            b"failed" => end(Class::Error, Terminal::Error, Terminal::MayFail),
            b"created" => Event::bare(Class::Structure)
                .ending(Terminal::Reopens)
                .with_texts_over(TextsOver::All),
            b"queued" | b"in_progress" | b"compaction.compacting" => Event::bare(Class::Status),
            b"output_item.added" | b"output_item.done"
                if self.item_kind.ends_with(b"_call") || self.item_kind.starts_with(b"mcp_") =>
            {
                of(Class::Structure, Content::Tool).on(Side::Tool)
            }
            b"output_item.added" | b"output_item.done" if self.item_kind == b"reasoning" => {
                Event::bare(Class::Structure).on(Side::Reasoning)
            }
            kind if kind.starts_with(b"reasoning_") || kind.starts_with(b"reasoning.") => {
                Event::bare(Class::Structure).on(Side::Reasoning)
            }
            b"output_item.added"
            | b"output_item.done"
            | b"content_part.added"
            | b"content_part.done"
            | b"output_text.annotation.added"
            | b"refusal.done" => Event::bare(Class::Structure).in_lane(self.lane()),
            // These events repeat the text of the deltas.
            kind if kind.ends_with(b"_text.done") => {
                Event::bare(Class::Structure).in_lane(self.lane())
            }
            kind => server_tool::event(kind)?,
        })
    }

    /// Identifies the item: by its place, or by its id where there is no place.
    fn item_key(&self) -> u64 {
        match self.output {
            Some(place) => text::key((self.response_number, place)),
            None => text::key(self.item),
        }
    }

    fn lane(&self) -> u64 {
        text::key((self.item_key(), self.part))
    }

    fn text(
        &self,
        frame: &Frame<'_>,
        seen: &mut Seen,
        class: Class,
        content: Content,
    ) -> Option<Event> {
        let event = text::event(frame, class, content, self.delta.clone()?);
        let event = event.in_lane(self.lane());
        let beside = seen.key(&self.beside);
        if self.crowded {
            return Some(event);
        }
        // A merge keeps the last sequence number: a client that reconnects asks for the events
        // after it.
        let joined = text::joining(
            event,
            Keep::Last,
            text::key((self.wrapper, self.kind, self.item_key(), self.part, beside)),
        );
        let joined = text::with_lists(joined, self.lists);
        let varying = self.number_at.clone();
        Some(Event {
            varying: varying.and_then(|at| frame.in_block(at)),
            ..joined
        })
    }
}
