//! What a route hides, and what was hidden.

use super::markers::Kind;
use super::scan::Marks;

/// What becomes of a side of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hide {
    /// It is left out.
    Drop,
    /// It stays.
    #[default]
    Keep,
    /// It is left out, and where the dialect can say so, the client is told that something goes on.
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
    /// Thinking.
    pub reasoning: Hide,
    /// Tools.
    pub tools: Hide,
    /// How either is marked in texts.
    pub marks: Marks,
}

impl Rules {
    /// Whether anything is hidden at all.
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

/// What was hidden so far, of reasoning and of tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Spans, or runs of events.
    pub spans: [u64; 2],
    /// Characters of text, arguments and fields.
    pub characters: [u64; 2],
}
