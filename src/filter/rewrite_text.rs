//! Replaces the text of an event, and empties what lies beside it and describes the old text.

use super::edit::{apply, moved};
use super::redact::Redactor;
use crate::event::{Content, Event, Merge, Span};
use crate::wire::{Frame, Payload};

/// Returns the event with `text` in place of its text. Empties the log probabilities and token ids, which describe the
/// old text.
pub(super) fn with_text(
    frame: &Frame<'_>,
    event: &Event,
    text: Vec<u8>,
) -> Option<(Frame<'static>, Event)> {
    let (span, Some(Payload::InBlock(data))) = (event.text?, &frame.data) else {
        return None;
    };
    let place = span.within(data.start as usize)?;
    let at = place.start;
    let mut edits = Redactor {
        reasoning: false,
        tools: false,
        marks: None,
        skip: &[],
        beside: &[],
        traces: true,
        all_texts: false,
        is_state: false,
    }
    .run(frame.data())
    .edits;
    let len = text.len();
    edits.push((place, text));
    edits.sort_by_key(|(range, _)| range.start);
    // Edits in front of the text move it.
    let moved = moved(&edits, at);
    let frame = apply(frame, &edits)?;
    let start = (span.start as usize).checked_add_signed(moved)?;
    let span = Span::new(start..start + len);
    let event = Event {
        text: span,
        // Two such events may still be merged, because everything around the text is unchanged.
        merge: event.merge.and_then(|merge| {
            Some(Merge {
                text: span?,
                ..merge
            })
        }),
        varying: None,
        content: if len == 0 {
            Content::None
        } else {
            event.content
        },
        ..*event
    };
    Some((frame, event))
}
