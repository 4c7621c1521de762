//! Messages of LangChain, as LangGraph and LangServe serialise them: what was told about them in one stream.
//!
//! | file | answers |
//! |---|---|
//! | `message` | what one message consists of |
//! | `texts` | which messages were told, and what of their text is new |
//! | `calls` | which tool calls and answers of tools were told, and which calls may still get arguments |

mod calls;
mod message;
mod texts;

use std::hash::{DefaultHasher, Hash, Hasher};

pub(super) use calls::Answer;
use calls::Call;
pub(super) use message::Message;
use texts::SeenMessage;

use super::shared;
use crate::event::Event;
use crate::translate::part::Part;
use crate::translate::raw::number;

/// What was told about the messages of one stream.
#[derive(Debug, Default)]
pub(super) struct Messages {
    seen: Vec<SeenMessage>,
    calls: Vec<Call>,
    /// The calls that have a result.
    results: Vec<Vec<u8>>,
    /// How many calls had no id.
    unnamed: u64,
}

/// Returns a hash.
pub(super) fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Tells the token counts of an event. `counts` is LangChain's own object with them.
pub(super) fn usage(event: &Event, counts: Option<&[u8]>, parts: &mut dyn FnMut(Part<'_>)) {
    let cached = counts.and_then(|counts| number(counts, &["input_token_details", "cache_read"]));
    shared::usage(event, cached, parts);
}
