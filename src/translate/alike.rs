//! Classifies pieces of one text: written by the same writer, they differ in nothing but their text.

use std::borrow::Cow;

use super::writer::Block;
use crate::dialect::Classifier;
use crate::event::{Event, Span};
use crate::wire::{Frame, Payload};

/// What the blocks with the pieces of a text have in common. What they mean is what the classifier keeps, as long as it
/// reads nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alike {
    /// How many bytes of a block follow its text.
    after: u16,
}

impl Alike {
    /// Returns the event of a block with this text. Only the first block of a text is read. `known` must be `None` if the
    /// classifier has read anything else since.
    pub(super) fn event<'c>(
        known: &mut Option<Self>,
        block: &Block<'_>,
        text: &[u8],
        classifier: &'c mut Classifier,
    ) -> &'c mut Event {
        if let Some(span) = known.and_then(|alike| alike.span(block.bytes, text)) {
            let event = classifier.kept();
            event.text = Some(span);
            if let Some(merge) = &mut event.merge {
                merge.text = span;
            }
            return event;
        }
        let event = classify(classifier, block);
        let span = event.text.filter(|span| span.of(block.bytes) == text);
        *known = span.and_then(|span| {
            let after = block.bytes.len().saturating_sub(span.end as usize);
            u16::try_from(after).ok().map(|after| Self { after })
        });
        event
    }

    /// Returns where the text lies in a block; `None` if it does not lie where it should.
    fn span(self, block: &[u8], text: &[u8]) -> Option<Span> {
        let end = block.len().checked_sub(usize::from(self.after))?;
        let start = end.checked_sub(text.len())?;
        if block.get(start..end)? != text {
            return None;
        }
        Span::new(start..end)
    }
}

/// Reads a block as its client does.
pub(super) fn classify<'c>(classifier: &'c mut Classifier, block: &Block<'_>) -> &'c mut Event {
    classifier.classify_and_keep(&Frame {
        block: Cow::Borrowed(block.bytes),
        name: block.name,
        data: block.data.map(Payload::InBlock),
        whole: true,
        raw: false,
    })
}
