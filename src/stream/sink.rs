//! What receives the events of a pipeline.

use std::borrow::Cow;

use crate::event::Event;

/// Receives the events of a stream.
pub trait Sink {
    /// Called for an event that the upstream sent.
    fn arrived(&mut self, block: &[u8], event: &Event);
    /// Called for an event that the client may see.
    fn leaves(&mut self, block: &[u8], event: &Event);

    /// Called instead of both for an event that the client may see as it was sent.
    fn passes(&mut self, block: Cow<'_, [u8]>, event: &Event) {
        self.arrived(&block, event);
        self.leaves(&block, event);
    }

    /// Like [`Sink::leaves`], for a block that the sink may keep.
    fn leaves_owned(&mut self, block: Vec<u8>, event: &Event) {
        self.leaves(&block, event);
    }

    /// Reports whether large events are to be left to [`Pipeline::take_large`](super::pipeline::Pipeline::take_large).
    fn defers_large(&self) -> bool {
        false
    }

    /// Called when that many bytes of a compressed body have been decoded.
    fn decoded(&mut self, _bytes: usize) {}

    /// Reports whether the sink takes more. If not, the pipeline keeps what follows until it is fed again.
    fn has_room(&self) -> bool {
        true
    }
}

impl<F: FnMut(&[u8], &Event)> Sink for F {
    fn arrived(&mut self, _: &[u8], _: &Event) {}

    fn leaves(&mut self, block: &[u8], event: &Event) {
        self(block, event);
    }
}
