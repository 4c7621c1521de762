//! A large event, which is read on another thread.
//!
//! To classify, filter and translate an event of many megabytes takes longer than a thread may keep its other streams
//! waiting.

use std::borrow::Cow;

use super::sink::Sink;
use super::stages::Stages;
use crate::event::Event;
use crate::wire::{Frame, Payload};

/// Events of more bytes than this are large. Smaller ones take a few milliseconds at most.
pub(super) const MIN_BYTES: usize = 512 * 1024;

/// A large event, with everything that takes part in reading it.
#[derive(Debug)]
pub struct Unread {
    pub(super) frame: Frame<'static>,
    pub(super) stages: Stages,
}

/// A large event that was read.
#[derive(Debug)]
pub struct ReadEvent {
    stages: Stages,
    block: Cow<'static, [u8]>,
    /// What the event means; `None` if it is not forwarded.
    event: Option<Event>,
    /// What the client gets in its place, if something changes it. `None` stands for the block as it is.
    changed: Vec<(Option<Vec<u8>>, Event)>,
}

impl Unread {
    /// Reads the event, which may take a tenth of a second.
    pub fn read(mut self) -> ReadEvent {
        let event = self.stages.classifier.read(&self.frame, &mut None).copied();
        let mut changed = Vec::new();
        if let Some(event) = event.filter(|_| !self.stages.is_plain()) {
            let whole = (self.frame.block.as_ptr(), self.frame.block.len());
            let frame = if matches!(self.frame.data, Some(Payload::Joined(_))) {
                // It has no text in one place that would be counted, and is given up as soon as it is rewritten.
                Cow::Owned(std::mem::replace(&mut self.frame, Frame::empty()))
            } else {
                Cow::Borrowed(&self.frame)
            };
            let is_moved = matches!(frame, Cow::Owned(_));
            self.stages.change(frame, &event, &mut |block, event| {
                let is_whole = !is_moved && (block.as_ptr(), block.len()) == whole;
                changed.push(((!is_whole).then(|| block.into_owned()), *event));
            });
        }
        ReadEvent {
            stages: self.stages,
            block: self.frame.block,
            event,
            changed,
        }
    }
}

impl ReadEvent {
    /// Passes the event to `sink`, as if it had been read here, and returns what took part in reading it.
    pub(super) fn deliver(self, sink: &mut impl Sink) -> Stages {
        match &self.event {
            None => {}
            Some(event) if self.stages.is_plain() => sink.passes(self.block, event),
            Some(event) => {
                sink.arrived(&self.block, event);
                let mut whole = Some(self.block.into_owned());
                for (block, event) in self.changed {
                    sink.leaves_owned(block.or_else(|| whole.take()).unwrap_or_default(), &event);
                }
            }
        }
        self.stages
    }
}
