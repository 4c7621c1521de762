//! Builds events that carry text: where the text is, and what must be equal before two events are
//! merged.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use crate::event::{Class, Content, Event, Keep, Merge, Usage};
use crate::wire::{Frame, Payload};

/// Returns an event of `class` whose text is the payload's `range`. Empty text counts as no
/// content.
pub(super) fn event(
    frame: &Frame<'_>,
    class: Class,
    content: Content,
    range: Range<usize>,
) -> Event {
    Event {
        content: if range.is_empty() {
            Content::None
        } else {
            content
        },
        text: frame.in_block(range),
        ..Event::bare(class)
    }
}

/// Allows `event` to be merged with neighbours that have an equal `key`. An event without a text
/// span is never merged.
pub(super) fn joining(event: Event, keep: Keep, key: u64) -> Event {
    Event {
        merge: event.text.map(|text| Merge {
            key,
            text,
            keep,
            lists: false,
        }),
        ..event
    }
}

/// Records whether the event has [`crate::event::LISTS`], which grow with its text in a merge.
/// Events with lists are not merged with events without them.
pub(super) fn with_lists(event: Event, lists: bool) -> Event {
    Event {
        merge: event.merge.map(|merge| Merge {
            key: merge.key ^ u64::from(lists),
            lists,
            ..merge
        }),
        ..event
    }
}

/// Allows a later neighbour with an equal `key` to replace the event.
pub(super) fn superseded(event: Event, frame: &Frame<'_>, key: u64) -> Event {
    let whole = match frame.data {
        Some(Payload::InBlock(span)) => Some(span),
        _ => None,
    };
    Event {
        merge: event.text.or(whole).map(|text| Merge {
            key,
            text,
            keep: Keep::Replace,
            lists: false,
        }),
        ..event
    }
}

/// Returns the more significant of two contents, for an event that has several parts.
pub(super) fn more_telling(a: Content, b: Content) -> Content {
    let rank = |content: Content| match content {
        Content::None => 0,
        Content::Other => 1,
        Content::Reasoning => 2,
        Content::Token => 3,
        Content::Tool => 4,
    };
    if rank(b) > rank(a) { b } else { a }
}

/// Attributes the token counts to the model call with this `id`. Without an id, the stream has only
/// one call.
pub(super) fn of_call(usage: Usage, id: &[u8]) -> Usage {
    Usage {
        call: if id.is_empty() { 0 } else { key(id) },
        ..usage
    }
}

/// The most bytes of a number or a string that says nothing about the answer.
const MAX_HARMLESS: usize = 64;

/// Members that say who wrote a text, whatever the dialect.
const SPEAKERS: [&[u8]; 20] = [
    b"agent",
    b"agentId",
    b"agentName",
    b"agent_id",
    b"agent_name",
    b"author",
    b"branch",
    b"langgraph_node",
    b"model",
    b"modelVersion",
    b"model_name",
    b"name",
    b"node",
    b"role",
    b"runId",
    b"run_id",
    b"source",
    b"speaker",
    b"threadId",
    b"thread_id",
];

/// Reports whether a member names or counts what a text belongs to: `toolCallId`, `block_index`.
fn is_identity(name: &[u8]) -> bool {
    [&b"id"[..], b"Id", b"ID", b"index", b"Index"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Adds a member beside the text to a hash of what must be equal before two events are merged. A number or a short
/// string may differ unless it says who wrote the text or counts it: padding, times, counters and nonces say nothing about the
/// answer. The id or index of the text is read by name, and does not come here.
pub(super) fn beside(rest: u64, name: &[u8], raw: &[u8]) -> u64 {
    let is_harmless = match raw.first() {
        _ if SPEAKERS.contains(&name) || is_identity(name) => false,
        Some(b'"') => raw.len() <= MAX_HARMLESS,
        Some(b'-' | b'0'..=b'9') => true,
        Some(b'n') | None => true,
        _ => matches!(raw, b"[]" | b"{}"),
    };
    if is_harmless {
        rest
    } else {
        key((rest, name, raw))
    }
}

/// Returns a merge key. Equal parts give equal keys within one process.
pub(super) fn key(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}
