//! The ids of numbered events: a line that a client sends back to get what follows (`Last-Event-ID`).
//!
//! The line is written when a reader takes an event, not before: of joined events only the last number counts.

use super::Ring;
use super::parts::Entry;
use crate::encode::write_with_id;

impl Ring {
    /// Sets what is written before the number of an event; `None` if events have no ids.
    pub fn set_ids(&mut self, ids: Option<Box<[u8]>>) {
        self.ids = ids;
    }

    pub(super) const fn has_id(&self, entry: &Entry) -> bool {
        entry.seq > 0 && self.ids.is_some()
    }

    /// Appends the block of an entry, with its id if it has one.
    pub(super) fn write(&self, entry: &Entry, out: &mut Vec<u8>) {
        let block = self.store.block(entry.start, entry.len);
        match &self.ids {
            Some(ids) if entry.seq > 0 => write_with_id(ids, entry.seq, block, out),
            _ => out.extend_from_slice(block),
        }
    }
}
