//! Filters data of any shape: the text that goes on from event to event, what repeats it, and all other strings.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use memchr::memmem;

use super::super::edit::{self, Edit};
use super::super::redact::{Redacted, Redactor};
use super::super::scan::Visible;
use super::super::{Filter, add, block_of, template};
use super::leaves::is_word;
use super::read::Text;
use crate::event::{Event, Span};
use crate::wire::{Frame, Payload};

/// A string of this many bytes is no chance part of a text.
const TELLING: usize = 4;

impl Filter {
    /// Filters an event of the application with data of any shape. Its text is scanned as one that goes on; where a
    /// piece is hidden, what repeats it beside it is emptied.
    pub(super) fn take_data<'f>(
        &mut self,
        frame: Cow<'f, Frame<'f>>,
        event: &Event,
        text: &Text,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        // A string may have quotes of its own around what is scanned.
        let quoted = text.pieces.iter().map(|piece| {
            let start = piece.start.saturating_sub(QUOTE);
            start..piece.end.saturating_add(QUOTE)
        });
        let mut skip: Vec<Range<usize>> = text.pieces.iter().cloned().chain(quoted).collect();
        skip.sort_unstable_by_key(|range| range.start);
        let mut redacted = self.redact(&frame, &skip, false);
        let changes = self.change(&frame, event, text, &redacted.edits, sink);
        if !changes.is_empty() {
            // What describes the old text goes with it.
            redacted = self.redact(&frame, &skip, true);
        }
        add(&mut self.hidden.characters, redacted.hidden);
        let edits = joined(redacted.edits, changes);
        let changed = (!edits.is_empty()).then(|| edit::apply(&frame, &edits));
        match changed.flatten() {
            Some(changed) => sink(
                changed.block,
                &Event {
                    merge: None,
                    ..*event
                },
            ),
            None => {
                let merge = event.merge.filter(|_| matches!(frame, Cow::Borrowed(_)));
                sink(block_of(frame), &Event { merge, ..*event });
            }
        }
    }

    /// Finds what must be emptied whatever the text is.
    fn redact(&self, frame: &Frame<'_>, skip: &[Range<usize>], traces: bool) -> Redacted {
        Redactor {
            reasoning: self.rules.reasoning.hides(),
            tools: self.rules.tools.hides(),
            marks: Some(&self.rules.marks),
            skip,
            traces,
            all_texts: true,
            is_state: false,
        }
        .run(frame.data())
    }

    /// Scans the pieces of the text that `redacted` leaves, and returns how they and what repeats them change.
    fn change(
        &mut self,
        frame: &Frame<'_>,
        event: &Event,
        text: &Text,
        redacted: &[Edit],
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) -> Vec<Edit> {
        let rules = Arc::clone(&self.rules);
        let data = frame.data();
        let stays = |range: &&Range<usize>| !touches(redacted, range);
        let pieces: Vec<&Range<usize>> = text.pieces.iter().filter(stays).collect();
        if pieces.is_empty() {
            return Vec::new();
        }
        let mut scanned = self.take_text(text.lane);
        scanned.is_copy = true;
        let before = (scanned.scanner.spans, scanned.scanner.hidden);
        let mut changes = Vec::new();
        let mut said = Vec::new();
        for piece in &pieces {
            let raw = data.get((*piece).clone()).unwrap_or_default();
            scanned.restart_at_whole(&rules.marks, raw);
            let mut visible = Visible::of(raw);
            scanned.scanner.feed(&rules.marks, raw, &mut visible);
            if let Some(visible) = visible.changed() {
                changes.push(((*piece).clone(), visible));
                said.extend_from_slice(raw);
            }
        }
        self.note_spans(&mut scanned, before.0, sink);
        if (scanned.scanner.spans, scanned.scanner.hidden) != before {
            let repeats = |range: &&Range<usize>| {
                let other = data.get((*range).clone()).unwrap_or_default();
                is_copy(other, &said)
            };
            let others = text.others.iter().filter(stays).filter(repeats);
            changes.extend(others.map(|other| (other.clone(), Vec::new())));
        }
        scanned.last = (scanned.scanner.holds())
            .then(|| {
                // What is held leaves as the last piece of an event without anything else of this text.
                let held = pieces.last().copied()?;
                let emptied = pieces.iter().map(|piece| (*piece).clone());
                let others = changes.iter().map(|(range, _)| range.clone());
                let empty = emptied.chain(others).map(|range| (range, Vec::new()));
                carrier(
                    frame,
                    event,
                    held,
                    joined(redacted.to_vec(), empty.collect()),
                )
            })
            .flatten();
        self.put_text(scanned, sink);
        changes
    }
}

/// The bytes of an escaped quote.
const QUOTE: usize = 2;

/// Returns an event to carry what is held of the text, whose place is `held`.
fn carrier(
    frame: &Frame<'_>,
    event: &Event,
    held: &Range<usize>,
    edits: Vec<Edit>,
) -> Option<(Frame<'static>, Event)> {
    let Some(Payload::InBlock(span)) = &frame.data else {
        return None;
    };
    let moved = edit::moved(&edits, held.start);
    let frame = edit::apply(frame, &edits)?;
    let at = (span.start as usize + held.start).checked_add_signed(moved)?;
    let event = Event {
        text: Span::new(at..at),
        merge: None,
        ..*event
    };
    Some(template(&frame, &event))
}

/// Returns both lists of edits as one, in order. Where two meet, that of the first list counts.
fn joined(first: Vec<Edit>, second: Vec<Edit>) -> Vec<Edit> {
    let second = second
        .into_iter()
        .filter(|(range, _)| !touches(&first, range));
    let mut all: Vec<Edit> = second.collect();
    all.extend(first);
    all.sort_by_key(|(range, _)| range.start);
    all.dedup_by(|next, last| next.0 == last.0);
    all
}

/// Reports whether one of the edits, which are in order, overlaps a range or begins or ends at it.
pub(super) fn touches(edits: &[Edit], range: &Range<usize>) -> bool {
    let at = edits.partition_point(|(edit, _)| edit.end < range.start);
    edits
        .get(at)
        .is_some_and(|(edit, _)| edit.start <= range.end)
}

/// Reports whether a string beside a text that was hidden repeats it, or a part of it.
fn is_copy(other: &[u8], said: &[u8]) -> bool {
    if other.trim_ascii().is_empty() || said.trim_ascii().is_empty() {
        return false;
    }
    let is_part = other == said || other.len() >= TELLING || !is_word(other);
    (is_part && memmem::find(said, other).is_some())
        || (said.len() >= TELLING && memmem::find(other, said).is_some())
}
