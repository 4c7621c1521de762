//! Shared by the tests of this folder: reads a file of `tests/data/openai_responses`.

use super::OpenAiResponses;
use crate::dialect::Dialect;
use crate::translate::part::Part;
use crate::translate::reading::testing::{fixture, parts_of};
use crate::wire::Framing;

/// Returns what the reading says about a file.
pub(super) fn read(name: &str) -> Vec<Part<'static>> {
    let mut reading = OpenAiResponses::default();
    let bytes = fixture("openai_responses", name);
    parts_of(&mut reading, Dialect::OpenAiResponses, Framing::Sse, &bytes)
}
