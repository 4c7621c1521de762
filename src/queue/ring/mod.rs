//! What waits for a slow client: bounded in events and bytes, and what gives way at the bound.
//!
//! When an event does not fit: join it to an equal tail, join equal neighbours already waiting, then
//! follow [`Overflow`]. Only droppable events are ever dropped; a critical one waits outside ([`Push::Full`]).
//! All blocks lie one after the other in one buffer, so a reader that keeps up takes them without a copy.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::Instant;

use super::join::{self, Joined};
use super::{Limits, Overflow};
use crate::event::{Class, Content, Event, Merge};

/// A buffer larger than this is given back when it runs empty.
const KEEP_BYTES: usize = 16 * 1024;

/// A sync, bounded queue of encoded events.
#[derive(Debug)]
pub struct Ring {
    limits: Limits,
    notices: bool,
    /// Blocks of all entries in order; holes only where something was dropped from the middle.
    buffer: BytesMut,
    entries: VecDeque<Entry>,
    /// Bytes of live entries.
    bytes: usize,
    /// Told in front of the next event pushed.
    gap: Gap,
    /// Something was pushed that compacting has not looked at.
    uncompacted: bool,
    counts: Counts,
}

/// What happened so far; only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events taken by the reader, by [`Class::index`]; heartbeats and Weir's own end included.
    pub taken: [u64; Class::ALL.len()],
    /// Dropped events, by [`Class::index`].
    pub dropped: [u64; Class::ALL.len()],
    /// Bytes taken by the reader.
    pub taken_bytes: u64,
    /// Events that were joined to another.
    pub merged: u64,
    /// The most bytes that ever waited.
    pub max_bytes: usize,
}

/// What was dropped between two events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Gap {
    events: u64,
    chars: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where the block starts in the buffer.
    start: usize,
    len: usize,
    class: Class,
    content: Content,
    merge: Option<Merge>,
    arrived: Instant,
    /// Dropped directly before this one.
    gap: Gap,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// It waits, was joined, or was dropped as the rules say.
    Accepted,
    /// The rule of this queue is to end the stream.
    Disconnect,
    /// It must wait outside until something is taken.
    Full,
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub struct Taken {
    /// One or more whole blocks.
    pub bytes: Bytes,
    /// How many events they are.
    pub events: usize,
    /// When the oldest of them came from the upstream.
    pub oldest: Instant,
    /// Which kinds of content are in it.
    pub contents: Contents,
}

/// A set of [`Content`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents(u8);

impl Contents {
    /// Adds one.
    pub const fn insert(&mut self, content: Content) {
        self.0 |= 1 << content as u8;
    }

    /// Whether it is in the set.
    pub const fn contains(self, content: Content) -> bool {
        self.0 & (1 << content as u8) != 0
    }
}

impl Ring {
    /// An empty ring. `notices`: the client tolerates comments, so drops can be told.
    pub fn new(limits: Limits, notices: bool) -> Self {
        Self {
            limits,
            notices,
            buffer: BytesMut::new(),
            entries: VecDeque::new(),
            bytes: 0,
            gap: Gap::default(),
            uncompacted: false,
            counts: Counts::default(),
        }
    }

    /// Takes an event in, or says why not.
    pub fn push(&mut self, block: &[u8], event: &Event, now: Instant) -> Push {
        if self.fits(block.len()) {
            self.append(block, event, now);
            return Push::Accepted;
        }
        if self.limits.merge && self.join_tail(block, event) {
            return Push::Accepted;
        }
        self.compact();
        if !self.fits(block.len()) {
            match self.limits.overflow {
                Overflow::Block => return Push::Full,
                Overflow::Disconnect => return Push::Disconnect,
                Overflow::DropOldest => self.drop_oldest(block.len()),
            }
        }
        if self.fits(block.len()) {
            self.append(block, event, now);
            return Push::Accepted;
        }
        if event.class.is_droppable() {
            // Nothing older gives way, so this one is the oldest that can.
            self.count_drop(event.class);
            let gap = Gap {
                events: 1,
                chars: chars(event.text.map_or(&[], |text| text.of(block))),
            };
            self.gap.add(gap);
            return Push::Accepted;
        }
        Push::Full
    }

    /// Adds Weir's own last event; it always fits.
    pub fn push_final(&mut self, block: &[u8], now: Instant) {
        self.append(block, &Event::bare(Class::Error), now);
    }

    /// Adds a heartbeat if nothing waits; says whether it did.
    pub fn heartbeat(&mut self, bytes: &[u8], now: Instant) -> bool {
        let empty = self.entries.is_empty();
        if empty {
            self.append(bytes, &Event::bare(Class::Heartbeat), now);
        }
        empty
    }

    /// Takes as many whole events as fit in `max_bytes`, at least one; everything if it fits.
    pub fn take(&mut self, max_bytes: usize) -> Option<Taken> {
        let first = self.entries.front()?;
        let mut taken = Taken {
            bytes: Bytes::new(),
            events: 0,
            oldest: first.arrived,
            contents: Contents::default(),
        };
        let mut bytes = 0;
        let mut plain = true;
        let mut end = first.start;
        plain &= end == 0;
        for entry in &self.entries {
            if taken.events > 0 && bytes + entry.len > max_bytes {
                break;
            }
            plain &= entry.start == end && (entry.gap.events == 0 || !self.notices);
            end = entry.start + entry.len;
            bytes += entry.len;
            taken.events += 1;
            taken.oldest = taken.oldest.min(entry.arrived);
            taken.contents.insert(entry.content);
            if let Some(count) = self.counts.taken.get_mut(entry.class.index()) {
                *count += 1;
            }
        }
        taken.bytes = if plain {
            self.buffer.split_to(end.min(self.buffer.len())).freeze()
        } else {
            self.copy(taken.events, bytes)
        };
        self.counts.taken_bytes += taken.bytes.len() as u64;
        self.entries.drain(..taken.events);
        self.bytes -= bytes;
        if plain {
            for entry in &mut self.entries {
                entry.start -= end;
            }
        }
        if self.entries.is_empty() {
            self.buffer.clear();
            if self.buffer.capacity() > KEEP_BYTES {
                self.buffer = BytesMut::new();
                self.entries.shrink_to(16);
            }
        } else if !plain {
            self.pack();
        }
        Some(taken)
    }

    /// Throws away all that waits: nobody will take it.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.buffer = BytesMut::new();
        self.bytes = 0;
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that wait.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What happened so far.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// An event beyond the bound may stand alone: otherwise it could never pass.
    fn fits(&self, len: usize) -> bool {
        self.entries.is_empty()
            || (self.entries.len() < self.limits.max_events
                && self.bytes + len <= self.limits.max_bytes)
    }

    fn append(&mut self, block: &[u8], event: &Event, now: Instant) {
        let entry = Entry {
            start: self.buffer.len(),
            len: block.len(),
            class: event.class,
            content: event.content,
            merge: event.merge,
            arrived: now,
            gap: std::mem::take(&mut self.gap),
        };
        self.buffer.put_slice(block);
        self.entries.push_back(entry);
        self.bytes += block.len();
        self.counts.max_bytes = self.counts.max_bytes.max(self.bytes);
        let joins = self.limits.merge && event.merge.is_some();
        self.uncompacted |= joins || event.class == Class::Heartbeat;
    }

    /// Joins an event to the last one waiting, in place.
    fn join_tail(&mut self, block: &[u8], event: &Event) -> bool {
        if self.gap.events > 0 {
            return false;
        }
        let Some(tail) = self.entries.back_mut() else {
            return false;
        };
        let (Some(first), Some(second)) = (tail.merge, event.merge) else {
            return false;
        };
        let Some(existing) = self.buffer.get(tail.start..tail.start + tail.len) else {
            return false;
        };
        let Some(Joined { kept, rest, merge }) = join::join((existing, first), (block, second))
        else {
            return false;
        };
        let len = kept + rest.len();
        if self.bytes - tail.len + len > self.limits.max_bytes {
            return false;
        }
        self.buffer.truncate(tail.start + kept);
        self.buffer.put_slice(&rest);
        self.bytes = self.bytes - tail.len + len;
        tail.len = len;
        tail.merge = Some(merge);
        self.counts.merged += 1;
        self.counts.max_bytes = self.counts.max_bytes.max(self.bytes);
        true
    }

    /// Joins equal neighbours that already wait, and drops heartbeats: something better follows them.
    fn compact(&mut self) {
        if !std::mem::take(&mut self.uncompacted) {
            return;
        }
        let old = std::mem::take(&mut self.buffer);
        let entries = std::mem::take(&mut self.entries);
        self.buffer = BytesMut::with_capacity(self.bytes);
        self.bytes = 0;
        for mut entry in entries {
            let Some(block) = old.get(entry.start..entry.start + entry.len) else {
                continue;
            };
            if entry.class == Class::Heartbeat {
                continue;
            }
            let joined = self.limits.merge && entry.gap.events == 0 && {
                let event = Event {
                    merge: entry.merge,
                    ..Event::bare(entry.class)
                };
                self.join_tail(block, &event)
            };
            if !joined {
                entry.start = self.buffer.len();
                self.buffer.put_slice(block);
                self.bytes += block.len();
                self.entries.push_back(entry);
            }
        }
    }

    /// Drops the oldest droppable events until `len` more bytes and one more event fit, or none is left.
    fn drop_oldest(&mut self, len: usize) {
        let mut index = 0;
        while !self.fits(len) {
            let Some(offset) = self
                .entries
                .iter()
                .skip(index)
                .position(|entry| entry.class.is_droppable())
            else {
                break;
            };
            index += offset;
            let Some(entry) = self.entries.remove(index) else {
                break;
            };
            self.bytes -= entry.len;
            self.count_drop(entry.class);
            let text = entry.merge.map(|merge| merge.text).unwrap_or_default();
            let block = self
                .buffer
                .get(entry.start..entry.start + entry.len)
                .unwrap_or_default();
            let mut gap = entry.gap;
            gap.add(Gap {
                events: 1,
                chars: chars(text.of(block)),
            });
            match self.entries.get_mut(index) {
                Some(next) => next.gap.add(gap),
                None => self.gap.add(gap),
            }
        }
        if self.buffer.len() > 2 * self.bytes {
            self.pack();
        }
    }

    /// Closes the holes.
    fn pack(&mut self) {
        let old = std::mem::take(&mut self.buffer);
        self.buffer = BytesMut::with_capacity(self.bytes);
        for entry in &mut self.entries {
            let start = self.buffer.len();
            self.buffer.put_slice(
                old.get(entry.start..entry.start + entry.len)
                    .unwrap_or_default(),
            );
            entry.start = start;
        }
    }

    /// The first `events` blocks, with notices where something is missing.
    fn copy(&self, events: usize, bytes: usize) -> Bytes {
        let mut out = BytesMut::with_capacity(bytes + 64);
        for entry in self.entries.iter().take(events) {
            if self.notices && entry.gap.events > 0 {
                let notice = format!(
                    ": weir dropped={} chars={}\n",
                    entry.gap.events, entry.gap.chars
                );
                out.put_slice(notice.as_bytes());
            }
            out.put_slice(
                self.buffer
                    .get(entry.start..entry.start + entry.len)
                    .unwrap_or_default(),
            );
        }
        out.freeze()
    }

    fn count_drop(&mut self, class: Class) {
        if let Some(count) = self.counts.dropped.get_mut(class.index()) {
            *count += 1;
        }
    }
}

impl Gap {
    const fn add(&mut self, other: Self) {
        self.events += other.events;
        self.chars += other.chars;
    }
}

/// Characters of a raw JSON string body: an escape is one, the halves of a surrogate pair are two.
fn chars(raw: &[u8]) -> u64 {
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

#[cfg(test)]
mod tests;
