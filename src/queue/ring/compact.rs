//! Merges neighbouring events that already wait: all that are alike if the ring is full, or batches of a given number
//! of characters for a gate.

use std::cell::Cell;

use super::Ring;
use super::gap::{Gap, written_chars};
use super::parts::Entry;
use crate::event::{Class, Event};

/// The largest buffer that [`MOVED`] keeps, in bytes.
const KEEP_MOVED_BYTES: usize = 1024 * 1024;

thread_local! {
    /// A buffer for blocks that move to another place in their ring. It is kept, because allocating and freeing a
    /// buffer of this size again and again would fragment the memory of the process.
    static MOVED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Ring {
    /// Merges neighbours that already wait, and discards heartbeats, because an event follows them. Each entry is
    /// processed once, however often the ring is full, and those of batches once more.
    pub fn compact(&mut self) {
        if std::mem::take(&mut self.has_batches) {
            self.compacted = 0;
        }
        self.merge_waiting(None);
    }

    /// Merges neighbours that already wait, until they have `max_chars` characters together or more. Each entry is
    /// processed once.
    pub fn batch(&mut self, max_chars: usize) {
        self.has_batches |= self.merge_waiting(Some(max_chars));
    }

    /// Merges the entries that have not been processed with their neighbours, but none with one that has `max_chars`
    /// characters. Returns whether any was kept apart for that.
    fn merge_waiting(&mut self, max_chars: Option<usize>) -> bool {
        let from = std::mem::replace(&mut self.compacted, self.entries.len());
        // A large event is not moved.
        let from = from.min(self.entries.len());
        let fresh = self.entries.range(from..);
        let large = fresh.rev().position(|entry| entry.len > KEEP_MOVED_BYTES);
        let from = large.map_or(from, |behind| self.entries.len() - behind);
        let fresh: Vec<Entry> = self.entries.drain(from..).collect();
        let Some(start) = fresh.first().map(|entry| entry.start) else {
            return false;
        };
        let mut old = MOVED.take();
        old.clear();
        old.extend_from_slice(self.store.block(start, self.store.end() - start));
        self.store.truncate(start);
        // What was dropped before a heartbeat is told with the next event.
        let mut untold = Gap::default();
        // The characters of the last entry, if they count.
        let mut chars = match (max_chars, self.entries.back()) {
            (Some(_), Some(tail)) => {
                written_chars(tail.text.of(self.store.block(tail.start, tail.len)))
            }
            _ => 0,
        };
        let mut is_apart = false;
        for mut entry in fresh {
            if entry.dead {
                continue;
            }
            (self.live, self.bytes) = (self.live - 1, self.bytes - entry.len);
            let begin = entry.start - start;
            let block = old.get(begin..begin + entry.len).unwrap_or_default();
            if entry.class == Class::Heartbeat && max_chars.is_none() {
                untold.add(entry.gap);
                continue;
            }
            entry.gap.add(std::mem::take(&mut untold));
            let more = max_chars.map_or(0, |_| written_chars(entry.text.of(block)));
            let is_full = max_chars.is_some_and(|max_chars| chars >= max_chars);
            is_apart |= is_full;
            let joined = self.limits.merge && !is_full && entry.gap.events == 0 && {
                let event = Event {
                    content: entry.content,
                    merge: entry.merge,
                    ..Event::bare(entry.class)
                };
                self.join_tail(block, &event, entry.seq)
            };
            if joined {
                chars += more;
            } else {
                chars = more;
                entry.start = self.store.end();
                self.store.put(block);
                (self.live, self.bytes) = (self.live + 1, self.bytes + entry.len);
                self.entries.push_back(entry);
            }
        }
        self.gap.add(untold);
        self.compacted = self.entries.len();
        self.droppable = self.droppable.min(from);
        old.shrink_to(KEEP_MOVED_BYTES);
        MOVED.set(old);
        is_apart
    }
}
