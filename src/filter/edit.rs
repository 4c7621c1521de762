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
    let Some(around) = Around::of(&frame) else {
        return (frame, false);
    };
    let flat = match frame {
        Cow::Borrowed(frame) => around.with(frame.data(), frame.whole),
        Cow::Owned(Frame {
            block, data, whole, ..
        }) => {
            // A large event must not be here three times.
            drop(block);
            match data {
                Some(Payload::Joined(joined)) => around.with(&joined, whole),
                _ => around.with(b"", whole),
            }
        }
    };
    (Cow::Owned(flat), true)
}

/// What stands before and after the payload of a block, once that is on one line.
struct Around {
    before: Vec<u8>,
    after: Vec<u8>,
    /// Where the event name lies in one of them.
    name: Option<Name>,
}

enum Name {
    Before(Span),
    After(Span),
}

impl Around {
    /// Returns what surrounds a JSON payload of several lines; `None` if the frame has another one.
    fn of(frame: &Frame<'_>) -> Option<Self> {
        let Some(Payload::Joined(joined)) = &frame.data else {
            return None;
        };
        let is_json =
            matches!(joined.trim_ascii_start().first(), Some(b'{' | b'[')) && is_whole(joined);
        if !is_json {
            // In plain text the line breaks are part of the text.
            return None;
        }
        let mut around = Self {
            before: Vec::new(),
            after: Vec::new(),
            name: None,
        };
        let mut is_after = false;
        for line in frame.block.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b"data:") {
                if !is_after {
                    around.before.extend_from_slice(b"data: ");
                    is_after = true;
                }
                continue;
            }
            let side = if is_after {
                &mut around.after
            } else {
                &mut around.before
            };
            if let Some(value) = line.strip_prefix(b"event: ") {
                let start = side.len() + line.len() - value.len();
                let name = Span::new(start..start + value.trim_ascii_end().len())?;
                around.name = Some(if is_after {
                    Name::After(name)
                } else {
                    Name::Before(name)
                });
            }
            side.extend_from_slice(line);
        }
        Some(around)
    }

    /// Returns the frame with this payload, its lines joined by spaces.
    fn with(self, payload: &[u8], whole: bool) -> Frame<'static> {
        let Self {
            before,
            after,
            name,
        } = self;
        let start = before.len();
        let end = start + payload.len();
        let mut block = before;
        block.reserve_exact(payload.len() + 1 + after.len());
        let space = |byte: &u8| if *byte == b'\n' { b' ' } else { *byte };
        block.extend(payload.iter().map(space));
        block.push(b'\n');
        let name = match name {
            Some(Name::Before(name)) => Some(name),
            Some(Name::After(name)) => {
                let moved = |place: u32| place as usize + block.len();
                Span::new(moved(name.start)..moved(name.end))
            }
            None => None,
        };
        block.extend_from_slice(&after);
        Frame {
            block: Cow::Owned(block),
            name,
            data: Span::new(start..end).map(Payload::InBlock),
            whole,
            raw: false,
        }
    }
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

/// Returns by how many bytes the edits before `place` shift it. The edits are in order.
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
