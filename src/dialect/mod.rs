//! Dialects: what a frame means, how a stream ends, and which bytes tell its client what.

use std::fmt;

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
