//! What a stream may be translated to.

use std::sync::Arc;

use super::ensemble::{Voice, Voiced};
use super::raw;
use super::status::Statuses;
use super::writer::Writer;
use super::writer::ag_ui::AgUi;
use super::writer::ai_sdk::AiSdk;
use super::writer::anthropic::Anthropic;
use super::writer::events::Events;
use super::writer::openai_chat::OpenAiChat;
use super::writer::whole::Form;
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

    /// Returns the position in [`Target::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

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

    /// Reports whether it has words for what is going on.
    pub const fn has_status(self) -> bool {
        matches!(self, Self::AgUi | Self::AiSdk | Self::Events | Self::Ndjson)
    }

    /// Reports whether its clients may be told what is going on by reasoning text.
    pub const fn has_status_text(self) -> bool {
        matches!(self, Self::OpenAiChat)
    }

    /// Returns what its clients are told about what is going on, of what is wanted.
    pub const fn statuses(self, wanted: Statuses) -> Statuses {
        match wanted {
            Statuses::Visible | Statuses::Text if self.has_status() => Statuses::Visible,
            Statuses::Text if self.has_status_text() => Statuses::Text,
            _ => Statuses::Names,
        }
    }

    /// Reports whether it has words for several agents in one stream.
    pub const fn has_agents(self) -> bool {
        !matches!(self, Self::Anthropic)
    }

    /// Returns its framing.
    pub const fn framing(self) -> Framing {
        match self {
            Self::Ndjson => Framing::Ndjson,
            _ => Framing::Sse,
        }
    }

    /// Returns the form of a whole answer.
    pub(super) const fn form(self) -> Form {
        match self {
            Self::AgUi => Form::AgUi,
            Self::AiSdk => Form::AiSdk,
            Self::Anthropic => Form::Anthropic,
            Self::Events | Self::Ndjson => Form::Native,
            Self::OpenAiChat => Form::OpenAiChat,
        }
    }

    /// Returns the whole answer to a request that has failed, as a JSON object.
    pub fn whole_failure(self, code: &str, message: &str) -> Vec<u8> {
        let (code, message) = (
            raw::escaped(code.as_bytes()),
            raw::escaped(message.as_bytes()),
        );
        self.form().failure(&code, &message)
    }

    /// Returns the target whose clients know a dialect; native events if there is none.
    pub fn of(dialect: Option<Dialect>) -> Self {
        Self::ALL
            .into_iter()
            .find(|target| Some(target.dialect()) == dialect)
            .unwrap_or(Self::Events)
    }

    /// Returns a writer for a stream of a source in `dialect` that begins at this Unix time in seconds. `voice` says
    /// whose words it writes, if there are several agents.
    pub(super) fn writer(
        self,
        dialect: Dialect,
        began: u64,
        statuses: Statuses,
        voice: Option<Arc<Voice>>,
    ) -> Box<dyn Writer> {
        let voice = Voiced(voice);
        match self {
            Self::AgUi => Box::new(AgUi::new(voice)),
            Self::AiSdk => Box::new(AiSdk::new(voice)),
            Self::Anthropic => Box::<Anthropic>::default(),
            Self::Events => Box::new(Events::new(dialect.as_str(), false, voice)),
            Self::Ndjson => Box::new(Events::new(dialect.as_str(), true, voice)),
            Self::OpenAiChat => Box::new(OpenAiChat::new(began, statuses == Statuses::Text, voice)),
        }
    }
}
