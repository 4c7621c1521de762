//! A large event, which is read on another thread.
//!
//! To classify and filter an event of many megabytes takes longer than a thread may keep its other streams waiting.

use std::borrow::Cow;

use super::classify::StreamClassifier;
use super::sink::Sink;
use crate::event::Event;
use crate::filter::Filter;
use crate::translate::Translator;
use crate::wire::{self, Frame, Payload};

/// Events of more bytes than this are large. Smaller ones take a few milliseconds at most.
pub(super) const MIN_BYTES: usize = 512 * 1024;

/// A large event, with everything that takes part in reading it.
#[derive(Debug)]
pub struct Unread {
    pub(super) frame: Frame<'static>,
    pub(super) classifier: StreamClassifier,
    pub(super) filter: Option<Box<Filter>>,
    pub(super) translator: Option<Box<Translator>>,
}

/// What takes part in reading the events of a stream.
type Readers = (
    StreamClassifier,
    Option<Box<Filter>>,
    Option<Box<Translator>>,
);

/// A large event that was read.
#[derive(Debug)]
pub struct ReadEvent {
    classifier: StreamClassifier,
    filter: Option<Box<Filter>>,
    translator: Option<Box<Translator>>,
    block: Cow<'static, [u8]>,
    /// What the event means; `None` if it is not forwarded.
    event: Option<Event>,
    /// What the client gets in its place, if there is a filter or a translator. `None` stands for the block as it is.
    visible: Vec<(Option<Vec<u8>>, Event)>,
}

impl Unread {
    /// Reads the event, which may take a tenth of a second.
    pub fn read(mut self) -> ReadEvent {
        let event = self.classifier.read(&self.frame).copied();
        let dialect = self.classifier.dialect();
        let mut visible = Vec::new();
        let mut translate = |translator: &mut Translator, frame: &Frame<'_>, event: &Event| {
            translator.take(dialect, frame, event, &mut |block, event| {
                visible.push((Some(block.to_vec()), *event));
            });
        };
        let (filter, translator) = (&mut self.filter, &mut self.translator);
        match (&event, filter, translator) {
            (None, ..) | (_, None, None) => {}
            (Some(event), None, Some(translator)) => translate(translator, &self.frame, event),
            (Some(event), Some(filter), Some(translator)) => {
                let framing = filter.framing();
                filter.take(
                    dialect,
                    Cow::Borrowed(&self.frame),
                    event,
                    &mut |block, event| {
                        translate(translator, &wire::canonical(framing, &block), event);
                    },
                );
            }
            (Some(event), Some(filter), None) => {
                let whole = (self.frame.block.as_ptr(), self.frame.block.len());
                let frame = if matches!(self.frame.data, Some(Payload::Joined(_))) {
                    // It has no text in one place that would be counted, and is given up as soon as it is rewritten.
                    Cow::Owned(std::mem::replace(&mut self.frame, Frame::empty()))
                } else {
                    Cow::Borrowed(&self.frame)
                };
                let is_moved = matches!(frame, Cow::Owned(_));
                filter.take(dialect, frame, event, &mut |block, event| {
                    let is_whole = !is_moved && (block.as_ptr(), block.len()) == whole;
                    visible.push(((!is_whole).then(|| block.into_owned()), *event));
                });
            }
        }
        ReadEvent {
            classifier: self.classifier,
            filter: self.filter,
            translator: self.translator,
            block: self.frame.block,
            event,
            visible,
        }
    }
}

impl ReadEvent {
    /// Passes the event to `sink`, as if it had been read here, and returns what took part in reading it.
    pub(super) fn deliver(self, sink: &mut impl Sink) -> Readers {
        match &self.event {
            None => {}
            Some(event) if self.filter.is_none() && self.translator.is_none() => {
                sink.passes(self.block, event);
            }
            Some(event) => {
                sink.arrived(&self.block, event);
                let mut whole = Some(self.block.into_owned());
                for (block, event) in self.visible {
                    sink.leaves_owned(block.or_else(|| whole.take()).unwrap_or_default(), &event);
                }
            }
        }
        (self.classifier, self.filter, self.translator)
    }
}
