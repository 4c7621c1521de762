//! What an event passes through: it is classified, filtered and translated.
//!
//! The three travel together, because a large event takes them to another thread.

use std::borrow::Cow;

use super::classify::StreamClassifier;
use super::sink::Sink;
use crate::event::Event;
use crate::filter::{Filter, Hidden};
use crate::translate::Translator;
use crate::wire::{self, Frame, Framing};

/// The stages of one stream.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Stages {
    pub(super) classifier: StreamClassifier,
    /// Removes what is hidden from the client; `None` if nothing is.
    pub(super) filter: Option<Box<Filter>>,
    /// Writes what the client may see in another dialect; `None` if it keeps its own.
    pub(super) translator: Option<Box<Translator>>,
}

impl Stages {
    /// Passes what comes of a frame to `sink`.
    pub(super) fn pass(&mut self, frame: Frame<'_>, sink: &mut impl Sink) {
        if self.is_plain() {
            if let Some(event) = self.classifier.read(&frame) {
                sink.passes(frame.block, event);
            }
            return;
        }
        if let Some(event) = self.classifier.read(&frame).copied() {
            sink.arrived(&frame.block, &event);
            self.change(Cow::Owned(frame), &event, &mut |block, event| match block {
                Cow::Borrowed(block) => sink.leaves(block, event),
                Cow::Owned(block) => sink.leaves_owned(block, event),
            });
        }
    }

    /// Reports whether events leave as they came.
    pub(super) const fn is_plain(&self) -> bool {
        self.filter.is_none() && self.translator.is_none()
    }

    /// Filters and translates a classified event, and passes what the client gets of it to `sink`.
    pub(super) fn change<'f>(
        &mut self,
        frame: Cow<'f, Frame<'f>>,
        event: &Event,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        let dialect = self.classifier.dialect();
        match (&mut self.filter, &mut self.translator) {
            (None, None) => match frame {
                Cow::Borrowed(frame) => sink(Cow::Borrowed(&frame.block), event),
                Cow::Owned(frame) => sink(frame.block, event),
            },
            (Some(filter), None) => filter.take(dialect, frame, event, sink),
            (None, Some(translator)) => {
                translator.take(dialect, &frame, event, &mut |block, event| {
                    sink(block.into(), event);
                });
            }
            (Some(filter), Some(translator)) => {
                let framing = filter.framing();
                filter.take(dialect, frame, event, &mut |block, event| {
                    let frame = wire::canonical(framing, &block);
                    translator.take(dialect, &frame, event, &mut |block, event| {
                        sink(block.into(), event);
                    });
                });
            }
        }
    }

    /// Passes what the filter held back, and the client may see, to `sink`, because the stream ends here.
    pub(super) fn flush(&mut self, framing: Framing, sink: &mut impl Sink) {
        let Some(filter) = &mut self.filter else {
            return;
        };
        let dialect = self.classifier.dialect();
        filter.finish(&mut |block, event| match &mut self.translator {
            None => sink.leaves(&block, event),
            Some(translator) => {
                let frame = wire::canonical(framing, &block);
                translator.take(dialect, &frame, event, &mut |block, event| {
                    sink.leaves(block, event);
                });
            }
        });
    }

    /// Returns what was hidden so far.
    pub(super) fn hidden(&self) -> Hidden {
        (self.filter.as_ref()).map_or_else(Hidden::default, |filter| filter.hidden())
    }

    /// Returns stages that say about the stream so far what these say, and pass on nothing. They are for a time in which
    /// these are on another thread.
    pub(super) fn stand_in(&self) -> Self {
        let translator = self.translator.as_ref();
        Self {
            classifier: self.classifier.stand_in(),
            filter: None,
            translator: translator.map(|translator| Box::new(translator.stand_in())),
        }
    }
}
