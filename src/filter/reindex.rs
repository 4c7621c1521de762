//! The reindex of blocks in streams whose clients keep them in a list: where some are left out, those behind move up.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use super::edit;
use crate::dialect::Dialect;
use crate::event::{Event, Merge, Span};
use crate::wire::json::Cursor;
use crate::wire::{Frame, Payload};

/// Blocks of one stream that may be left out; more are a mistake of the upstream.
const MAX_DROPPED: usize = 4096;

/// Indices of the blocks that were left out.
#[derive(Debug, Default)]
pub(super) struct Reindex {
    dropped: Vec<u64>,
}

impl Reindex {
    /// A block is left out: those behind it move up.
    pub(super) fn leave_out(&mut self, dialect: Dialect, frame: &Frame<'_>) {
        let key = counter(dialect);
        let index = key.and_then(|key| member(frame.data(), key));
        // Only what opens a block takes a place in the list.
        let opens = |word: &[u8]| memmem::find(frame.data(), word).is_some();
        if let Some((index, _)) = index
            && (opens(b"\"content_block_start\"") || opens(b"\"response.output_item.added\""))
            && !self.dropped.contains(&index)
            && self.dropped.len() < MAX_DROPPED
        {
            self.dropped.push(index);
        }
    }

    /// The same event with the index that its block has without those left out.
    pub(super) fn counted<'a>(
        &self,
        dialect: Dialect,
        frame: Cow<'a, Frame<'a>>,
        event: Event,
    ) -> (Cow<'a, Frame<'a>>, Event) {
        if self.dropped.is_empty() {
            return (frame, event);
        }
        let Some((index, range)) = counter(dialect).and_then(|key| member(frame.data(), key))
        else {
            return (frame, event);
        };
        let gone = self.dropped.iter().filter(|dropped| **dropped < index);
        let digits = (index - gone.count() as u64).to_string();
        let (before, after) = (range.len(), digits.len());
        let start = match &frame.data {
            Some(Payload::InBlock(data)) => data.start as usize + range.end,
            _ => return (frame, event),
        };
        let Some(frame) = edit::apply(&frame, &[(range, digits.into_bytes())]) else {
            return (frame, event);
        };
        // What stands behind the index has moved.
        let moved = |span: Span| {
            if (span.start as usize) < start {
                return Some(span);
            }
            let at = |place: u32| (place as usize + after).saturating_sub(before);
            Span::new(at(span.start)..at(span.end))
        };
        let event = Event {
            text: event.text.and_then(moved),
            merge: event.merge.and_then(|merge| {
                let text = moved(merge.text)?;
                Some(Merge { text, ..merge })
            }),
            varying: event.varying.and_then(moved),
            ..event
        };
        (Cow::Owned(frame), event)
    }
}

/// The member that counts blocks, in dialects whose clients keep them in a list.
const fn counter(dialect: Dialect) -> Option<&'static [u8]> {
    match dialect {
        Dialect::Anthropic => Some(b"index"),
        Dialect::OpenAiResponses => Some(b"output_index"),
        _ => None,
    }
}

/// A number at the top of a payload, and where it stands.
fn member(data: &[u8], wanted: &[u8]) -> Option<(u64, Range<usize>)> {
    let mut cursor = Cursor::new(data);
    cursor.enter_object()?;
    while let Some(key) = cursor.next_key()? {
        if key == wanted {
            let range = cursor.clone().skip()?;
            return Some((cursor.u64_or_skip()??, range));
        }
        cursor.skip()?;
    }
    None
}
