//! Drop-oldest: which events leave a full ring, and how the client is told what is missing.
//!
//! Only droppable events (token, reasoning, status, heartbeat) ever leave, the oldest first. A dropped entry stays as a
//! mark until the ring is tidied; what was dropped is noted at the next event that stays.

use super::Ring;
use super::gap::{Gap, chars};
use super::parts::Entry;
use crate::event::{Class, Event};

impl Ring {
    /// Drops the oldest droppable events until `len` more bytes and one more event fit, or none is left.
    pub(super) fn drop_oldest(&mut self, len: usize) {
        while !self.fits(len) {
            let can_go = |entry: &Entry| !entry.dead && entry.class.is_droppable();
            let rest = self.entries.iter().skip(self.droppable);
            self.droppable += rest.take_while(|entry| !can_go(entry)).count();
            let Some(entry) = self.entries.get_mut(self.droppable) else {
                break;
            };
            entry.dead = true;
            let entry = *entry;
            (self.live, self.bytes) = (self.live - 1, self.bytes - entry.len);
            self.count_drop(entry.class);
            let block = self.store.block(entry.start, entry.len);
            let mut gap = entry.gap;
            gap.add(Gap {
                events: 1,
                chars: chars(entry.text.of(block)),
            });
            // The dead lie before every one that can go: the next one lives.
            match self.entries.get_mut(self.droppable + 1) {
                Some(next) => next.gap.add(gap),
                None => self.gap.add(gap),
            }
        }
        if self.entries.len() > 2 * self.live + 16 {
            self.tidy();
        }
    }

    /// Drops the event that comes: nothing older gives way, so this one is the oldest that can.
    pub(super) fn drop_new(&mut self, block: &[u8], event: &Event) {
        self.count_drop(event.class);
        self.gap.add(Gap {
            events: 1,
            chars: chars(event.text.map_or(&[], |text| text.of(block))),
        });
    }

    /// The client's words for what is missing; empty if nothing is, or it cannot be told.
    pub(super) fn notice(&self, gap: Gap) -> String {
        if gap.events == 0 {
            return String::new();
        }
        self.encoder.drop_notice(gap.events, gap.chars)
    }

    fn count_drop(&mut self, class: Class) {
        if let Some(count) = self.counts.dropped.get_mut(class.index()) {
            *count += 1;
        }
    }
}
