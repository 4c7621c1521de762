//! The events of one stream, numbered from 1 and kept for clients that come back.
//!
//! A journal holds what a client may see: the blocks after the filter and the translation, without heartbeats and drop
//! notices. It is bounded in events and bytes. What does not fit evicts the oldest events, which nobody can ask for
//! afterwards.

mod segment;

use std::collections::VecDeque;

use crate::event::{Brief, Event};
pub use segment::Kept;
use segment::Segment;

/// How many segments begin with a small buffer. A stream that fills these is long, and will fill the next ones, too.
const GROWING_SEGMENTS: usize = 4;

/// The bounds of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Maximum number of events.
    pub max_events: usize,
    /// Maximum number of bytes of blocks. A single larger event is kept alone.
    pub max_bytes: usize,
}

/// The newest events of a stream. A plain value: no lock, no clock.
#[derive(Debug)]
pub struct Journal {
    bounds: Bounds,
    /// The events in order. No segment is empty.
    segments: VecDeque<Segment>,
    /// A segment whose events have all been evicted, for the next ones.
    spare: Option<Segment>,
    /// The number of the last event; zero before the first.
    last: u64,
    events: usize,
    bytes: usize,
    /// How many bytes the buffers take, whatever is in them.
    allocated: usize,
}

impl Journal {
    /// Creates an empty journal.
    pub const fn new(bounds: Bounds) -> Self {
        Self::after(bounds, 0)
    }

    /// Creates an empty journal of a stream whose events up to `last` are not kept here.
    pub const fn after(bounds: Bounds, last: u64) -> Self {
        Self {
            bounds,
            segments: VecDeque::new(),
            spare: None,
            last,
            events: 0,
            bytes: 0,
            allocated: 0,
        }
    }

    /// Returns the number of the oldest event that is kept, which is the next one if none is.
    pub const fn first(&self) -> u64 {
        self.last + 1 - self.events as u64
    }

    /// Returns the number of the last event; zero before the first.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Returns how many bytes the kept blocks have.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns how much memory the journal takes, in bytes.
    pub const fn allocated(&self) -> usize {
        self.allocated
    }

    /// Reports whether an event of `len` bytes fits without an eviction. Any event fits into an empty journal.
    pub const fn fits(&self, len: usize) -> bool {
        self.fits_all(1, len)
    }

    /// Reports whether `events` more events, of `bytes` bytes together, fit without an eviction.
    pub const fn fits_all(&self, events: usize, bytes: usize) -> bool {
        self.events == 0
            || (self.events + events <= self.bounds.max_events
                && self.bytes + bytes <= self.bounds.max_bytes)
    }

    /// Appends an event, and returns its number. The caller has evicted what does not fit beside it.
    pub fn append(&mut self, block: &[u8], event: &Event) -> u64 {
        let brief = Brief {
            len: block.len(),
            class: event.class,
            agent: event.agent,
            text: event.text.unwrap_or_default(),
        };
        self.append_all(block, std::iter::once(brief));
        self.last
    }

    /// Appends events whose blocks lie one after the other. The caller has evicted what does not fit beside them.
    #[inline]
    pub fn append_all(
        &mut self,
        blocks: &[u8],
        events: impl ExactSizeIterator<Item = Brief> + Clone,
    ) {
        let count = events.len();
        let tail = self.segments.back_mut();
        if !tail.is_some_and(|tail| tail.put_in_place(blocks, events.clone())) {
            self.append_in_pieces(blocks, events);
        }
        self.events += count;
        self.bytes += blocks.len();
        self.last += count as u64;
    }

    /// Writes events that do not all have room in the last segment.
    #[inline(never)]
    fn append_in_pieces(
        &mut self,
        mut blocks: &[u8],
        mut events: impl ExactSizeIterator<Item = Brief> + Clone,
    ) {
        while events.len() > 0 {
            if let Some(tail) = self.segments.back_mut() {
                let (count, bytes) = tail.room_for(events.clone());
                let (fitting, rest) = blocks.split_at_checked(bytes).unwrap_or_default();
                tail.put_in_place(fitting, events.by_ref().take(count));
                blocks = rest;
            }
            if let Some(event) = events.next() {
                let (block, rest) = blocks.split_at_checked(event.len).unwrap_or_default();
                self.append_growing(block, &event);
                blocks = rest;
            }
        }
    }

    /// Writes an event for which a segment may have to grow or begin.
    fn append_growing(&mut self, block: &[u8], event: &Brief) {
        let tail = self.segments.back();
        if !tail.is_some_and(|tail| tail.has_room(block.len())) {
            self.begin_segment();
        }
        if let Some(tail) = self.segments.back_mut() {
            self.allocated += tail.put_growing(block, event);
        }
    }

    /// Begins another segment.
    fn begin_segment(&mut self) {
        let fresh = match (self.spare.take(), self.segments.back()) {
            (Some(spare), _) => spare,
            (None, None) => Segment::default(),
            (None, Some(before)) => {
                let further = if self.segments.len() < GROWING_SEGMENTS {
                    Segment::further()
                } else {
                    before.another()
                };
                self.allocated += further.allocated();
                further
            }
        };
        self.segments.push_back(fresh);
    }

    /// Returns the oldest event.
    pub fn oldest(&self) -> Option<Kept<'_>> {
        self.segments.front()?.first()
    }

    /// Removes the oldest event.
    pub fn evict(&mut self) {
        self.evict_some(1, 0);
    }

    /// Removes the oldest events until `events` more, of `bytes` bytes together, fit. Returns how many were removed.
    #[inline]
    pub fn make_room(&mut self, events: usize, bytes: usize) -> u64 {
        let before = self.events;
        while !self.fits_all(events, bytes) {
            let events = (self.events + events).saturating_sub(self.bounds.max_events);
            let bytes = (self.bytes + bytes).saturating_sub(self.bounds.max_bytes);
            self.evict_some(events, bytes);
        }
        (before - self.events) as u64
    }

    /// Removes the oldest events of the first segment: at least `events`, of at least `bytes` bytes together, or all
    /// that the segment has.
    #[inline(never)]
    fn evict_some(&mut self, events: usize, bytes: usize) {
        let Some(head) = self.segments.front_mut() else {
            return;
        };
        let (gone, freed) = head.evict(events, bytes);
        self.events -= gone;
        self.bytes -= freed;
        if head.is_empty() {
            self.drop_head();
        }
    }

    /// Removes the first segment, whose events have all been evicted.
    fn drop_head(&mut self) {
        if let Some(mut gone) = self.segments.pop_front() {
            // A buffer of the usual size is used again; others go back to the system.
            if self.spare.is_none() && gone.is_usual() {
                gone.clear();
                self.spare = Some(gone);
            } else {
                self.allocated -= gone.allocated();
            }
        }
    }

    /// Removes all events, and frees their memory.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.spare = None;
        (self.events, self.bytes, self.allocated) = (0, 0, 0);
    }

    /// Frees what is only kept for events to come, and what evicted events have left.
    pub fn shrink(&mut self) {
        if let Some(spare) = self.spare.take() {
            self.allocated -= spare.allocated();
        }
        // Only the first has evicted events, and only the last has room.
        for place in [0, self.segments.len().saturating_sub(1)] {
            if let Some(segment) = self.segments.get_mut(place) {
                let before = segment.allocated();
                segment.shrink();
                self.allocated -= before - segment.allocated();
            }
        }
    }

    /// Returns the kept events after number `after`, with their numbers.
    pub fn events(&self, after: u64) -> impl Iterator<Item = (u64, Kept<'_>)> {
        let first = self.first();
        let from = (after + 1).max(first);
        let mut skipped = usize::try_from(from - first).unwrap_or(usize::MAX);
        let mut segments = self.segments.iter();
        let mut head = None;
        for segment in segments.by_ref() {
            if skipped < segment.len() {
                head = Some(segment);
                break;
            }
            skipped -= segment.len();
        }
        let head = head.into_iter().flat_map(move |head| head.events(skipped));
        let rest = segments.flat_map(|segment| segment.events(0));
        (from..).zip(head.chain(rest))
    }

    /// Returns the number of the newest event whose block has this SSE id.
    pub fn find_id(&self, id: &[u8]) -> Option<u64> {
        let needle = [b"id: ", id, b"\n"].concat();
        let mut last = self.last + 1;
        for segment in self.segments.iter().rev() {
            last -= segment.len() as u64;
            if let Some(index) = segment.find_last(&needle, |block| own_id(block) == Some(id)) {
                return Some(last + index as u64);
            }
        }
        None
    }
}

/// Returns the id that an upstream has given an event: the last `id` line of its block. A block in canonical form has
/// one space behind the colon.
pub fn own_id(block: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    let mut rest = block;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        if let Some(id) = line.strip_prefix(b"id:") {
            found = Some(id.strip_prefix(b" ").unwrap_or(id));
        }
        rest = after.get(1..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Class, Span};

    const BOUNDS: Bounds = Bounds {
        max_events: 5,
        max_bytes: 100,
    };

    fn push(journal: &mut Journal, block: &[u8]) -> u64 {
        while !journal.fits(block.len()) {
            journal.evict();
        }
        journal.append(block, &Event::bare(Class::Token))
    }

    fn blocks(journal: &Journal, after: u64) -> Vec<(u64, Vec<u8>)> {
        let events = journal.events(after);
        events
            .map(|(seq, kept)| (seq, kept.block.to_vec()))
            .collect()
    }

    #[test]
    fn events_are_numbered_and_found_after_a_position() {
        let mut journal = Journal::new(BOUNDS);
        assert_eq!((journal.first(), journal.last()), (1, 0));
        assert!(blocks(&journal, 0).is_empty());
        for number in 1..=4 {
            assert_eq!(push(&mut journal, &[number; 3]), u64::from(number));
        }
        let all: Vec<_> = (1..=4).map(|n: u8| (u64::from(n), vec![n; 3])).collect();
        assert_eq!(blocks(&journal, 0), all);
        assert_eq!(blocks(&journal, 2), all[2..]);
        assert!(blocks(&journal, 4).is_empty() && blocks(&journal, 9).is_empty());
    }

    #[test]
    fn both_bounds_evict_the_oldest() {
        let mut journal = Journal::new(BOUNDS);
        for number in 1..=7 {
            push(&mut journal, &[number; 3]);
        }
        assert_eq!((journal.first(), journal.last()), (3, 7));
        push(&mut journal, &[8; 95]);
        assert_eq!((journal.first(), journal.last()), (7, 8));
        push(&mut journal, &[9; 1000]);
        assert_eq!(
            blocks(&journal, 0),
            [(9, vec![9; 1000])],
            "a large one alone"
        );
        push(&mut journal, b"x");
        assert_eq!(blocks(&journal, 0), [(10, b"x".to_vec())]);
    }

    #[test]
    fn many_events_in_many_segments_are_all_found() {
        let bounds = Bounds {
            max_events: 3_000,
            max_bytes: 1 << 20,
        };
        let mut journal = Journal::new(bounds);
        let block = |seq: u64| {
            format!(
                "data: {seq} {}\n\n",
                "x".repeat(usize::try_from(seq % 97).unwrap())
            )
        };
        for seq in 1..=10_000 {
            assert_eq!(push(&mut journal, block(seq).as_bytes()), seq);
        }
        assert_eq!(journal.first(), 7_001);
        for after in [0, 7_000, 7_001, 8_123, 9_999, 10_000] {
            let got = blocks(&journal, after);
            let from = (after + 1).max(7_001);
            assert_eq!(got.len() as u64, 10_001 - from);
            for (seq, bytes) in got {
                assert_eq!(bytes, block(seq).into_bytes());
            }
        }
        let kept: usize = (7_001..=10_000).map(|seq| block(seq).len()).sum();
        assert_eq!(journal.bytes(), kept);
        assert!(
            journal.allocated() < kept + 3_000 * 32 + 64 * 1024,
            "{}",
            journal.allocated()
        );
        journal.clear();
        assert_eq!(
            (journal.bytes(), journal.allocated(), journal.first()),
            (0, 0, 10_001)
        );
    }

    #[test]
    fn an_own_id_is_found_wherever_it_stands() {
        let mut journal = Journal::new(BOUNDS);
        for block in [
            &b"id: 7\ndata: a\n\n"[..],
            b"data: id: 9\n\n",
            b"event: e\ndata: b\nid: 9\n\n",
        ] {
            push(&mut journal, block);
        }
        assert_eq!(journal.find_id(b"7"), Some(1));
        assert_eq!(journal.find_id(b"9"), Some(3));
        assert_eq!(journal.find_id(b"8"), None);
    }

    #[test]
    fn a_closed_journal_takes_no_more_than_it_needs() {
        let mut journal = Journal::new(BOUNDS);
        push(&mut journal, &[1; 60]);
        let before = journal.allocated();
        journal.shrink();
        assert!(journal.allocated() < before);
        assert_eq!(blocks(&journal, 0), [(1, vec![1; 60])]);
    }

    #[test]
    fn a_text_is_found_in_its_block() {
        let mut journal = Journal::new(BOUNDS);
        let event = Event {
            text: Span::new(6..8),
            ..Event::bare(Class::Token)
        };
        journal.append(b"data: ab\n\n", &event);
        let (_, kept) = journal.events(0).next().unwrap();
        assert_eq!((kept.text, kept.class), (&b"ab"[..], Class::Token));
    }
}
