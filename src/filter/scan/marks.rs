//! Which marks a text is searched for.

use crate::filter::markers::{Family, Kind, Pair};

/// What is looked for, and what of it is hidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Pairs whose kind is to be hidden.
    pub pairs: Vec<Pair>,
    /// gpt-oss's headers.
    pub harmony: bool,
    /// Labels of lines: always, or only if the text begins with one.
    pub react: React,
    /// Reasoning is to be hidden.
    pub reasoning: bool,
    /// Tools are to be hidden.
    pub tools: bool,
    /// The text begins inside a thought whose opening mark stands in the prompt.
    pub starts_hidden: bool,
}

/// When the labels of `ReAct` are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum React {
    /// In every text.
    Always,
    /// In a text that begins with one: a line of prose may begin with `Action:`, too.
    IfFirst,
    /// Never.
    #[default]
    Never,
}

impl Marks {
    /// The marks of `families`, as far as their kind is hidden. `auto` looks for `ReAct` only where a text begins so.
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
