//! Events that carry text: where it lies and what must agree before two of them are joined.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use crate::event::{Class, Content, Event, Keep, Merge, Usage};
use crate::wire::{Frame, Payload};

/// An event of `class` whose text is the payload's `range`. Empty text adds nothing for the reader.
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

/// The same event, to be joined with neighbours of an equal `key`. Without a text span it stays alone.
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

/// The same event, whose [`crate::event::LISTS`] grow with its text when it joins another that has some.
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

/// The same event, to be superseded by a later neighbour of an equal `key`.
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

/// What an event of several parts adds: the most telling of them.
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

/// The counts of the model call that `id` names; without a name the stream holds one call.
pub(super) fn of_call(usage: Usage, id: &[u8]) -> Usage {
    Usage {
        call: if id.is_empty() { 0 } else { key(id) },
        ..usage
    }
}

/// A merge key: equal parts give equal keys within one process.
pub(super) fn key(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}
