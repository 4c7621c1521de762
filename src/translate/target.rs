//! What a stream may be translated to.

use super::writer::Writer;
use super::writer::ag_ui::AgUi;
use super::writer::ai_sdk::AiSdk;
use super::writer::anthropic::Anthropic;
use super::writer::events::Events;
use super::writer::openai_chat::OpenAiChat;
use crate::dialect::Dialect;
use crate::wire::Framing;

/// What a stream is translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// AG-UI.
    AgUi,
    /// The UI message stream of the Vercel AI SDK.
    AiSdk,
    /// Anthropic Messages.
    Anthropic,
    /// Native events, as SSE.
    Events,
    /// Native events, as NDJSON.
    Ndjson,
    /// OpenAI chat completions.
    OpenAiChat,
}

impl Target {
    /// Every target, by name.
    pub const ALL: [Self; 6] = [
        Self::AgUi,
        Self::AiSdk,
        Self::Anthropic,
        Self::Events,
        Self::Ndjson,
        Self::OpenAiChat,
    ];

    /// Returns the word of the configuration and of clients.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgUi => "ag-ui",
            Self::AiSdk => "ai-sdk",
            Self::Anthropic => "anthropic",
            Self::Events => "events",
            Self::Ndjson => "ndjson",
            Self::OpenAiChat => "openai-chat",
        }
    }

    /// Returns the target with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.as_str() == name)
    }

    /// Returns the dialect that its clients know.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::AgUi => Dialect::AgUi,
            Self::AiSdk => Dialect::VercelUi,
            Self::Anthropic => Dialect::Anthropic,
            Self::Events | Self::Ndjson => Dialect::Convention,
            Self::OpenAiChat => Dialect::OpenAiChat,
        }
    }

    /// Returns its framing.
    pub const fn framing(self) -> Framing {
        match self {
            Self::Ndjson => Framing::Ndjson,
            _ => Framing::Sse,
        }
    }

    /// Returns a writer for a stream of a source in `dialect` that begins at this Unix time in seconds.
    pub(super) fn writer(self, dialect: Dialect, began: u64) -> Box<dyn Writer> {
        match self {
            Self::AgUi => Box::<AgUi>::default(),
            Self::AiSdk => Box::<AiSdk>::default(),
            Self::Anthropic => Box::<Anthropic>::default(),
            Self::Events => Box::new(Events::new(dialect.as_str(), false)),
            Self::Ndjson => Box::new(Events::new(dialect.as_str(), true)),
            Self::OpenAiChat => Box::new(OpenAiChat::new(began)),
        }
    }
}
