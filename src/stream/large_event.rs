//! A large event, which is read on another thread.
//!
//! To classify and filter an event of many megabytes takes longer than a thread may keep its other streams waiting.

use std::borrow::Cow;

use super::classify::StreamClassifier;
use super::sink::Sink;
use crate::event::Event;
use crate::filter::Filter;
use crate::wire::{Frame, Payload};

/// Events of more bytes than this are large. Smaller ones take a few milliseconds at most.
pub(super) const MIN_BYTES: usize = 512 * 1024;

/// A large event, with everything that takes part in reading it.
#[derive(Debug)]
pub struct Unread {
    pub(super) frame: Frame<'static>,
    pub(super) classifier: StreamClassifier,
    pub(super) filter: Option<Box<Filter>>,
}

/// A large event that was read.
#[derive(Debug)]
pub struct ReadEvent {
    pub(super) classifier: StreamClassifier,
    pub(super) filter: Option<Box<Filter>>,
    block: Cow<'static, [u8]>,
    /// What the event means; `None` if it is not forwarded.
    event: Option<Event>,
    /// What the client may see in its place, if there is a filter. `None` stands for the block as it is.
    visible: Vec<(Option<Vec<u8>>, Event)>,
}

impl Unread {
    /// Reads the event, which may take a tenth of a second.
    pub fn read(mut self) -> ReadEvent {
        let event = self.classifier.read(&self.frame).copied();
        let mut visible = Vec::new();
        if let (Some(event), Some(filter)) = (&event, &mut self.filter) {
            let dialect = self.classifier.dialect();
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
        ReadEvent {
            classifier: self.classifier,
            filter: self.filter,
            block: self.frame.block,
            event,
            visible,
        }
    }
}

impl ReadEvent {
    /// Passes the event to `sink`, as if it had been read here.
    pub(super) fn deliver(self, sink: &mut impl Sink) -> (StreamClassifier, Option<Box<Filter>>) {
        match &self.event {
            None => {}
            Some(event) if self.filter.is_none() => sink.passes(self.block, event),
            Some(event) => {
                sink.arrived(&self.block, event);
                let mut whole = Some(self.block.into_owned());
                for (block, event) in self.visible {
                    sink.leaves_owned(block.or_else(|| whole.take()).unwrap_or_default(), &event);
                }
            }
        }
        (self.classifier, self.filter)
    }
}
