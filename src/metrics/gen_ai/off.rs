//! A stand-in for a build without export over OTLP: a type of the same name that has no values.

use super::Ended;

/// The GenAI metrics, which do not exist in this build.
#[derive(Debug)]
pub enum GenAi {}

impl GenAi {
    /// Cannot be called.
    pub const fn record(&self, _: &Ended<'_>) {
        match *self {}
    }
}
