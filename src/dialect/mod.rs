//! Dialects: the meaning of frames, the end of streams, and the bytes of errors and heartbeats.
//!
//! Each dialect is one file with one `DialectSpec` (see `spec.rs`). A new dialect needs such a
//! file, a line in the list below, an arm in each table that the compiler then asks for, and a folder
//! of fixtures in `tests/data` (see `docs/dialects.md`).

pub mod calls;
pub mod detect;

mod a2a;
mod abridge;
mod adk;
mod ag_ui;
mod anthropic;
mod beside;
mod cohere;
mod convention;
mod dify;
mod first_frame;
mod gemini;
mod hash;
mod langgraph;
mod langserve;
mod librechat;
mod mastra;
mod mcp;
mod message;
pub mod model;
mod object;
mod ollama;
mod opaque;
mod openai_chat;
mod openai_responses;
mod parts;
mod protocol;
mod reader;
mod rejection_body;
mod repeat;
mod request;
mod spec;
mod strands;
mod text;
mod tgi;
mod turn;
mod vercel_ui;
mod vercel_v4;
mod writers;

use std::fmt;

use beside::Seen;
pub use beside::names_writer;
pub use rejection_body::refusal;
use repeat::Repeat;
pub use request::{KEYS, Members, RequestHead};
pub use spec::{BlockIndex, Carries, ErrorContext, GenAi, HideFacts, ResumeIds};
use spec::{DialectSpec, Failure, Parser, StandIn};

use crate::event::{Class, Event, TextsOver};
use crate::wire::{Frame, Framing};

/// Defines [`Dialect`] from the list of variants and their files.
macro_rules! dialects {
    ($($(#[doc = $doc:literal])+ $name:ident: $file:ident,)+) => {
        /// A streaming protocol that Weir understands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Dialect {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Dialect {
            /// Every dialect, in the order of [`Dialect::index`].
            pub const ALL: [Self; [$(stringify!($name)),+].len()] = [$(Self::$name),+];

            const fn spec(self) -> &'static DialectSpec {
                match self {
                    $(Self::$name => &$file::SPEC,)+
                }
            }
        }
    };
}

dialects! {
    /// A2A streaming, JSON-RPC and REST, versions 0.3 and 1.0.
    A2a: a2a,
    /// Google ADK, `/run_sse`.
    Adk: adk,
    /// AG-UI.
    AgUi: ag_ui,
    /// Anthropic Messages.
    Anthropic: anthropic,
    /// Cohere chat, version 2.
    Cohere: cohere,
    /// Tutorial conventions: `{"type":"token",...}`, `event: tool_call`, plain text tokens.
    Convention: convention,
    /// Dify: chats, completions, agents, workflows.
    Dify: dify,
    /// Gemini `streamGenerateContent`, as SSE or as one JSON array.
    Gemini: gemini,
    /// LangGraph Platform / Agent Server.
    LangGraph: langgraph,
    /// LangServe `/stream`, `/stream_log`, `/stream_events`; `astream_events` objects.
    LangServe: langserve,
    /// LibreChat: the steps and deltas of its agents.
    LibreChat: librechat,
    /// Mastra: chunks of agents, networks and workflows.
    Mastra: mastra,
    /// MCP Streamable HTTP.
    Mcp: mcp,
    /// Ollama chat and generate, NDJSON.
    Ollama: ollama,
    /// Anything else: every event is critical and passes verbatim.
    Opaque: opaque,
    /// OpenAI chat completions, legacy completions, and compatible servers.
    OpenAiChat: openai_chat,
    /// OpenAI Responses; the events of the OpenAI Agents SDK.
    OpenAiResponses: openai_responses,
    /// Strands Agents' `stream_async` events; Bedrock's Converse events.
    Strands: strands,
    /// Hugging Face text-generation-inference, `/generate_stream`.
    Tgi: tgi,
    /// Vercel AI SDK UI message stream, version 1.
    VercelUi: vercel_ui,
    /// Vercel AI SDK data stream of version 4: lines of a code and JSON.
    VercelV4: vercel_v4,
}

impl Dialect {
    /// Returns the word used in the configuration, in metrics and in logs.
    pub const fn as_str(self) -> &'static str {
        self.spec().word
    }

    /// Returns the position in [`Dialect::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the dialect whose [`Dialect::as_str`] is `word`.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.as_str() == word)
    }

    /// Returns the framing of a response with this content type (without parameters), if the
    /// dialect has a framing of its own for it.
    pub fn framing(self, content_type: &str) -> Option<Framing> {
        let (own, framing) = self.spec().framing?;
        own.eq_ignore_ascii_case(content_type).then_some(framing)
    }

    /// Says what its clients do with the ids of events.
    pub const fn resume_ids(self) -> ResumeIds {
        self.spec().resume_ids
    }

    /// Reports whether its clients come back to the path in `Location`.
    pub const fn follows_location(self) -> bool {
        self.spec().follows_location
    }

    /// Reports whether its clients skip SSE comments: Google's Python client raises on one. NDJSON
    /// has no comments in any dialect.
    pub const fn tolerates_comments(self) -> bool {
        self.spec().comments
    }

    /// Returns the heartbeat: bytes that keep a silent stream alive and that its clients are known
    /// to accept between two frames.
    pub fn heartbeat(self, framing: Framing) -> Option<&'static [u8]> {
        (self.spec().heartbeat)(framing)
    }

    /// Returns the event that reports hidden activity to the client, if its clients know such an
    /// event.
    pub fn status(self, framing: Framing, words: &str) -> Option<String> {
        let write = self.spec().status?;
        (framing == Framing::Sse).then(|| write(words))
    }

    /// Reports whether its clients know an event that tells what was dropped.
    pub const fn has_drop_event(self) -> bool {
        self.spec().drop_event.is_some()
    }

    /// Returns the event that tells the client what its queue has dropped, as an SSE block, if its clients know such an
    /// event. `counts` is a JSON object.
    pub fn drop_event(self, counts: &str) -> Option<String> {
        self.spec().drop_event.map(|write| write(counts))
    }

    /// Returns the event that ends a failed stream, given what its client has `seen`. Returns
    /// `None` if the dialect has no such event in this framing: then only a truncated body shows
    /// the failure.
    ///
    /// The event may be written only between two blocks, and never after a terminal event.
    pub fn failure(
        self,
        framing: Framing,
        seen: &ErrorContext,
        code: &str,
        message: &str,
    ) -> Option<String> {
        (self.spec().failure)(framing, &Failure { code, message }, seen)
    }

    /// Returns the framing of its streams, for a head that is sent before the upstream's head is
    /// known.
    pub const fn default_framing(self) -> Framing {
        self.spec().default_framing
    }

    /// Reports whether the body of its requests must be read, because the body identifies the
    /// dialect where the head does not, or because an error repeats the id of the request.
    pub const fn reads_request_body(self) -> bool {
        self.spec().reads_request_body
    }

    /// Reports whether a response is a stream only if the body of the request asks for it.
    pub const fn streams_on_request(self) -> bool {
        self.spec().streams_on_request
    }

    /// Reports whether its clients accept a whole answer wherever they accept a stream.
    pub const fn accepts_whole_answers(self) -> bool {
        self.spec().accepts_whole_answers
    }

    /// Reports whether a request may have the member `stream_options`.
    pub const fn takes_stream_options(self) -> bool {
        self.spec().takes_stream_options
    }

    /// Reports whether the upstream call continues when the client of this request disconnects.
    pub fn survives_client(self, parts: &http::request::Parts) -> bool {
        (self.spec().survives_client)(parts)
    }

    /// Reports whether a request subscribes to whatever may happen: its stream may be silent for as long as it lasts.
    pub fn subscribes(self, parts: &http::request::Parts) -> bool {
        (self.spec().subscribes)(parts)
    }

    /// Reports whether what such a request gets is one reply of a model and nothing else. The stream must be told
    /// through [`Members::note_single_reply`].
    pub fn has_single_reply(self, head: &RequestHead<'_>) -> bool {
        (self.spec().single_reply)(head)
    }

    /// Reports whether it is a catch-all that anything more specific overrides.
    pub const fn is_generic(self) -> bool {
        self.spec().generic
    }

    /// Reports whether it is the dialect of unrecognised streams: every event is critical and
    /// passes verbatim.
    pub const fn is_opaque(self) -> bool {
        matches!(self, Self::Opaque)
    }

    /// Returns what leakage control must know about its events.
    pub const fn hide_facts(self) -> &'static HideFacts {
        &self.spec().hide
    }

    /// Returns its attributes in the GenAI semantic conventions.
    pub const fn gen_ai(self) -> &'static GenAi {
        &self.spec().gen_ai
    }

    /// Reports whether a response is a stream if the request does not say which it wants.
    pub const fn always_streams(self) -> bool {
        self.spec().always_streams
    }

    fn parser(self) -> Box<dyn Parser> {
        (self.spec().parser)(&Members::default())
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A classifier of the frames of one stream.
///
/// It decodes nothing. A frame that it does not understand is [`Class::Opaque`]: never dropped,
/// never changed.
#[derive(Debug)]
#[repr(C)]
pub struct Classifier {
    repeat: Repeat,
    parser: Box<dyn Parser>,
    dialect: Dialect,
    /// What stood beside the texts so far.
    seen: Seen,
}

impl Classifier {
    /// Creates a classifier for a new stream of `dialect`, without members of the request body.
    pub fn new(dialect: Dialect) -> Self {
        Self::of(dialect, &Members::default())
    }

    /// Creates a classifier for a new stream of `dialect` about which the request says `members`.
    pub fn of(dialect: Dialect, members: &Members) -> Self {
        Self {
            repeat: Repeat::default(),
            parser: (dialect.spec().parser)(members),
            dialect,
            seen: Seen::default(),
        }
    }

    /// Returns a classifier that says about the stream so far what this one says, and knows no further frame.
    pub fn stand_in(&self) -> Self {
        let stand_in = StandIn {
            error_context: self.error_context(),
            needs_terminal: self.needs_terminal(),
        };
        Self {
            parser: Box::new(stand_in),
            ..Self::new(self.dialect)
        }
    }

    /// Returns the meaning of the next frame. `parsed` is room for it: the meaning lies there if the frame has to be
    /// parsed, so that a stream need not keep such room between its events.
    pub fn classify<'e>(
        &'e mut self,
        frame: &Frame<'_>,
        parsed: &'e mut Option<Event>,
    ) -> &'e Event {
        if self.recognises(frame) {
            return self.meaning();
        }
        self.classify_unknown(frame, parsed)
    }

    /// Reports whether the next frame differs only in its text from one that came before. If so,
    /// [`Classifier::meaning`] is its meaning, and it has been classified; if not, [`Classifier::classify_unknown`]
    /// must follow.
    #[expect(
        clippy::inline_always,
        reason = "a call for each event costs 10 instructions"
    )]
    #[inline(always)]
    pub(crate) fn recognises(&mut self, frame: &Frame<'_>) -> bool {
        let is_known = self.repeat.recognises(frame);
        if is_known && let Some(varying) = self.repeat.varying() {
            self.parser.note_varying(varying.of(&frame.block));
        }
        is_known
    }

    /// Returns the meaning of the frame that was recognised.
    #[inline]
    pub(crate) const fn meaning(&self) -> &Event {
        self.repeat.meaning()
    }

    /// Returns the meaning of a frame that was not recognised, which then lies in `parsed`.
    #[expect(
        clippy::inline_always,
        reason = "a call for each event costs 10 instructions"
    )]
    #[inline(always)]
    pub(crate) fn classify_unknown<'e>(
        &mut self,
        frame: &Frame<'_>,
        parsed: &'e mut Option<Event>,
    ) -> &'e Event {
        if self.repeat.was_repeated() {
            self.seen.repeated();
            self.parser.note_repeated(self.repeat.meaning().lane);
        }
        let event = parsed.insert(self.read(frame));
        let begins_text = event.class == Class::Structure && event.text.is_some();
        if begins_text || event.texts_over != TextsOver::None || event.terminal.is_some() {
            // A text begins, and pieces without an id go on with it; or one is over, and the parser must see where the
            // next one begins.
            self.repeat.forget();
        }
        self.repeat.learn(frame, event);
        event
    }

    /// Parses the whole frame to find its meaning, whatever came before.
    #[inline(never)]
    pub(crate) fn read(&mut self, frame: &Frame<'_>) -> Event {
        let read = self.parser.classify(frame, &mut self.seen);
        let need = self.seen.take_need();
        match read {
            Some(event) if event.class != Class::Opaque => {
                text::framed(text::needed(event, need), frame)
            }
            _ if !self.dialect.is_opaque() && detect::is_ping(frame) => {
                Event::bare(Class::Heartbeat)
            }
            Some(event) => event,
            None if frame.data().is_empty() => Event::bare(Class::Opaque),
            None => Event::opaque(),
        }
    }

    /// Returns the dialect of the classifier.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Reports whether end of input without a terminal event means that the stream is truncated.
    pub fn needs_terminal(&self) -> bool {
        self.parser.needs_terminal()
    }

    /// Returns what an error event after the frames so far must agree with.
    pub fn error_context(&self) -> ErrorContext {
        self.parser.error_context()
    }
}

/// The dialect that a route expects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Detected from the request, the response head and the first event.
    #[default]
    Auto,
    /// Always this dialect.
    Fixed(Dialect),
}

#[cfg(test)]
mod tests;
