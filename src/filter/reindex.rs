//! Renumbers content blocks after some of them were dropped, in streams whose clients keep the blocks in a list.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use super::edit;
use crate::dialect::Dialect;
use crate::event::{Event, Merge, Span};
use crate::wire::json::Cursor;
use crate::wire::{Frame, Payload};

/// The most dropped blocks remembered for one stream; more are a mistake of the upstream.
const MAX_DROPPED: usize = 4096;

/// The indices of the blocks that were dropped.
#[derive(Debug, Default)]
pub(super) struct Reindex {
    dropped: Vec<u64>,
}

impl Reindex {
    /// Notes that a block was dropped, so that the blocks after it get lower indices.
    pub(super) fn leave_out(&mut self, dialect: Dialect, frame: &Frame<'_>) {
        let Some(blocks) = dialect.hide_facts().block_index else {
            return;
        };
        let index = member(frame.data(), blocks.member);
        // Only an event that opens a block takes a place in the list.
        let opens = memmem::find(frame.data(), blocks.opened_by).is_some();
        if let Some((index, _)) = index
            && opens
            && !self.dropped.contains(&index)
            && self.dropped.len() < MAX_DROPPED
        {
            self.dropped.push(index);
        }
    }

    /// Lowers the block index of an event by the number of dropped blocks before it.
    pub(super) fn counted<'a>(
        &self,
        dialect: Dialect,
        frame: Cow<'a, Frame<'a>>,
        event: Event,
    ) -> (Cow<'a, Frame<'a>>, Event) {
        if self.dropped.is_empty() {
            return (frame, event);
        }
        let Some((index, range)) = dialect
            .hide_facts()
            .block_index
            .and_then(|blocks| member(frame.data(), blocks.member))
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
        // The new index may have fewer digits, so everything after it moves.
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

/// Returns a top-level number of the payload and its position.
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
