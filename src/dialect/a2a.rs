//! A2A streaming: JSON-RPC responses in SSE blocks, or only their results (the REST binding).
//!
//! Version 1.0 identifies the type of a result by its only member, version 0.3 by `kind`.
//!
//! A stream closes when its task is over. Where the task waits for the user, the specification leaves open whether it
//! closes, and the servers differ: it is not over until the body says so if the task waits for an authorization, which
//! is given elsewhere and then goes on in the same stream, or if a status says `"final": false` (0.3).

use std::ops::Range;

use http::header::{CONTENT_TYPE, HeaderName};

use super::beside::{Beside, Seen};
use super::first_frame::FirstFrame;
use super::object::Object;
use super::reader::Reader;
use super::request::{Members, RequestHead};
use super::spec::{
    self, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, Refusal, Sign,
};
use super::text;
use crate::event::{Class, Content, Event, Keep, Terminal};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "a2a",
    match_head,
    match_body: |members| {
        let methods: [&[u8]; 4] = [
            b"message/stream",
            b"tasks/resubscribe",
            b"SendStreamingMessage",
            b"SubscribeToTask",
        ];
        Sign::Certain.when(methods.contains(&members.word("method")))
    },
    match_first_frame,
    parser: |members| Box::new(State::new(members)),
    refusal: Some(refusal),
    reads_request_body: true,
    subscribes: |parts| parts.uri.path().ends_with(":subscribe"),
    // The message of a status, the parts that are no text, and the metadata of everything.
    hide: HideFacts {
        beside: &[b"data", b"message", b"metadata"],
        ..HideFacts::NONE
    },
    gen_ai: GenAi::AGENT,
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, seen: &ErrorContext) -> Option<String> {
    let message = failure.with_code();
    if let Some(call) = &seen.call {
        return spec::block(framing, "", &rpc_error(call, -32603, &message));
    }
    let (code, status) = if failure.is_timeout() {
        (504, "DEADLINE_EXCEEDED")
    } else {
        (503, "UNAVAILABLE")
    };
    let error = Object::new()
        .number("code", code)
        .text("message", &message)
        .text("status", status);
    let error = Object::new().raw("error", &error.end());
    spec::block(framing, "error", &error.end())
}

fn match_head(head: &RequestHead<'_>) -> Sign {
    const VERSION: HeaderName = HeaderName::from_static("a2a-version");
    let is_named = head.has(&VERSION) || head.lists(&CONTENT_TYPE, "application/a2a+json");
    let subscribes = head.ends_with(":subscribe") && head.contains("/tasks/");
    Sign::Certain.when(is_named || subscribes || head.ends_with("/message:stream"))
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    if first.is_line() || !first.is_object() || !matches!(first.name(), b"" | b"message") {
        return Sign::None;
    }
    match Fields::read(first.frame().data()) {
        Some(fields) if fields.rpc && fields.failed => Sign::Possible,
        Some(fields) => Sign::Certain.when(fields.payload.is_some() && !fields.vague()),
        None => Sign::None,
    }
}

/// The state that is kept between events.
#[derive(Debug)]
struct State {
    /// The id of the request, as JSON, which clients compare. `None` for the REST binding.
    call: Option<String>,
}

impl State {
    fn new(members: &Members) -> Self {
        Self {
            call: members.call_id().map(str::to_owned),
        }
    }
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let fields = Fields::read(frame.data())?;
        if fields.failed || frame.name() == b"error" {
            return Some(Event::bare(Class::Error).ending(Terminal::Error));
        }
        let payload = fields.payload?;
        if self.call.is_none() && fields.rpc {
            self.call = std::str::from_utf8(fields.id).ok().map(str::to_owned);
        }
        Some(event(frame, seen, payload, &fields))
    }

    fn error_context(&self) -> ErrorContext {
        ErrorContext {
            call: self.call.as_deref().map(Into::into),
            ..ErrorContext::default()
        }
    }
}

/// Returns a JSON-RPC error response. `call` is the id of the request, as JSON.
pub(super) fn rpc_error(call: &str, code: i32, message: &str) -> String {
    let error = Object::new()
        .raw("code", &code.to_string())
        .text("message", message);
    Object::new()
        .text("jsonrpc", "2.0")
        .raw("id", call)
        .raw("error", &error.end())
        .end()
}

fn refusal(refusal: &Refusal<'_>, members: &Members) -> String {
    rpc_error(
        members.call_id().unwrap_or("null"),
        -32603,
        &refusal.with_code(),
    )
}

const fn of(class: Class, content: Content) -> Event {
    Event {
        content,
        ..Event::bare(class)
    }
}

fn event(frame: &Frame<'_>, seen: &mut Seen, payload: Payload, fields: &Fields<'_>) -> Event {
    match payload {
        Payload::Artifact if !fields.append || fields.last => {
            let content = if fields.texts > 0 {
                Content::Token
            } else {
                Content::Other
            };
            let text = fields.text.clone().filter(|_| fields.texts == 1);
            Event {
                text: text.and_then(|range| frame.in_block(range)),
                ..of(Class::State, content)
            }
            .ending(Terminal::Reopens)
            .in_lane(text::key((fields.task, fields.artifact)))
        }
        Payload::Artifact => match fields.text.clone() {
            Some(range) if fields.texts == 1 && fields.parts == 1 => {
                let event = text::event(frame, Class::Token, Content::Token, range)
                    .in_lane(text::key((fields.task, fields.artifact)));
                let key = text::key((fields.task, fields.artifact, seen.key(&fields.beside)));
                text::joining(event, Keep::Last, key)
            }
            // Files, data, or several texts.
            _ => of(Class::State, Content::Other).ending(Terminal::Reopens),
        },
        // A stream of this kind has exactly one message, which is the whole answer.
        Payload::Message => of(Class::Structure, Content::Token).ending(Terminal::MayEnd),
        Payload::Status => {
            let class = match fields.progress {
                Progress::Unknown | Progress::Working => Class::State,
                Progress::Failed => Class::Error,
                Progress::Asks | Progress::Waits | Progress::Over => Class::Finish,
            };
            // Its message may be the text of the answer.
            Event {
                terminal: fields.progress.terminal(),
                ..of(class, Content::Other)
            }
        }
        // A snapshot of the task. If the task is already over, nothing more may follow.
        Payload::Task => Event {
            terminal: fields.progress.terminal(),
            ..of(Class::Structure, Content::None)
        },
    }
}

/// The type of a result.
#[derive(Clone, Copy, Debug)]
enum Payload {
    Artifact,
    Message,
    Status,
    Task,
}

impl Payload {
    const fn of(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"artifactUpdate" | b"artifact-update" => Self::Artifact,
            b"message" => Self::Message,
            b"statusUpdate" | b"status-update" => Self::Status,
            b"task" => Self::Task,
            _ => return None,
        })
    }
}

/// The progress of a task.
#[derive(Clone, Copy, Debug, Default)]
enum Progress {
    /// There is no state, or an unknown one.
    #[default]
    Unknown,
    /// The task was submitted, or the agent works on it.
    Working,
    Failed,
    /// The task waits for input of the user, which is another request.
    Asks,
    /// The task waits for something that is not a request, and then goes on in the same stream.
    Waits,
    /// The task is completed or cancelled, or its last event has come.
    Over,
}

impl Progress {
    /// Returns the progress that a `state` of either version means.
    fn of(state: &[u8]) -> Self {
        let word = state.strip_prefix(b"TASK_STATE_").unwrap_or(state);
        match &*word.to_ascii_lowercase() {
            b"failed" | b"rejected" => Self::Failed,
            b"completed" | b"canceled" | b"cancelled" => Self::Over,
            b"input_required" | b"input-required" => Self::Asks,
            b"auth_required" | b"auth-required" => Self::Waits,
            b"submitted" | b"working" => Self::Working,
            _ => Self::Unknown,
        }
    }

    /// Returns the progress if the event says whether it is the last one (0.3).
    const fn with_final(self, is_final: bool) -> Self {
        match (self, is_final) {
            (Self::Failed, _) => Self::Failed,
            (_, true) => Self::Over,
            (Self::Asks, false) => Self::Waits,
            (other, false) => other,
        }
    }

    /// Returns what the progress means for the end of the stream.
    const fn terminal(self) -> Option<Terminal> {
        Some(match self {
            Self::Unknown => return None,
            Self::Working => Terminal::Reopens,
            Self::Failed => Terminal::MayFail,
            Self::Asks | Self::Over => Terminal::MayEnd,
            Self::Waits => Terminal::MayEndWithInput,
        })
    }
}

/// The contents of one block.
#[derive(Debug, Default)]
struct Fields<'a> {
    rpc: bool,
    id: &'a [u8],
    failed: bool,
    payload: Option<Payload>,
    /// Whether there are members outside `result`, as in the REST binding.
    bare: bool,
    progress: Progress,
    /// Whether the event says that it is the last one, or that it is not.
    is_final: Option<bool>,
    append: bool,
    last: bool,
    task: &'a [u8],
    artifact: &'a [u8],
    text: Option<Range<usize>>,
    texts: usize,
    parts: usize,
    /// What must be equal before two updates are merged.
    beside: Beside,
}

impl<'a> Fields<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"jsonrpc" => {
                    fields.rpc = true;
                    fields.beside.same(key, reader.raw()?);
                }
                b"id" => {
                    fields.id = reader.raw()?;
                    fields.beside.same(key, fields.id);
                }
                b"error" => fields.failed |= reader.truthy()?,
                b"result" => {
                    fields.beside.tag(1);
                    reader.object(|reader, key| fields.result(reader, key))?;
                }
                _ => {
                    fields.bare = true;
                    fields.result(reader, key)?;
                }
            }
            Some(())
        })?;
        reader.end()?;
        if let Some(is_final) = fields.is_final {
            fields.progress = fields.progress.with_final(is_final);
        }
        is_object.then_some(fields)
    }

    /// Reports whether other dialects may send the same object, such as `{"message":...}` alone.
    const fn vague(&self) -> bool {
        self.bare && matches!(self.payload, Some(Payload::Message | Payload::Task))
    }

    /// Reads a member of a result: its only one (1.0), or one of those beside `kind` (0.3).
    fn result(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match Payload::of(key) {
            Some(payload) if self.payload.is_none() && reader.kind()? == Kind::Object => {
                self.payload = Some(payload);
                reader.object(|reader, key| self.member(reader, key))?;
                Some(())
            }
            _ => self.member(reader, key),
        }
    }

    fn member(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"kind" => {
                let raw = reader.raw()?;
                self.payload = Payload::of(Reader::new(raw).word()?);
                self.beside.same(key, raw);
            }
            b"taskId" => self.task = self.beside.word(reader, key)?,
            b"final" | b"append" | b"lastChunk" => {
                let raw = reader.raw()?;
                let is_true = Reader::new(raw).truthy()?;
                match key {
                    b"final" => self.is_final = Some(is_true),
                    b"append" => self.append = is_true,
                    _ => self.last = is_true,
                }
                self.beside.same(key, raw);
            }
            b"status" => {
                let raw = reader.raw()?;
                self.beside.same(key, raw);
                Reader::new(raw).object(|reader, key| {
                    match key {
                        b"state" => self.progress = Progress::of(reader.word()?),
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
            }
            b"artifact" => {
                reader.object(|reader, key| match key {
                    b"artifactId" => {
                        self.artifact = self.beside.word(reader, key)?;
                        Some(())
                    }
                    b"parts" => {
                        self.parts = reader.array(|reader, _| self.part(reader))?;
                        Some(())
                    }
                    _ => self.other(reader, key),
                })?;
            }
            _ => self.other(reader, key)?,
        }
        Some(())
    }

    fn part(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        reader.object(|reader, key| match key {
            b"text" if reader.kind()? == Kind::String => {
                self.text = reader.string()?;
                self.texts += 1;
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
