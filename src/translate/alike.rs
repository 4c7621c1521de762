//! Classifies pieces of one text: written by the same writer, they differ in nothing but their text.

use std::borrow::Cow;

use super::writer::Block;
use crate::dialect::Classifier;
use crate::event::{Event, Span};
use crate::wire::{Frame, Payload};

/// How a piece of a text was classified, for those that follow.
#[derive(Debug)]
pub(super) struct Alike {
    event: Event,
    /// How many bytes of a block follow its text.
    after: usize,
}

impl Alike {
    /// Returns the event of a block with this text. Only the first block of a text is read.
    pub(super) fn event(
        known: &mut Option<Self>,
        block: &Block<'_>,
        text: &[u8],
        classifier: &mut Classifier,
    ) -> Event {
        if let Some(event) = known.as_ref().and_then(|alike| alike.of(block.bytes, text)) {
            return event;
        }
        let event = classify(classifier, block);
        let span = event.text.filter(|span| span.of(block.bytes) == text);
        *known = span.map(|span| Self {
            event,
            after: block.bytes.len().saturating_sub(span.end as usize),
        });
        event
    }

    fn of(&self, block: &[u8], text: &[u8]) -> Option<Event> {
        let end = block.len().checked_sub(self.after)?;
        let start = end.checked_sub(text.len())?;
        if block.get(start..end)? != text {
            return None;
        }
        let span = Span::new(start..end)?;
        let mut event = self.event;
        event.text = Some(span);
        if let Some(merge) = &mut event.merge {
            merge.text = span;
        }
        Some(event)
    }
}

/// Reads a block as its client does.
pub(super) fn classify(classifier: &mut Classifier, block: &Block<'_>) -> Event {
    *classifier.classify(
        &Frame {
            block: Cow::Borrowed(block.bytes),
            name: block.name,
            data: block.data.map(Payload::InBlock),
            whole: true,
            raw: false,
        },
        &mut None,
    )
}
