//! What a route hides, and how much was hidden.

use super::markers::Kind;
use super::scan::Marks;

/// What happens to one kind of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hide {
    /// The output is dropped.
    Drop,
    /// The output is forwarded.
    #[default]
    Keep,
    /// The output is dropped, and where the dialect can express it, the client is sent a status instead.
    Status,
}

impl Hide {
    pub(super) const fn hides(self) -> bool {
        !matches!(self, Self::Keep)
    }
}

/// What a route hides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What happens to reasoning.
    pub reasoning: Hide,
    /// What happens to tool calls and their results.
    pub tools: Hide,
    /// The markers of reasoning and tool calls within text.
    pub marks: Marks,
}

impl Rules {
    /// Reports whether anything is hidden at all.
    pub const fn is_on(&self) -> bool {
        self.reasoning.hides() || self.tools.hides()
    }

    pub(super) const fn of(&self, kind: Kind) -> Hide {
        match kind {
            Kind::Reasoning => self.reasoning,
            Kind::Tool => self.tools,
        }
    }
}

/// How much was hidden so far: of reasoning, and of tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Hidden spans of text and runs of hidden events.
    pub spans: [u64; 2],
    /// Hidden characters of text, arguments and fields.
    pub characters: [u64; 2],
}
