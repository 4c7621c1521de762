//! Edits parts of a frame's payload and leaves every other byte unchanged.

use std::borrow::Cow;
use std::ops::Range;

use crate::event::Span;
use crate::wire::json::is_whole;
use crate::wire::{Frame, Payload};

/// A range of the payload and its replacement.
pub(super) type Edit = (Range<usize>, Vec<u8>);

/// Returns the frame with its JSON payload on a single `data` line. Line breaks between JSON tokens become spaces; JSON
/// strings contain no raw line breaks.
///
/// Returns whether that has changed the frame, too.
pub(super) fn flat<'a>(frame: Cow<'a, Frame<'a>>) -> (Cow<'a, Frame<'a>>, bool) {
    match flattened(&frame) {
        Some(flat) => (Cow::Owned(flat), true),
        None => (frame, false),
    }
}

fn flattened(frame: &Frame<'_>) -> Option<Frame<'static>> {
    let Some(Payload::Joined(joined)) = &frame.data else {
        return None;
    };
    let is_json =
        matches!(joined.trim_ascii_start().first(), Some(b'{' | b'[')) && is_whole(joined);
    if !is_json {
        // In plain text the line breaks are part of the text.
        return None;
    }
    let mut block = Vec::with_capacity(frame.block.len());
    let mut data = None;
    let mut name = None;
    for line in frame.block.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b"data:") {
            if data.is_none() {
                block.extend_from_slice(b"data: ");
                let start = block.len();
                let space = |byte: &u8| if *byte == b'\n' { b' ' } else { *byte };
                block.extend(joined.iter().map(space));
                data = Span::new(start..block.len());
                block.push(b'\n');
            }
            continue;
        }
        if let Some(value) = line.strip_prefix(b"event: ") {
            let start = block.len() + line.len() - value.len();
            name = Span::new(start..start + value.trim_ascii_end().len());
        }
        block.extend_from_slice(line);
    }
    Some(Frame {
        block: Cow::Owned(block),
        name,
        data: data.map(Payload::InBlock),
        whole: frame.whole,
        raw: false,
    })
}

/// Applies `edits`, which must be sorted and must not overlap. Returns `None` if the payload is not on one line.
pub(super) fn apply(frame: &Frame<'_>, edits: &[Edit]) -> Option<Frame<'static>> {
    let Some(Payload::InBlock(span)) = &frame.data else {
        return None;
    };
    let (start, end) = (span.start as usize, span.end as usize);
    let data = frame.block.get(start..end)?;
    let mut block = Vec::with_capacity(frame.block.len());
    block.extend_from_slice(frame.block.get(..start)?);
    let mut at = 0;
    for (range, with) in edits {
        block.extend_from_slice(data.get(at..range.start)?);
        block.extend_from_slice(with);
        at = range.end;
    }
    block.extend_from_slice(data.get(at..)?);
    let data = Span::new(start..block.len())?;
    block.extend_from_slice(frame.block.get(end..)?);
    let moved = |name: Span| {
        if name.start as usize >= end {
            let by = block.len() - frame.block.len().min(block.len());
            let back = frame.block.len() - block.len().min(frame.block.len());
            Span::new(name.start as usize + by - back..name.end as usize + by - back)
        } else {
            Some(name)
        }
    };
    Some(Frame {
        name: frame.name.and_then(moved),
        data: Some(Payload::InBlock(data)),
        whole: frame.whole,
        raw: frame.raw,
        block: Cow::Owned(block),
    })
}

/// Returns how far the edits, which are in order, move what lies at `place` and is none of them.
pub(super) fn moved(edits: &[Edit], place: usize) -> isize {
    edits
        .iter()
        .take_while(|(range, _)| range.start < place)
        .map(|(range, with)| with.len().cast_signed() - range.len().cast_signed())
        .sum()
}

/// Returns the block with `text` in place of its plain text, one `data` line for each line of `text`.
pub(super) fn with_lines(frame: &Frame<'_>, text: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(frame.block.len());
    let mut done = false;
    for line in frame.block.split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(b"data:") {
            block.extend_from_slice(line);
        } else if !std::mem::replace(&mut done, true) {
            for part in text.split(|byte| *byte == b'\n') {
                block.extend_from_slice(b"data: ");
                block.extend_from_slice(part);
                block.push(b'\n');
            }
        }
    }
    block
}
