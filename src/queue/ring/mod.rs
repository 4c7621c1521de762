//! The events that wait for a client: a ring that is bounded in events and bytes, with the rules for a full ring.
//!
//! An event that does not fit is merged with the last event if both are alike. Otherwise, neighbours that already wait
//! and are alike are merged. If that does not make enough room, the [`Overflow`] rule applies. Only droppable events
//! are ever dropped; a critical event waits outside ([`Push::Full`]). All blocks lie one after the other in one buffer,
//! so a reader can take a large run of events without a copy.

mod compact;
mod drop_oldest;
mod gap;
mod number;
mod parts;
mod spare;
mod store;
mod take;

use std::collections::VecDeque;

use tokio::time::Instant;

use super::join::{self, Joined};
use super::limits::{Limits, Overflow};
use crate::encode::Encoder;
use crate::event::{Brief, Class, Event, Keep};
use gap::{Gap, written_chars};
pub use parts::{Counts, Push, Taken, Waiting};
use parts::{Entry, Losses};
use store::Store;

/// Larger events are handed on in their own buffers, without a copy.
pub const LARGE_BYTES: usize = 64 * 1024;

/// What an event in the ring takes beside its block: an entry, the spare room of the list, and entries of dropped
/// events that have not been removed yet.
const NOTE_BYTES: usize = 3 * size_of::<Entry>();

/// A bounded queue of encoded events, without locks or wakers.
#[derive(Debug)]
#[repr(C)]
pub struct Ring {
    /// The number of entries that are not dead.
    live: usize,
    /// The number of bytes of these entries.
    bytes: usize,
    entries: VecDeque<Entry>,
    /// The blocks of all entries in order, with holes where blocks were taken or dropped.
    store: Store,
    /// What was dropped since the last event pushed. The next event pushed records it.
    gap: Gap,
    /// Entries before this index have been compacted with their neighbours.
    compacted: usize,
    /// No entry before this index can be dropped.
    droppable: usize,
    /// The largest number of bytes that waited at once.
    max_bytes: usize,
    taken_bytes: u64,
    /// Events taken by the reader, by [`Class::index`].
    taken: [u64; Class::ALL.len()],
    losses: Option<Box<Losses>>,
    limits: Limits,
    encoder: Encoder,
    /// The reader does not keep up, so the overflow rule applies to events that do not fit.
    slow: bool,
    /// Some entries that count as compacted have been kept apart because they are batches.
    has_batches: bool,
    /// Several agents write the events: what is dropped is taken from the one with the most waiting.
    is_fair: bool,
    /// What is written before each numbered event: `id: ` and the name of the stream. `None` if events have no ids.
    ids: Option<Box<[u8]>>,
}

impl Ring {
    /// Creates an empty ring. `encoder` writes heartbeats and drop notices.
    pub fn new(limits: Limits, encoder: Encoder) -> Self {
        Self {
            limits,
            encoder,
            store: Store::new(limits.max_bytes),
            entries: VecDeque::new(),
            live: 0,
            bytes: 0,
            gap: Gap::default(),
            compacted: 0,
            droppable: 0,
            slow: true,
            has_batches: false,
            is_fair: false,
            ids: None,
            max_bytes: 0,
            taken_bytes: 0,
            taken: [0; Class::ALL.len()],
            losses: None,
        }
    }

    /// Sets whether the reader is slow. While it is not, events that do not fit wait outside, because a burst is not
    /// the reader's fault.
    pub const fn reader_is_slow(&mut self, slow: bool) {
        self.slow = slow;
    }

    /// Takes what is dropped from the agent of which the most waits, instead of the oldest event of all.
    pub const fn share_fairly(&mut self) {
        self.is_fair = true;
    }

    /// Pushes an event, or returns why it was not accepted.
    pub fn push(&mut self, block: &[u8], event: &Event, now: Instant) -> Push {
        self.push_numbered(block, event, 0, now)
    }

    /// Adds the event with this number in its stream.
    pub fn push_numbered(&mut self, block: &[u8], event: &Event, seq: u64, now: Instant) -> Push {
        if self.put(block, event, seq, now) {
            return Push::Accepted;
        }
        self.push_full(block, event, seq, now)
    }

    /// Pushes an event that fits as it is. Returns whether it does; if not, nothing has happened.
    #[expect(
        clippy::inline_always,
        reason = "a call for each event costs 10 instructions"
    )]
    #[inline(always)]
    pub fn put(&mut self, block: &[u8], event: &Event, seq: u64, now: Instant) -> bool {
        let fits = self.fits(block.len());
        if fits {
            self.append(block, event, seq, now);
        }
        fits
    }

    /// Returns the newest `count` events, which must all have been [put](Self::put) since anything else was pushed:
    /// their blocks one after the other, and what else is known of each.
    pub fn newest(&self, count: usize) -> (&[u8], impl ExactSizeIterator<Item = Brief> + Clone) {
        let newest = self
            .entries
            .range(self.entries.len().saturating_sub(count)..);
        let start = newest.clone().next().map_or(0, |entry| entry.start);
        let blocks = self.store.block(start, self.store.end() - start);
        let briefs = newest.map(|entry| Brief {
            len: entry.len,
            class: entry.class,
            agent: entry.agent,
            text: entry.text,
        });
        (blocks, briefs)
    }

    /// Pushes an event to an empty ring, and takes over the buffer of its block.
    pub fn push_whole(&mut self, block: Vec<u8>, event: &Event, now: Instant) {
        // Those that are left have been dropped.
        self.entries.clear();
        (self.compacted, self.droppable) = (0, 0);
        let len = block.len();
        self.store.adopt(block);
        self.note(0, len, event, 0, now);
    }

    /// The rest of [`Ring::push`], for an event that does not fit. Not inlined: it is not the common case.
    #[inline(never)]
    fn push_full(&mut self, block: &[u8], event: &Event, seq: u64, now: Instant) -> Push {
        if self.limits.merge && self.join_tail(block, event, seq) {
            return Push::Accepted;
        }
        self.compact();
        if !self.fits(block.len()) {
            match self.limits.overflow {
                _ if !self.slow => return Push::Full,
                Overflow::Block => return Push::Full,
                Overflow::Disconnect => return Push::Disconnect,
                Overflow::DropOldest => self.drop_oldest(block.len()),
            }
        }
        if self.fits(block.len()) {
            self.append(block, event, seq, now);
            // A merge with its neighbour was tried above.
            self.compacted = self.entries.len();
            return Push::Accepted;
        }
        if event.class.is_droppable() {
            self.drop_new(block, event);
            return Push::Accepted;
        }
        Push::Full
    }

    /// Adds an event at the end of a stream, whatever waits: it was in memory before, and nothing follows that could
    /// wait for it.
    pub fn push_over(&mut self, block: &[u8], event: &Event, now: Instant) {
        self.append(block, event, 0, now);
    }

    /// Adds the last event of a stream, which Weir writes itself. It always fits.
    pub fn push_final(&mut self, block: &[u8], seq: u64, now: Instant) {
        self.append(block, &Event::bare(Class::Error), seq, now);
    }

    /// Sets the encoder that writes heartbeats and drop notices from here on.
    pub const fn set_encoder(&mut self, encoder: Encoder) {
        self.encoder = encoder;
    }

    /// Adds a heartbeat if nothing waits and the client's dialect has one. Returns whether it was added.
    pub fn heartbeat(&mut self, now: Instant) -> bool {
        let bytes = self.encoder.heartbeat().filter(|_| self.is_empty());
        if let Some(bytes) = bytes {
            self.append(bytes, &Event::bare(Class::Heartbeat), 0, now);
        }
        bytes.is_some()
    }

    /// Ends the ring: adds a drop notice if events were dropped after the last event that stayed.
    pub fn finish(&mut self, now: Instant) {
        let gap = std::mem::take(&mut self.gap);
        let notice = self.notice(gap);
        if !notice.is_empty() {
            self.append(notice.as_bytes(), &Event::bare(Class::Heartbeat), 0, now);
        }
    }

    /// Gives the buffers back for other queues to use. No entry may be live.
    #[inline]
    fn empty(&mut self) {
        spare::keep_entries(std::mem::take(&mut self.entries));
        self.store.empty();
    }

    /// Reserves room for a read of `bytes` bytes, most of which will wait here.
    pub fn expect(&mut self, bytes: usize) {
        if self.live == 0 {
            self.store.expect(bytes);
        }
    }

    /// Discards everything that waits, because nobody will take it.
    pub fn clear(&mut self) {
        if !self.is_empty() {
            let losses = self.losses.get_or_insert_default();
            for entry in self.entries.iter().filter(|entry| !entry.dead) {
                if let Some(count) = losses.unsent.get_mut(entry.class.index()) {
                    *count += 1;
                }
            }
        }
        self.entries.clear();
        self.empty();
        (self.live, self.bytes) = (0, 0);
    }

    /// Returns what waits, the oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting> {
        let live = self.entries.iter().filter(|entry| !entry.dead);
        live.map(|entry| {
            let block = self.store.block(entry.start, entry.len);
            Waiting {
                class: entry.class,
                chars: written_chars(entry.text.of(block)),
                arrived: entry.arrived,
            }
        })
    }

    /// Returns how many events wait.
    pub const fn len(&self) -> usize {
        self.live
    }

    /// Reports whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Returns how many bytes wait.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        let losses = self.losses.as_deref().copied().unwrap_or_default();
        Counts {
            max_bytes: self.max_bytes,
            taken_bytes: self.taken_bytes,
            taken: self.taken,
            merged: losses.merged,
            dropped: losses.dropped,
            unsent: losses.unsent,
        }
    }

    /// Reports whether an event of `len` bytes fits. Any event fits into an empty ring: otherwise an event larger than
    /// the limit could never pass.
    const fn fits(&self, len: usize) -> bool {
        let notes = (self.live * NOTE_BYTES).saturating_sub(self.store.free_notes());
        self.live == 0
            || (self.live < self.limits.max_events
                && self.bytes + len + notes <= self.store.max_live())
    }

    #[inline]
    fn append(&mut self, block: &[u8], event: &Event, seq: u64, now: Instant) {
        self.make_room(block.len());
        let start = self.store.end();
        self.store.put(block);
        self.note(start, block.len(), event, seq, now);
    }

    /// Adds the entry of an event whose block has been stored at `start`.
    #[expect(
        clippy::inline_always,
        reason = "a call for each event costs 20 instructions"
    )]
    #[inline(always)]
    fn note(&mut self, start: usize, len: usize, event: &Event, seq: u64, now: Instant) {
        let entry = Entry {
            start,
            len,
            class: event.class,
            content: event.content,
            agent: event.agent,
            merge: event.merge,
            text: event.text.unwrap_or_default(),
            arrived: now,
            gap: std::mem::take(&mut self.gap),
            seq,
            dead: false,
        };
        if self.entries.capacity() == 0 {
            self.entries = spare::entries();
        }
        self.entries.push_back(entry);
        self.live += 1;
        self.bytes += len;
        self.max_bytes = self.max_bytes.max(self.bytes);
    }

    /// Merges an event with the last one that waits, in place. Returns whether it was merged.
    fn join_tail(&mut self, block: &[u8], event: &Event, seq: u64) -> bool {
        if self.gap.events > 0 {
            return false;
        }
        let Some(tail) = self.entries.back_mut().filter(|tail| !tail.dead) else {
            return false;
        };
        let (Some(first), Some(second)) = (tail.merge, event.merge) else {
            return false;
        };
        let existing = self.store.block(tail.start, tail.len);
        let Some(Joined { kept, rest, merge }) = join::join((existing, first), (block, second))
        else {
            return false;
        };
        let len = kept + rest.len();
        if self.bytes - tail.len + len > self.store.max_live() {
            return false;
        }
        self.store.truncate(tail.start + tail.len);
        self.make_room(rest.len());
        let last = self.entries.len().saturating_sub(1);
        let Some(tail) = self.entries.back_mut() else {
            return false;
        };
        self.store.truncate(tail.start + kept);
        self.store.put(&rest);
        self.bytes = self.bytes - tail.len + len;
        tail.len = len;
        tail.seq = seq;
        tail.merge = Some(merge);
        tail.text = merge.text;
        if merge.keep == Keep::Replace {
            // The newer event contains all of the older one, and maybe more. None of it may be lost.
            tail.content = event.content;
            if tail.class.is_droppable() {
                tail.class = event.class;
            }
        }
        self.droppable = self.droppable.min(last);
        self.losses.get_or_insert_default().merged += 1;
        self.max_bytes = self.max_bytes.max(self.bytes);
        true
    }

    /// Closes the holes in the buffer if `len` more bytes need the room.
    fn make_room(&mut self, len: usize) {
        if self.live == 0 && !self.entries.is_empty() {
            // All of it has been dropped.
            self.entries.clear();
            self.store.empty();
            (self.compacted, self.droppable) = (0, 0);
        }
        if self.store.is_worn(self.bytes, len) {
            self.tidy();
        }
    }

    /// Closes the holes in the buffer and removes dead entries.
    fn tidy(&mut self) {
        let (mut seen, mut gone, mut end) = (0, 0, 0);
        let (store, compacted) = (&mut self.store, self.compacted);
        self.entries.retain_mut(|entry| {
            seen += 1;
            if entry.dead {
                gone += usize::from(seen <= compacted);
                return false;
            }
            store.slide(entry.start, end, entry.len);
            entry.start = end;
            end += entry.len;
            true
        });
        self.store.truncate(end);
        self.compacted -= gone;
        self.droppable = 0;
    }

    /// Appends the blocks of the first `entries` entries to `out`, with a drop notice wherever events are missing.
    fn copy(&self, entries: usize, out: &mut Vec<u8>) {
        let entries = self.entries.iter().take(entries);
        for entry in entries.filter(|entry| !entry.dead) {
            out.extend_from_slice(self.notice(entry.gap).as_bytes());
            self.write(entry, out);
        }
    }
}

#[cfg(test)]
mod tests;
