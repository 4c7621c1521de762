//! Dialects: what a frame means, how a stream ends, and which bytes tell its client what.
//!
//! One file per dialect with one function `classify(&Frame) -> Event`; this file is the table that joins
//! them. A new dialect is a new file, an arm in each `match` here, and a row in `emit`.

mod anthropic;
mod convention;
pub mod detect;
pub mod emit;
mod langgraph;
mod langserve;
mod ollama;
mod openai_chat;

use std::fmt;

use crate::event::Event;
use crate::wire::{Frame, Framing};

/// A family of streams that Weir understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Anthropic Messages.
    Anthropic,
    /// Tutorial conventions: `{"type":"token",...}`, `event: tool_call`, plain text tokens.
    Convention,
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
    pub const ALL: [Self; 7] = [
        Self::Anthropic,
        Self::Convention,
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

    /// What `frame` means.
    pub fn classify(self, frame: &Frame) -> Event {
        match self {
            Self::Anthropic => anthropic::classify(frame),
            Self::Convention => convention::classify(frame),
            Self::LangGraph => langgraph::classify(frame),
            Self::LangServe => langserve::classify(frame),
            Self::Ollama => ollama::classify(frame),
            Self::OpenAiChat => openai_chat::classify(frame),
            Self::Opaque => Event::opaque(),
        }
    }

    /// Whether an end of input without a terminal event means that something is missing.
    pub const fn needs_terminal(self) -> bool {
        matches!(
            self,
            Self::Anthropic | Self::LangServe | Self::Ollama | Self::OpenAiChat
        )
    }

    /// What may be sent during silence: measured as harmless with the dialect's clients.
    pub const fn heartbeat(self, framing: Framing) -> Option<&'static [u8]> {
        match (framing, self) {
            (Framing::Sse, Self::Anthropic) => Some(b"event: ping\ndata: {\"type\":\"ping\"}\n\n"),
            // No blank line: with ids set, some clients would dispatch an empty event.
            (Framing::Sse, _) => Some(b":\n"),
            // Leading white space of the next JSON value; an empty line would be an error.
            (Framing::Ndjson, Self::Ollama) => Some(b" "),
            (Framing::Ndjson, _) => None,
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

/// A merge key from small parts: the kind of text and up to two numbers that must agree.
const fn key(kind: u8, first: u64, second: u64) -> u64 {
    ((kind as u64) << 56) ^ (first << 28) ^ second
}

/// A merge key from bytes that must agree (FNV-1a: no state, good enough for equality of neighbours).
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in *part {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = (hash ^ 0xff).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
pub(crate) fn frame(text: &str) -> Frame {
    let mut out = Vec::new();
    let framing = if text.starts_with('{') {
        Framing::Ndjson
    } else {
        Framing::Sse
    };
    let mut decoder = crate::wire::Decoder::new(framing, 1 << 20);
    decoder
        .feed(bytes::Bytes::copy_from_slice(text.as_bytes()), &mut out)
        .unwrap();
    assert_eq!(out.len(), 1, "{text:?}");
    out.remove(0)
}
