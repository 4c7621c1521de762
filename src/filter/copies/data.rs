//! Filters data of any shape: each place in it is a text that goes on from event to event, and what repeats a hidden piece
//! goes with it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use memchr::memmem;

use super::super::edit::{self, Edit};
use super::super::markers::Kind;
use super::super::redact::{Beside, Redacted, Redactor};
use super::super::scan::{Marks, Scanner, Visible};
use super::super::texts::ScannedText;
use super::super::{Filter, add, block_of, characters};
use super::leaves::{is_word, key};
use super::read::{Data, Text};
use crate::event::{Event, Side};
use crate::wire::Frame;

/// A string of this many bytes is no chance part of a text.
const TELLING: usize = 4;

impl Filter {
    /// Filters an event with data of any shape.
    pub(super) fn take_data<'f>(
        &mut self,
        frame: Cow<'f, Frame<'f>>,
        event: &Event,
        data: &Data,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        // A string may have quotes of its own around what is scanned.
        let pieces = data.texts.iter().flat_map(|text| &text.pieces);
        let pieces = pieces.chain(&data.rest);
        let quoted = pieces.clone().map(|piece| {
            let start = piece.start.saturating_sub(QUOTE);
            start..piece.end.saturating_add(QUOTE)
        });
        let unread = data.unread.iter().map(|(range, _)| range.clone());
        let mut skip: Vec<Range<usize>> = pieces.cloned().chain(quoted).chain(unread).collect();
        skip.sort_unstable_by_key(|range| range.start);
        let emptied = self.emptied(&frame, data, sink);
        let redacted = self.redact(&frame, event, &skip, false);
        let mut hidden = redacted.hidden;
        let mut edits = joined(redacted.edits, emptied.clone());
        let changes = self.change(&frame, data, &edits, sink);
        if !changes.is_empty() {
            // What describes the old text goes with it.
            let redacted = self.redact(&frame, event, &skip, true);
            hidden = redacted.hidden;
            edits = joined(redacted.edits, emptied);
        }
        add(&mut self.hidden.characters, hidden);
        let edits = joined(edits, changes);
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

    /// Adds to `redacted` how the data changes that an event of the dialect holds beside what the dialect knows.
    pub(in crate::filter) fn take_beside(
        &mut self,
        frame: &Frame<'_>,
        event: &Event,
        redacted: &mut Redacted,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        let mut counts: Vec<(&[u8], u64)> = Vec::new();
        for Beside { name, range, item } in std::mem::take(&mut redacted.beside) {
            // Several items of a list may have this member.
            let number = match counts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => {
                    *count += 1;
                    *count
                }
                None => {
                    counts.push((name, 0));
                    0
                }
            };
            let lane = key(event.lane, (number, item));
            let data = Data::in_member(frame.data(), name, &range, lane);
            let emptied = self.emptied(frame, &data, sink);
            let edits = joined(std::mem::take(&mut redacted.edits), emptied);
            let changes = self.change(frame, &data, &edits, sink);
            redacted.edits = joined(edits, changes);
        }
    }

    /// Finds what must be emptied whatever the texts are.
    fn redact(
        &self,
        frame: &Frame<'_>,
        event: &Event,
        skip: &[Range<usize>],
        traces: bool,
    ) -> Redacted {
        let is_dialects = event.side == Side::Data;
        Redactor {
            reasoning: self.rules.reasoning.hides(),
            tools: self.rules.tools.hides(),
            marks: Some(&self.rules.marks),
            skip,
            beside: &[],
            traces,
            all_texts: !is_dialects,
            is_state: is_dialects,
        }
        .run(frame.data())
    }

    /// Empties what nobody can vouch for, and all texts of data that says of itself that it is hidden.
    fn emptied(
        &mut self,
        frame: &Frame<'_>,
        data: &Data,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) -> Vec<Edit> {
        let mut edits: Vec<Edit> = (data.unread.iter())
            .map(|(range, empty)| (range.clone(), empty.to_vec()))
            .collect();
        let mut kind = if self.rules.reasoning.hides() {
            Kind::Reasoning
        } else {
            Kind::Tool
        };
        if let Some(told) = data.tells.filter(|told| self.rules.of(*told).hides()) {
            let pieces = data.texts.iter().flat_map(|text| &text.pieces);
            let pieces = pieces.chain(&data.rest);
            edits.extend(pieces.map(|piece| (piece.clone(), Vec::new())));
            kind = told;
        }
        edits.sort_by_key(|(range, _)| range.start);
        if edits.is_empty() {
            return edits;
        }
        for (range, _) in &edits {
            let hidden = characters(frame.data().get(range.clone()).unwrap_or_default());
            if let Some(total) = self.hidden.characters.get_mut(kind as usize) {
                *total += hidden;
            }
        }
        self.note_run(kind, None, sink);
        edits
    }

    /// Scans the pieces of the texts that `redacted` leaves, and returns how they and what repeats them change.
    fn change(
        &mut self,
        frame: &Frame<'_>,
        found: &Data,
        redacted: &[Edit],
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) -> Vec<Edit> {
        let rules = Arc::clone(&self.rules);
        let data = frame.data();
        let mut changes: Vec<Edit> = Vec::new();
        let mut said: Vec<Vec<u8>> = Vec::new();
        let kind = if rules.reasoning.hides() {
            Kind::Reasoning
        } else {
            Kind::Tool
        };
        // Whether a text of this event was inside a thought, at its beginning or end.
        let mut is_inside = false;
        for text in &found.texts {
            let pieces = stays(text, redacted);
            if pieces.is_empty() {
                continue;
            }
            let taken = if found.is_whole {
                Some(ScannedText::new(text.lane, &rules.marks))
            } else if is_inside && !self.lanes.has_room(text.lane) {
                // It may be a piece of such a thought, and nothing of it would be known in the next event.
                None
            } else {
                self.lanes.take(text.lane, &rules.marks)
            };
            let Some(mut scanned) = taken else {
                is_inside = true;
                changes.extend(pieces.into_iter().map(|piece| (piece.clone(), Vec::new())));
                continue;
            };
            let before = (scanned.scanner.spans, scanned.scanner.hidden);
            let mut is_hidden = scanned.scanner.is_hidden();
            is_inside |= is_hidden;
            let mut hidden = Vec::new();
            for piece in pieces {
                let raw = data.get(piece.clone()).unwrap_or_default();
                let was_hidden = scanned.scanner.is_hidden();
                let visible = scan_piece(&mut scanned, &rules.marks, raw);
                add(&mut self.hidden.characters, visible.hidden);
                is_hidden |= visible.hidden != [0, 0];
                if let Some(visible) = visible.text {
                    // Quotes around a piece amid a thought are part of the thought.
                    let is_amid = was_hidden && visible.is_empty() && scanned.scanner.is_hidden();
                    let place = if is_amid {
                        with_quotes(data, piece)
                    } else {
                        piece.clone()
                    };
                    changes.push((place, visible));
                    hidden.extend_from_slice(raw);
                }
            }
            self.note_spans(&mut scanned, before.0, sink);
            is_hidden |= scanned.scanner.is_hidden();
            is_inside |= scanned.scanner.is_hidden();
            is_hidden |= (scanned.scanner.spans, scanned.scanner.hidden) != before;
            if is_hidden && !hidden.is_empty() {
                said.push(hidden);
            }
            if found.is_whole {
                self.end(scanned, sink);
            } else {
                let gone = self.lanes.put(scanned);
                add(&mut self.hidden.characters, gone);
            }
        }
        for range in found.rest.iter().filter(|range| !touches(redacted, range)) {
            let raw = data.get(range.clone()).unwrap_or_default();
            if is_inside && !raw.is_empty() {
                // It may be a piece of such a thought, too.
                let hidden = characters(raw);
                if let Some(total) = self.hidden.characters.get_mut(kind as usize) {
                    *total += hidden;
                }
                changes.push((range.clone(), Vec::new()));
                continue;
            }
            let left = Alone::scan(&rules.marks, raw).left;
            add(&mut self.hidden.characters, left.hidden);
            if let Some(text) = left.text {
                changes.push((range.clone(), text));
            }
        }
        if !said.is_empty() {
            changes.sort_by_key(|(range, _)| range.start);
            let rest = found.rest.iter().filter(|range| !touches(redacted, range));
            let others = found.texts.iter().flat_map(|text| stays(text, redacted));
            let others = others.chain(rest);
            let repeats: Vec<Edit> = others
                .filter(|range| !touches(&changes, range))
                .filter(|range| {
                    let other = data.get((*range).clone()).unwrap_or_default();
                    said.iter().any(|said| is_copy(other, said))
                })
                .map(|range| (range.clone(), Vec::new()))
                .collect();
            changes.extend(repeats);
        }
        changes
    }
}

/// Returns the pieces of a text that `redacted` leaves.
fn stays<'t>(text: &'t Text, redacted: &[Edit]) -> Vec<&'t Range<usize>> {
    let pieces = text.pieces.iter();
    pieces.filter(|piece| !touches(redacted, piece)).collect()
}

/// What is left of a piece, and how many characters a scan of the piece by itself hides.
#[derive(Debug, Default)]
struct Left {
    /// What is visible, unless it is all.
    text: Option<Vec<u8>>,
    hidden: [u64; 2],
}

/// A piece that is scanned by itself.
#[derive(Debug)]
struct Alone {
    left: Left,
    /// Whether all of its hidden spans are closed.
    is_whole: bool,
    /// Whether it ends inside a hidden span that a mark closes.
    is_open: bool,
}

impl Alone {
    fn scan(marks: &Marks, raw: &[u8]) -> Self {
        if marks.starts_hidden {
            // By itself, every piece would be hidden.
            return Self {
                left: Left::default(),
                is_whole: false,
                is_open: false,
            };
        }
        let mut scanner = Scanner::new(marks);
        let mut visible = Visible::of(raw);
        scanner.feed(marks, raw, &mut visible);
        let is_whole = scanner.spans != [0, 0] && scanner.is_visible() && !scanner.is_undecided();
        let is_open = scanner.is_open();
        scanner.finish(&mut visible);
        Self {
            left: Left {
                text: visible.changed(),
                hidden: scanner.hidden,
            },
            is_whole,
            is_open,
        }
    }

    /// Reports whether the piece is nothing but a mark, which hides nothing by itself.
    fn is_bare(&self) -> bool {
        self.left.hidden == [0, 0] && self.left.text.as_ref().is_some_and(Vec::is_empty)
    }
}

/// Scans the next piece of a text, which is scanned by itself as well: what either scan hides is hidden. Nothing of it
/// waits for the next piece.
fn scan_piece(scanned: &mut ScannedText, marks: &Marks, raw: &[u8]) -> Left {
    let mut alone = Alone::scan(marks, raw);
    let is_undecided = scanned.scanner.is_visible() && scanned.scanner.is_undecided();
    if alone.is_whole && scanned.scanner.is_visible() && !is_undecided {
        scanned.scanner.restart(marks);
    }
    let mut visible = Visible::of(raw);
    scanned.scanner.feed(marks, raw, &mut visible);
    scanned.scanner.show_held(&mut visible);
    if is_undecided && alone.is_open && scanned.scanner.is_visible() {
        // What was shown before was no part of a mark: a thought begins with this piece.
        let hidden = scanned.scanner.hidden;
        scanned.scanner.restart(marks);
        let mut unused = Visible::of(raw);
        scanned.scanner.feed(marks, raw, &mut unused);
        // It is counted with what the scan of the piece by itself hides.
        scanned.scanner.hidden = hidden;
    } else if alone.is_bare() {
        // Only its place in the text tells whether it is a mark.
        alone.left.text = None;
    }
    scanned.scanner.end_labelled(marks);
    match visible.changed() {
        None => alone.left,
        Some(text) => {
            let again = Alone::scan(marks, &text).left;
            Left {
                text: again.text.or(Some(text)),
                hidden: again.hidden,
            }
        }
    }
}

/// The bytes of an escaped quote.
const QUOTE: usize = 2;

/// Returns the place of a piece with the escaped quotes around it, if it has some.
fn with_quotes(data: &[u8], piece: &Range<usize>) -> Range<usize> {
    let place = piece.start.saturating_sub(QUOTE)..piece.end.saturating_add(QUOTE);
    let quoted = data.get(place.clone()).unwrap_or_default();
    if quoted.starts_with(b"\\\"") && quoted.ends_with(b"\\\"") {
        place
    } else {
        piece.clone()
    }
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
    let (other, said) = (other.trim_ascii(), said.trim_ascii());
    if other.is_empty() || said.is_empty() {
        return false;
    }
    let is_part = other == said || other.len() >= TELLING || !is_word(other);
    (is_part && memmem::find(said, other).is_some()) || stands_in(other, said)
}

/// Reports whether a string has a hidden piece in it. A short piece may be part of any word, so it must stand by itself,
/// as between the tags of a markup.
fn stands_in(other: &[u8], said: &[u8]) -> bool {
    if said.len() >= TELLING || !said.is_ascii() {
        return memmem::find(other, said).is_some();
    }
    let is_joined = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
    };
    let stands = |at: usize| {
        let before = other.get(..at).and_then(<[u8]>::last);
        let after = other.get(at + said.len()..).and_then(<[u8]>::first);
        !is_joined(before) && !is_joined(after)
    };
    said.iter().any(u8::is_ascii_alphanumeric) && memmem::find_iter(other, said).any(stands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_pieces_are_copied_only_where_they_stand_by_themselves() {
        for (other, said, copies) in [
            ("<p>\u{79d8}</p>", "\u{79d8}", true),
            ("<p>to</p>", "to", true),
            ("a to b", "to", true),
            ("Tokio", "to", false),
            ("auto", "to", false),
            ("a. b", ".", false),
            ("now SECRET.", "SECRET", true),
            ("en", "SECRET entry", false),
            ("", "x", false),
        ] {
            assert_eq!(
                is_copy(other.as_bytes(), said.as_bytes()),
                copies,
                "{other} {said}"
            );
        }
    }
}
