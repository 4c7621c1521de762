//! Dialects: the spans of an event always lie within its block.

use weir::dialect::{Classifier, Dialect};
use weir::event::Span;
use weir::wire::{Decoder, Frame, Framing};

/// Checks any bytes. The first byte selects the dialect and the framing.
pub fn check(data: &[u8]) {
    let Some((pick, text)) = data.split_first() else {
        return;
    };
    let dialect = Dialect::ALL[usize::from(*pick) % Dialect::ALL.len()];
    let framing = if pick & 0x80 == 0 {
        Framing::Sse
    } else {
        Framing::Ndjson
    };
    let mut decoder = Decoder::new(framing, 1 << 16);
    let mut classifier = Classifier::new(dialect);
    let mut frames = Vec::new();
    let mut keep = |frame: Frame<'_>| frames.push(frame.into_owned());
    let _ = decoder.feed(text, &mut keep);
    frames.extend(decoder.finish());
    for frame in &frames {
        let mut parsed = None;
        let event = classifier.classify(frame, &mut parsed);
        let lies_in = |span: Span| span.of(&frame.block).len() == span.len();
        assert!(event.text.is_none_or(lies_in), "{event:?}");
        if let Some(merge) = event.merge {
            assert!(lies_in(merge.text), "{event:?}");
            assert!(
                event.class.is_droppable() || !merge.text.is_empty() || event.terminal.is_none()
            );
        }
    }
}
