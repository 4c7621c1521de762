//! What an event passes through: it is classified, filtered, recorded and translated.
//!
//! All of these travel together, because a large event takes them to another thread.

use std::borrow::Cow;

use super::classify::StreamClassifier;
use super::sink::Sink;
use crate::dialect::Dialect;
use crate::event::Event;
use crate::filter::{Filter, Hidden, HiddenKind};
use crate::translate::{Recorder, Status, Translator};
use crate::wire::{self, Frame, Framing};

/// The stages of one stream.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Stages {
    pub(super) classifier: StreamClassifier,
    /// Removes what is hidden from the client; `None` if nothing is.
    pub(super) filter: Option<Box<Filter>>,
    /// Remembers what the client may see; `None` if nobody asks for it.
    pub(super) recorder: Option<Box<Recorder>>,
    /// Writes what the client may see in another dialect; `None` if it keeps its own.
    pub(super) translator: Option<Box<Translator>>,
}

impl Stages {
    /// Passes what comes of a frame to `sink`.
    pub(super) fn pass(&mut self, frame: Frame<'_>, sink: &mut impl Sink) {
        if self.is_plain() {
            if let Some(event) = self.classifier.read(&frame, &mut None) {
                sink.passes(frame.block, event);
            }
            return;
        }
        if let Some(event) = self.classifier.read(&frame, &mut None).copied() {
            sink.arrived(&frame.block, &event);
            self.change(Cow::Owned(frame), &event, &mut |block, event| match block {
                Cow::Borrowed(block) => sink.leaves(block, event),
                Cow::Owned(block) => sink.leaves_owned(block, event),
            });
        }
    }

    /// Reports whether events leave as they came, and nobody looks at them.
    pub(super) const fn is_plain(&self) -> bool {
        self.filter.is_none() && self.translator.is_none() && self.recorder.is_none()
    }

    /// Filters, records and translates a classified event, and passes what the client gets of it to `sink`.
    pub(super) fn change<'f>(
        &mut self,
        frame: Cow<'f, Frame<'f>>,
        event: &Event,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        let dialect = self.classifier.dialect();
        let recorder = &mut self.recorder;
        match (&mut self.filter, &mut self.translator) {
            (None, None) => {
                record(recorder, dialect, &frame, event);
                match frame {
                    Cow::Borrowed(frame) => sink(Cow::Borrowed(&frame.block), event),
                    Cow::Owned(frame) => sink(frame.block, event),
                }
            }
            (Some(filter), None) if recorder.is_none() => filter.take(dialect, frame, event, sink),
            (Some(filter), None) => {
                let framing = filter.framing();
                filter.take(dialect, frame, event, &mut |block, event| {
                    record(recorder, dialect, &wire::canonical(framing, &block), event);
                    sink(block, event);
                });
            }
            (None, Some(translator)) => {
                record(recorder, dialect, &frame, event);
                translator.take(dialect, &frame, event, &mut |block, event| {
                    sink(block.into(), event);
                });
            }
            (Some(filter), Some(translator)) => {
                let framing = filter.framing();
                filter.take(dialect, frame, event, &mut |block, event| {
                    let frame = wire::canonical(framing, &block);
                    record(recorder, dialect, &frame, event);
                    translator.take(dialect, &frame, event, &mut |block, event| {
                        sink(block.into(), event);
                    });
                });
                tell(filter, translator, dialect, &mut |block, event| {
                    sink(block.into(), event);
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
        let (recorder, translator) = (&mut self.recorder, &mut self.translator);
        filter.finish(&mut |block, event| {
            if recorder.is_none() && translator.is_none() {
                return sink.leaves(&block, event);
            }
            let frame = wire::canonical(framing, &block);
            record(recorder, dialect, &frame, event);
            match translator {
                None => sink.leaves(&block, event),
                Some(translator) => {
                    translator.take(dialect, &frame, event, &mut |block, event| {
                        sink.leaves(block, event);
                    });
                }
            }
        });
    }

    /// Tells the client of a translation that the agent has been silent for this many seconds, if the route says so and
    /// the client's dialect has words for it. Returns whether it was told.
    pub(super) fn tell_waiting(&mut self, seconds: u64, sink: &mut impl Sink) -> bool {
        let dialect = self.classifier.dialect();
        let translator = self.translator.as_mut();
        translator
            .filter(|translator| translator.tells_waiting())
            .is_some_and(|translator| {
                translator.tell(dialect, Status::Waiting(seconds), &mut |block, event| {
                    sink.leaves(block, event);
                })
            })
    }

    /// Returns what was hidden so far.
    pub(super) fn hidden(&self) -> Hidden {
        (self.filter.as_ref()).map_or_else(Hidden::default, |filter| filter.hidden())
    }

    /// Returns stages that say about the stream so far what these say, and pass on nothing. They are for a time in
    /// which these are on another thread.
    pub(super) fn stand_in(&self) -> Self {
        let translator = self.translator.as_ref();
        let recorder = self.recorder.as_ref();
        Self {
            classifier: self.classifier.stand_in(),
            filter: None,
            recorder: recorder.map(|recorder| Box::new(recorder.stand_in())),
            translator: translator.map(|translator| Box::new(translator.stand_in())),
        }
    }
}

/// Records an event that the client may see, if somebody asks for it.
fn record(
    recorder: &mut Option<Box<Recorder>>,
    dialect: Dialect,
    frame: &Frame<'_>,
    event: &Event,
) {
    if let Some(recorder) = recorder {
        recorder.take(dialect, frame, event);
    }
}

/// Tells the client of a translation what was left out, if the route says so.
fn tell(
    filter: &mut Filter,
    translator: &mut Translator,
    dialect: Dialect,
    sink: &mut impl FnMut(&[u8], &Event),
) {
    if let Some(note) = filter.take_note() {
        let status = match note.kind {
            HiddenKind::Reasoning => Status::Thinking,
            HiddenKind::Tool => Status::Tool(note.tool.as_deref()),
        };
        translator.tell(dialect, status, sink);
    }
}
