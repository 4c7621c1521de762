//! Dialects: what a frame means, how a stream ends, and which bytes tell its client what.
//!
//! One file per dialect, all of one `spec`. To add one: its file, its line in the list below, and its folder of
//! fixtures in `tests/data` (see `docs/dialects.md`).

pub mod calls;
pub mod detect;

mod a2a;
mod adk;
mod ag_ui;
mod anthropic;
mod convention;
mod first_frame;
mod gemini;
mod langgraph;
mod langserve;
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
mod refusal;
mod repeat;
mod request;
mod spec;
mod text;
mod vercel_ui;
mod vercel_v4;

use std::fmt;

pub use refusal::refusal;
use repeat::Repeat;
pub use request::{KEYS, Members, RequestHead};
use spec::{DialectSpec, Failure, Parser};

use crate::event::{Class, Event};
use crate::wire::{Frame, Framing};

/// The list of dialects: each variant, and the file that speaks for it.
macro_rules! dialects {
    ($($(#[doc = $doc:literal])+ $name:ident: $file:ident,)+) => {
        /// A family of streams that Weir understands.
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
    /// Tutorial conventions: `{"type":"token",...}`, `event: tool_call`, plain text tokens.
    Convention: convention,
    /// Gemini `streamGenerateContent`, as SSE or as one JSON array.
    Gemini: gemini,
    /// LangGraph Platform / Agent Server.
    LangGraph: langgraph,
    /// LangServe `/stream`, `/stream_log`, `/stream_events`; `astream_events` objects.
    LangServe: langserve,
    /// MCP Streamable HTTP.
    Mcp: mcp,
    /// Ollama chat and generate, NDJSON.
    Ollama: ollama,
    /// Anything else: each event critical and verbatim.
    Opaque: opaque,
    /// OpenAI chat completions and everything that imitates them; legacy completions.
    OpenAiChat: openai_chat,
    /// OpenAI Responses; the events of the OpenAI Agents SDK.
    OpenAiResponses: openai_responses,
    /// Vercel AI SDK UI message stream, version 1.
    VercelUi: vercel_ui,
    /// Vercel AI SDK data stream of version 4: lines of a code and JSON.
    VercelV4: vercel_v4,
}

impl Dialect {
    /// The word used in the configuration, in metrics and in logs.
    pub const fn as_str(self) -> &'static str {
        self.spec().word
    }

    /// Position in [`Dialect::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The dialect that [`Dialect::as_str`] gives `word` for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.as_str() == word)
    }

    /// The framing of an answer of this content type (without parameters), if it is a stream of this dialect in
    /// a framing of its own.
    pub fn framing(self, content_type: &str) -> Option<Framing> {
        let (own, framing) = self.spec().framing?;
        own.eq_ignore_ascii_case(content_type).then_some(framing)
    }

    /// Whether its clients skip SSE comments: Google's Python client raises on one. NDJSON knows none,
    /// whatever the dialect.
    pub const fn tolerates_comments(self) -> bool {
        self.spec().comments
    }

    /// The bytes that keep a silent stream alive and that its clients are known to survive between two
    /// frames.
    pub fn heartbeat(self, framing: Framing) -> Option<&'static [u8]> {
        (self.spec().heartbeat)(framing)
    }

    /// The block that tells its clients what goes on unseen, if they know such an event.
    pub fn status(self, framing: Framing, words: &str) -> Option<String> {
        let write = self.spec().status?;
        (framing == Framing::Sse).then(|| write(words))
    }

    /// Whether every answer in it is a stream, whatever the request says.
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

/// Says what the frames of one stream mean.
///
/// It decodes nothing. A frame it does not understand is [`Class::Opaque`]: never dropped, never changed.
#[derive(Debug)]
#[repr(C)]
pub struct Classifier {
    repeat: Repeat,
    parser: Box<dyn Parser>,
    dialect: Dialect,
    /// What the last frame meant that had to be read.
    last: Event,
}

impl Classifier {
    /// At the start of a stream of `dialect` that was asked for with nothing remarkable.
    pub fn new(dialect: Dialect) -> Self {
        Self::of(dialect, &Members::default())
    }

    /// At the start of a stream of `dialect`, asked for with a body that has `members`.
    pub fn of(dialect: Dialect, members: &Members) -> Self {
        Self {
            repeat: Repeat::default(),
            parser: (dialect.spec().parser)(members),
            dialect,
            last: Event::opaque(),
        }
    }

    /// The meaning of the next frame.
    pub fn classify(&mut self, frame: &Frame<'_>) -> &Event {
        if self.repeat.recognises(frame) {
            if let Some(varying) = self.repeat.varying() {
                self.parser.note_varying(varying.of(&frame.block));
            }
            return self.repeat.meaning();
        }
        self.last = self.read(frame);
        self.repeat.learn(frame, &self.last);
        &self.last
    }

    /// What a frame means that is of another dialect than the others.
    #[inline(never)]
    pub(crate) fn classify_foreign(&mut self, dialect: Dialect, frame: &Frame<'_>) -> &Event {
        self.last = Self::new(dialect).read(frame);
        &self.last
    }

    /// The same, found by reading all of it.
    #[inline(never)]
    fn read(&mut self, frame: &Frame<'_>) -> Event {
        self.parser.classify(frame).unwrap_or_else(|| {
            if frame.data().is_empty() {
                Event::bare(Class::Opaque)
            } else {
                Event::opaque()
            }
        })
    }

    /// The dialect it was made for.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether an end of input without a terminal event means that the answer was cut.
    pub fn needs_terminal(&self) -> bool {
        self.parser.needs_terminal()
    }

    /// The bytes that end this stream as failed. `None` if the dialect has none in this framing: then only a broken
    /// body tells the client.
    ///
    /// To be written between two blocks only, and never after a terminal.
    pub fn failure(&self, framing: Framing, code: &str, message: &str) -> Option<String> {
        self.parser.failure(framing, &Failure { code, message })
    }
}

/// What a route expects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Decide from the request, the response head and the first event.
    #[default]
    Auto,
    /// Always this one.
    Fixed(Dialect),
}

#[cfg(test)]
mod tests;
