//! Classifies pieces of one text: written by the same writer, they differ in nothing but their text.

use std::borrow::Cow;

use super::writer::Block;
use crate::dialect::Classifier;
use crate::event::{Event, Span};
use crate::wire::{Frame, Payload};

/// How a piece of a text was classified, for those that follow. Boxed, and kept for the next text: most of what a
/// translation does is to pass on pieces, but not all of them have a text.
#[derive(Debug)]
pub(super) struct Alike {
    event: Event,
    /// How many bytes of a block follow its text; `None` if the next piece begins another text.
    after: Option<u16>,
}

impl Alike {
    /// Returns the event of a block with this text. Only the first block of a text is read.
    pub(super) fn event<'a>(
        known: &'a mut Option<Box<Self>>,
        block: &Block<'_>,
        text: &[u8],
        classifier: &mut Classifier,
    ) -> &'a mut Event {
        let alike = known.get_or_insert_with(|| {
            Box::new(Self {
                event: Event::opaque(),
                after: None,
            })
        });
        let after = alike.after;
        if let Some(span) = after.and_then(|after| span(after, block.bytes, text)) {
            alike.event.text = Some(span);
            if let Some(merge) = &mut alike.event.merge {
                merge.text = span;
            }
        } else {
            alike.event = classify(classifier, block);
            let found = (alike.event.text).filter(|span| span.of(block.bytes) == text);
            alike.after =
                found.and_then(|span| u16::try_from(block.bytes.len() - span.end as usize).ok());
        }
        &mut alike.event
    }

    /// Notes that the next piece begins another text.
    pub(super) const fn forget(known: &mut Option<Box<Self>>) {
        if let Some(alike) = known {
            alike.after = None;
        }
    }
}

/// Returns where the text lies in a block, `after` bytes before its end; `None` if it does not lie there.
fn span(after: u16, block: &[u8], text: &[u8]) -> Option<Span> {
    let end = block.len().checked_sub(usize::from(after))?;
    let start = end.checked_sub(text.len())?;
    if block.get(start..end)? != text {
        return None;
    }
    Span::new(start..end)
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
