//! Streams that no dialect knows.

use super::{Reading, shared};
use crate::event::Event;
use crate::translate::part::Part;
use crate::wire::Frame;

/// Reads nothing into them.
#[derive(Debug, Default)]
pub(super) struct Opaque {}

impl Reading for Opaque {
    fn read(&mut self, frame: &Frame<'_>, _: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        shared::unknown(frame.name(), frame.data(), parts);
    }
}
