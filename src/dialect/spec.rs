//! The specification of a dialect: how it is recognised and parsed, its heartbeat, and its error
//! events.
//!
//! Each dialect is one file with one [`DialectSpec`]. All other code asks the specification.

use std::fmt::Debug;

use http::{HeaderMap, request};

use super::beside::Seen;
use super::first_frame::FirstFrame;
use super::object::Object;
use super::request::{Members, RequestHead};
use crate::event::Event;
use crate::wire::{Frame, Framing};

/// The specification of one dialect.
pub(super) struct DialectSpec {
    /// The word used in the configuration, in metrics and in logs.
    pub(super) word: &'static str,
    /// How surely the head of a request asks for it.
    pub(super) match_head: fn(&RequestHead<'_>) -> Sign,
    /// How surely the body of a request asks for it.
    pub(super) match_body: fn(&Members) -> Sign,
    /// How surely the head of a response announces it.
    pub(super) match_response: fn(&HeaderMap) -> Sign,
    /// How surely a stream that begins with this frame uses it.
    pub(super) match_first_frame: fn(&FirstFrame<'_>) -> Sign,
    /// Creates the parser of one stream, given what the request says about it.
    pub(super) parser: fn(&Members) -> Box<dyn Parser>,
    /// A content type for which its framing is neither SSE nor NDJSON, and that framing.
    pub(super) framing: Option<(&'static str, Framing)>,
    /// Whether its clients skip SSE comments.
    pub(super) comments: bool,
    /// The heartbeat: bytes that keep a silent stream alive and that its clients are known to
    /// accept between two frames.
    pub(super) heartbeat: fn(Framing) -> Option<&'static [u8]>,
    /// Whether a response is a stream if the request does not say which it wants.
    pub(super) always_streams: bool,
    /// The event that reports hidden activity to the client; `None` if its clients know no such
    /// event.
    pub(super) status: Option<fn(&str) -> String>,
    /// The event that tells the client what its queue has dropped, given the counts as a JSON object; `None` if its
    /// clients know no such event.
    pub(super) drop_event: Option<fn(&str) -> String>,
    /// The event that ends a failed stream. `None` if there is none in this framing: then only a
    /// truncated body shows the failure.
    pub(super) failure: fn(Framing, &Failure<'_>, &ErrorContext) -> Option<String>,
    /// The JSON of an error response, for a failure that is known before the head is sent.
    pub(super) refusal: Option<fn(&Refusal<'_>, &Members) -> String>,
    /// The framing of its streams, for a head that is sent before the upstream's head is known.
    pub(super) default_framing: Framing,
    /// Whether the body of a request must be read, because the body identifies the dialect where
    /// the head does not, or because an error repeats the id of the request.
    pub(super) reads_request_body: bool,
    /// Whether a response is a stream only if the body of the request asks for it, with `"stream": true` or
    /// `"response_mode": "streaming"`.
    pub(super) streams_on_request: bool,
    /// Whether its clients accept a whole answer wherever they accept a stream.
    pub(super) accepts_whole_answers: bool,
    /// Whether a request may have the member `stream_options`. Other APIs refuse members that they do not know.
    pub(super) takes_stream_options: bool,
    /// Whether the upstream call continues when the client of such a request disconnects.
    pub(super) survives_client: fn(&request::Parts) -> bool,
    /// Whether a request subscribes to whatever may happen: its stream may be silent for as long as it lasts.
    pub(super) subscribes: fn(&request::Parts) -> bool,
    /// Whether what such a request gets is one reply of a model and nothing else, so that the end of the reply is
    /// certainly the end of the stream. The parser is told through [`Members::has_single_reply`].
    pub(super) single_reply: fn(&RequestHead<'_>) -> bool,
    /// Whether it is a catch-all, which is recognised only if nothing more specific is.
    pub(super) generic: bool,
    /// What leakage control must know about its events.
    pub(super) hide: HideFacts,
    /// The attributes of the dialect in the GenAI semantic conventions.
    pub(super) gen_ai: GenAi,
    /// What its clients do with the ids of events.
    pub(super) resume_ids: ResumeIds,
    /// Whether its clients come back to the path in the field `Location` of the response to a POST.
    pub(super) follows_location: bool,
}

/// What the clients of a dialect do with ids that Weir gives its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeIds {
    /// Clients come back with the last id.
    Used,
    /// Clients skip ids.
    Skipped,
    /// Clients would fail on ids, or come back where nobody expects them.
    Never,
}

/// The defaults, which suit most dialects.
pub(super) const PLAIN: DialectSpec = DialectSpec {
    word: "",
    match_head: |_| Sign::None,
    match_body: |_| Sign::None,
    match_response: |_| Sign::None,
    match_first_frame: |_| Sign::None,
    parser: |_| Box::new(Unknown),
    framing: None,
    comments: true,
    heartbeat: comment,
    always_streams: false,
    status: None,
    drop_event: None,
    failure: plain_failure,
    refusal: None,
    default_framing: Framing::Sse,
    reads_request_body: false,
    streams_on_request: false,
    accepts_whole_answers: false,
    takes_stream_options: false,
    survives_client: |_| false,
    subscribes: |_| false,
    single_reply: |_| false,
    generic: false,
    hide: HideFacts::NONE,
    gen_ai: GenAi::NONE,
    resume_ids: ResumeIds::Skipped,
    follows_location: false,
};

/// The properties of a dialect's events on which leakage control depends.
#[derive(Clone, Copy, Debug)]
pub struct HideFacts {
    /// Whether each text is closed by an event of its own.
    pub closes_texts: bool,
    /// Whether one event may carry a tool call beside text, so that a tool event cannot be removed
    /// as a whole.
    pub mixes_calls_with_text: bool,
    /// Whether an event whose text was removed is kept, because it still has a place in its block.
    pub keeps_emptied_events: bool,
    /// The number by which clients keep blocks in a list: the blocks after a removed one move up.
    pub block_index: Option<BlockIndex>,
    /// The events that carry an event of the model's provider.
    pub carries: Option<Carries>,
    /// The top-level members in which events on [`Side::Application`](crate::event::Side) and
    /// [`Side::Data`](crate::event::Side) hold their data; empty if all of it is data.
    pub wraps: &'static [&'static [u8]],
    /// Members of other events, at any depth, that hold data of any shape.
    pub beside: &'static [&'static [u8]],
    /// Whether content may be flagged as a thought, and still have the marks of one.
    pub flags_thoughts: bool,
    /// The `name` of the application's event that asks the user something and may hold JSON in a string; empty if none is
    /// known.
    pub asks: &'static [u8],
}

impl HideFacts {
    /// The default.
    pub(super) const NONE: Self = Self {
        closes_texts: false,
        mixes_calls_with_text: false,
        keeps_emptied_events: false,
        block_index: None,
        carries: None,
        wraps: &[],
        beside: &[],
        flags_thoughts: false,
        asks: b"",
    };
    /// Each text is closed by an event of its own.
    pub(super) const CLOSES_TEXTS: Self = Self {
        closes_texts: true,
        ..Self::NONE
    };
    /// One event may carry a tool call beside text.
    pub(super) const MIXES_CALLS_WITH_TEXT: Self = Self {
        mixes_calls_with_text: true,
        ..Self::NONE
    };
}

/// Events that carry another event as it came from the model's provider.
#[derive(Clone, Copy, Debug)]
pub struct Carries {
    /// The `type` of these events.
    pub kind: &'static [u8],
    /// The top-level member that holds the other event.
    pub member: &'static [u8],
}

/// The numbering of a message's blocks in a dialect.
#[derive(Clone, Copy, Debug)]
pub struct BlockIndex {
    /// The top-level member that has the number.
    pub member: &'static [u8],
    /// The event type, with its quotes, that opens a block and so takes the next number.
    pub opened_by: &'static [u8],
}

/// Attributes of the
/// [GenAI semantic conventions](https://opentelemetry.io/docs/specs/semconv/gen-ai/).
#[derive(Clone, Copy, Debug)]
pub struct GenAi {
    /// `gen_ai.provider.name`.
    pub provider: Option<&'static str>,
    /// `gen_ai.operation.name`, for a response from this path.
    pub operation: Option<fn(&str) -> &'static str>,
    /// The ends of the paths at which a model is called; empty if the dialect defines none.
    pub paths: &'static [&'static str],
}

impl GenAi {
    /// No attributes.
    pub(super) const NONE: Self = Self {
        provider: None,
        operation: None,
        paths: &[],
    };
    /// An agent framework: no provider and no paths.
    pub(super) const AGENT: Self = Self {
        operation: Some(|_| "invoke_agent"),
        ..Self::NONE
    };
}

/// Returns `text_completion` for the legacy completion paths, otherwise `chat`.
pub(super) fn chat_or_completion(path: &str) -> &'static str {
    let completes = path.ends_with("/completions") && !path.ends_with("/chat/completions");
    if completes || path.ends_with("/api/generate") {
        "text_completion"
    } else {
        "chat"
    }
}

/// How certain a match is. The dialect with the most certain match wins; among equals, the first by
/// name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    /// No match.
    None,
    /// Other dialects may look the same.
    Possible,
    /// Few other dialects look the same.
    Likely,
    /// No other dialect looks the same.
    Certain,
}

impl Sign {
    /// Returns this sign if `holds`, otherwise [`Sign::None`].
    pub(super) const fn when(self, holds: bool) -> Self {
        if holds { self } else { Self::None }
    }
}

/// A parser of the frames of one stream, with the state that later frames need.
pub(super) trait Parser: Debug + Send {
    /// Returns the meaning of a frame, or `None` if it does not belong to this dialect. `seen` knows what stood beside
    /// the texts of earlier frames.
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event>;

    /// Returns what an error event after the frames so far must agree with.
    fn error_context(&self) -> ErrorContext {
        ErrorContext::default()
    }

    /// Reports whether end of input without a terminal event means that the stream is truncated.
    fn needs_terminal(&self) -> bool {
        true
    }

    /// Records the number or time of an event that was recognised without parsing it.
    fn note_varying(&mut self, _varying: &[u8]) {}

    /// Notes that an event in this lane has come more than once with the same envelope, and was recognised without
    /// parsing it.
    fn note_repeated(&mut self, _lane: u64) {}
}

/// Takes the place of a parser that is in use elsewhere.
#[derive(Debug)]
pub(super) struct StandIn {
    pub(super) error_context: ErrorContext,
    pub(super) needs_terminal: bool,
}

impl Parser for StandIn {
    fn classify(&mut self, _: &Frame<'_>, _: &mut Seen) -> Option<Event> {
        None
    }

    fn error_context(&self) -> ErrorContext {
        self.error_context.clone()
    }

    fn needs_terminal(&self) -> bool {
        self.needs_terminal
    }
}

/// What an error event must agree with: the parts of the stream that its client has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorContext {
    /// JSON-RPC: the id of the call that the stream responds to, as JSON. Clients compare it.
    pub(super) call: Option<Box<str>>,
    /// OpenAI Responses: the sequence number of the last event. The error takes the next one.
    pub(super) sequence: Option<u64>,
    /// OpenAI Agents SDK: its clients do not know the API's error event.
    pub(super) wrapped: bool,
    /// Conventions: the member that carries the text of tokens.
    pub(super) text_member: Option<&'static str>,
    /// Conventions: whether events are JSON objects.
    pub(super) typed: bool,
    /// Weir's native events: the number of the next event.
    pub(super) native: Option<u64>,
    /// Gemini: how much of the JSON array was sent.
    pub(super) array: ArrayPlace,
}

impl ErrorContext {
    /// Returns the context of native events, of which the next one has this number.
    pub fn of_native(self, next: u64) -> Self {
        Self {
            native: Some(next),
            ..self
        }
    }
}

/// How much of a JSON array was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ArrayPlace {
    /// Nothing.
    #[default]
    Start,
    /// The opening bracket.
    Opened,
    /// At least one element.
    Amid,
}

/// A failure after the head was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure<'a> {
    /// One of Weir's error codes.
    pub(super) code: &'a str,
    /// A sentence for the client.
    pub(super) message: &'a str,
}

impl Failure<'_> {
    /// Returns the message with the code before it, once: for dialects that have no place for the
    /// code.
    pub(super) fn with_code(&self) -> String {
        with_code(self.code, self.message)
    }

    /// Reports whether the failure is a timeout.
    pub(super) fn is_timeout(&self) -> bool {
        is_timeout(self.code)
    }
}

/// A failure before the head is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal<'a> {
    /// The status code of the response.
    pub(super) status: u16,
    /// One of Weir's error codes.
    pub(super) code: &'a str,
    /// A sentence for the client.
    pub(super) message: &'a str,
}

impl Refusal<'_> {
    /// Returns the message with the code before it, once.
    pub(super) fn with_code(&self) -> String {
        with_code(self.code, self.message)
    }

    /// Reports whether the failure is a timeout.
    pub(super) fn is_timeout(&self) -> bool {
        is_timeout(self.code)
    }
}

fn with_code(code: &str, message: &str) -> String {
    if message.starts_with(code) {
        message.to_owned()
    } else {
        format!("{code}: {message}")
    }
}

fn is_timeout(code: &str) -> bool {
    code.ends_with("timeout")
}

/// Returns one SSE block, or `None` in other framings.
pub(super) fn block(framing: Framing, name: &str, data: &str) -> Option<String> {
    match framing {
        Framing::Sse if name.is_empty() => Some(format!("data: {data}\n\n")),
        Framing::Sse => Some(format!("event: {name}\ndata: {data}\n\n")),
        Framing::JsonArray | Framing::Lines | Framing::Ndjson | Framing::Raw => None,
    }
}

/// Returns a comment as the heartbeat. No blank line follows it, because several clients take one
/// for an empty event.
pub(super) const fn comment(framing: Framing) -> Option<&'static [u8]> {
    match framing {
        Framing::Sse => Some(b":\n"),
        Framing::JsonArray => Some(b"\n"),
        Framing::Lines | Framing::Ndjson | Framing::Raw => None,
    }
}

/// Returns `{"type":"error",...}`, with the message under every name that clients without a
/// particular dialect read.
pub(super) fn plain_error(failure: &Failure<'_>) -> Object {
    Object::new()
        .text("type", "error")
        .text("error", failure.message)
        .text("message", failure.message)
        .text("code", failure.code)
}

/// Returns the error event for clients without a particular dialect.
fn plain_failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    block(framing, "error", &plain_error(failure).end())
}

/// A parser that recognises nothing: every event is critical and passes verbatim.
#[derive(Debug)]
pub(super) struct Unknown;

impl Parser for Unknown {
    fn classify(&mut self, _: &Frame<'_>, _: &mut Seen) -> Option<Event> {
        None
    }

    fn needs_terminal(&self) -> bool {
        false
    }
}
