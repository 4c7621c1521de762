//! Drop-oldest: which events leave a full ring, and how the client is told what is missing.
//!
//! Only droppable events (token, reasoning, status, heartbeat) ever leave, the oldest first. A dropped entry stays as a
//! mark until the ring is tidied; what was dropped is noted at the next event that stays.

use super::Ring;
use super::parts::Entry;
use crate::event::{Class, Event};

/// What was dropped between two events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) events: u64,
    pub(super) chars: u64,
}

impl Gap {
    pub(super) const fn add(&mut self, other: Self) {
        self.events += other.events;
        self.chars += other.chars;
    }
}

/// Characters of a raw JSON string body: an escape is one, the halves of a surrogate pair are two.
pub(super) fn chars(raw: &[u8]) -> u64 {
    let mut count = 0;
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        let skip = match (first, after.first()) {
            (b'\\', Some(b'u')) => 5,
            (b'\\', Some(_)) => 1,
            _ => 0,
        };
        count += u64::from(first & 0xC0 != 0x80);
        rest = after.get(skip..).unwrap_or_default();
    }
    count
}

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
