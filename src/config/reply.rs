//! `reply`: the dialects that the clients of a route may get.

use crate::translate::{Statuses, Target};

/// The dialects that the clients of a route may get. `None` stands for the dialect that the agent speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The one for clients that do not ask.
    pub preset: Option<Target>,
    /// Others that clients may ask for.
    pub offer: Vec<Option<Target>>,
    /// What clients of a translation are told about what is going on.
    pub statuses: Statuses,
    /// Whole answers to requests for a stream become streams.
    pub unstreams: bool,
    /// Clients that ask for no stream get one answer made of a stream.
    pub aggregates: bool,
}

impl Reply {
    /// Reports whether any client may get a translation.
    pub const fn is_on(&self) -> bool {
        self.preset.is_some() || !self.offer.is_empty()
    }

    /// Reports whether a client may ask for `target`.
    pub fn offers(&self, target: Option<Target>) -> bool {
        self.preset == target || self.offer.contains(&target)
    }

    /// Returns what a word stands for, if it is one.
    pub fn parse(word: &str) -> Option<Option<Target>> {
        match word {
            "same" => Some(None),
            word => Target::named(word).map(Some),
        }
    }

    /// Returns the word for a target.
    pub const fn word(target: Option<Target>) -> &'static str {
        match target {
            None => "same",
            Some(target) => target.as_str(),
        }
    }

    /// Returns the words for all that clients may ask for.
    pub fn words(&self) -> Vec<&'static str> {
        let mut words = vec![Self::word(self.preset)];
        for target in &self.offer {
            let word = Self::word(*target);
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }
}
