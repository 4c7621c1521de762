//! Dialects: what a frame means, how a stream ends, and which bytes tell its client what.

pub mod detect;
pub mod emit;

mod anthropic;
mod convention;
mod gemini;
mod langgraph;
mod langserve;
mod message;
mod ollama;
mod openai_chat;
mod reader;
mod repeat;
mod text;

use std::fmt;

use repeat::Repeat;

use crate::event::{Class, Event};
use crate::wire::{Frame, Framing};

/// Says what the frames of one stream mean.
///
/// It decodes nothing and allocates nothing. A frame it does not understand is [`Class::Opaque`]: never
/// dropped, never changed.
#[derive(Debug)]
#[repr(C)]
pub struct Classifier {
    dialect: Dialect,
    repeat: Repeat,
    astream: langserve::State,
    openai_chat: openai_chat::State,
    /// What the last frame meant that had to be read.
    last: Event,
}

impl Classifier {
    /// At the start of a stream of `dialect`.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            astream: langserve::State::default(),
            openai_chat: openai_chat::State::default(),
            repeat: Repeat::default(),
            last: Event::opaque(),
        }
    }

    /// The meaning of the next frame.
    pub fn classify(&mut self, frame: &Frame<'_>) -> &Event {
        if self.repeat.recognises(frame) {
            return self.repeat.meaning();
        }
        self.last = self.read(frame);
        self.repeat.learn(frame, &self.last);
        &self.last
    }

    /// What a frame means that is of another dialect than the others.
    #[inline(never)]
    pub(crate) fn classify_stranger(&mut self, dialect: Dialect, frame: &Frame<'_>) -> &Event {
        self.last = Self::new(dialect).read(frame);
        &self.last
    }

    /// The same, found by reading all of it.
    #[inline(never)]
    fn read(&mut self, frame: &Frame<'_>) -> Event {
        let event = match self.dialect {
            Dialect::Anthropic => anthropic::classify(frame),
            Dialect::Convention => convention::classify(frame),
            Dialect::Gemini => gemini::classify(frame),
            Dialect::LangGraph => langgraph::classify(frame, &mut self.astream),
            Dialect::LangServe => self.astream.classify(frame),
            Dialect::Ollama => ollama::classify(frame),
            Dialect::OpenAiChat => self.openai_chat.classify(frame),
            Dialect::Opaque => None,
        };
        event.unwrap_or_else(|| {
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
}

/// A family of streams that Weir understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Anthropic Messages.
    Anthropic,
    /// Tutorial conventions: `{"type":"token",...}`, `event: tool_call`, plain text tokens.
    Convention,
    /// Gemini `streamGenerateContent`, as SSE.
    Gemini,
    /// LangGraph Platform / Agent Server.
    LangGraph,
    /// LangServe `/stream`, `/stream_log`, `/stream_events`.
    LangServe,
    /// Ollama chat and generate, NDJSON.
    Ollama,
    /// OpenAI chat completions and everything that imitates them.
    OpenAiChat,
    /// Anything else: each event critical and verbatim.
    Opaque,
}

impl Dialect {
    /// Every dialect, in the order of [`Dialect::index`].
    pub const ALL: [Self; 8] = [
        Self::Anthropic,
        Self::Convention,
        Self::Gemini,
        Self::LangGraph,
        Self::LangServe,
        Self::Ollama,
        Self::OpenAiChat,
        Self::Opaque,
    ];

    /// The word used in the configuration, in metrics and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Convention => "convention",
            Self::Gemini => "gemini",
            Self::LangGraph => "langgraph",
            Self::LangServe => "langserve",
            Self::Ollama => "ollama",
            Self::OpenAiChat => "openai_chat",
            Self::Opaque => "opaque",
        }
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

    /// Whether an end of input without a terminal event means that the answer was cut.
    pub const fn needs_terminal(self) -> bool {
        match self {
            Self::Anthropic | Self::Gemini | Self::LangServe | Self::Ollama | Self::OpenAiChat => {
                true
            }
            Self::Convention | Self::LangGraph | Self::Opaque => false,
        }
    }

    /// Whether its clients skip SSE comments: Google's Python client raises on one. NDJSON knows none,
    /// whatever the dialect.
    pub const fn tolerates_comments(self) -> bool {
        !matches!(self, Self::Gemini | Self::Ollama)
    }

    /// The bytes that keep a silent stream alive and that its clients are known to survive between two
    /// frames. A comment has no blank line: several clients take one for an empty event.
    pub const fn heartbeat(self, framing: Framing) -> Option<&'static [u8]> {
        match (framing, self) {
            (Framing::Ndjson, Self::Ollama) => Some(b" "),
            (Framing::Ndjson | Framing::Raw, _) => None,
            (Framing::Sse, Self::Anthropic) => Some(b"event: ping\ndata: {\"type\":\"ping\"}\n\n"),
            (Framing::Sse, Self::Gemini) => Some(b"\n"),
            (Framing::Sse, _) => Some(b":\n"),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
