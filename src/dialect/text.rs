//! Builds events that carry text: where the text is, and what must be equal before two events are
//! merged.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use super::beside::{self, Need};
use super::hash::Fold;
use crate::event::{Class, Content, Event, Keep, Merge, Side, Usage};
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
            copies: 0,
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

/// Records in how many other members the event has its text: they grow with it in a merge. Events with another number
/// of them are not merged with it.
pub(super) fn with_copies(event: Event, copies: u8) -> Event {
    Event {
        merge: event.merge.map(|merge| Merge {
            key: key((merge.key, copies)),
            copies,
            ..merge
        }),
        ..event
    }
}

/// Makes a piece of a text critical if the client needs something beside it. The piece of a thought stays on the side
/// of the reasoning. A later version of the same text has all that an earlier one has, so nothing is lost with that.
pub(super) fn needed(event: Event, need: Need) -> Event {
    let is_replaced = event.merge.is_some_and(|merge| merge.keep == Keep::Replace);
    if need == Need::None || is_replaced {
        return event;
    }
    let event = Event {
        merge: event.merge.filter(|_| need != Need::Returned),
        ..event
    };
    let (class, side) = match (event.class, event.side) {
        (Class::Reasoning, Side::Answer) => (Class::Structure, Side::Reasoning),
        (Class::Reasoning | Class::Token, side) => (Class::Structure, side),
        other => other,
    };
    Event {
        class,
        side,
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
            copies: 0,
        }),
        ..event
    }
}

/// Adds the fields of the frame beside its data to what must be equal before the event is merged.
pub(super) fn framed(event: Event, frame: &Frame<'_>) -> Event {
    let Some(merge) = event.merge else {
        return event;
    };
    match beside::fields(frame) {
        0 => event,
        fields => Event {
            merge: Some(Merge {
                key: key((merge.key, fields)),
                ..merge
            }),
            ..event
        },
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

/// Returns a merge key. Equal parts give equal keys within one process.
pub(super) fn key(parts: impl Hash) -> u64 {
    let mut hasher = Fold::default();
    parts.hash(&mut hasher);
    hasher.finish()
}
