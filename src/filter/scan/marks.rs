//! The markers that a text is searched for.

use crate::filter::markers::{Family, Kind, Pair};

/// The markers to look for, and which kinds of output are hidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Marker pairs of the kinds that are hidden.
    pub pairs: Vec<Pair>,
    /// Looks for harmony headers (gpt-oss).
    pub harmony: bool,
    /// When to look for `ReAct` labels.
    pub react: React,
    /// Hides reasoning.
    pub reasoning: bool,
    /// Hides tool calls and their results.
    pub tools: bool,
    /// The text begins inside a thought, because its opening marker is in the prompt.
    pub starts_hidden: bool,
}

/// When the labels of `ReAct` are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum React {
    /// In every text.
    Always,
    /// Only in a text that begins with a label, because a line of prose may begin with `Action:`, too.
    IfFirst,
    /// Never.
    #[default]
    Never,
}

impl Marks {
    /// Collects the markers of `families` for the kinds that are hidden. With `auto`, `ReAct` labels are looked for
    /// only in texts that begin with one.
    pub fn new(families: &[Family], auto: bool, reasoning: bool, tools: bool) -> Self {
        let hides = |pair: &Pair| match pair.kind {
            Kind::Reasoning => reasoning,
            Kind::Tool => tools,
        };
        let any = reasoning || tools;
        let has = |family| any && families.contains(&family);
        Self {
            pairs: families
                .iter()
                .flat_map(|family| family.pairs())
                .filter(hides)
                .collect(),
            harmony: has(Family::Harmony),
            react: match (has(Family::React), auto) {
                (false, _) => React::Never,
                (true, false) => React::Always,
                (true, true) => React::IfFirst,
            },
            reasoning,
            tools,
            starts_hidden: false,
        }
    }

    pub(super) const fn hides(&self, kind: Kind) -> bool {
        match kind {
            Kind::Reasoning => self.reasoning,
            Kind::Tool => self.tools,
        }
    }
}
