//! A piece of a journal: some neighbouring events, with their blocks one after the other in one buffer.

use crate::event::{Brief, Class, Span};

/// The usual size of a buffer. Larger events get one of their own.
const USUAL_BYTES: usize = 16 * 1024;
/// The first allocation of a journal's first buffer.
const FIRST_BYTES: usize = 512;
/// The first allocation of a further buffer: the stream is not short.
const FURTHER_BYTES: usize = 4 * 1024;
/// How many notes are expected in a further buffer.
const FURTHER_NOTES: usize = 32;

/// An event that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept<'a> {
    /// The block, as a client gets it.
    pub block: &'a [u8],
    /// The class of the event.
    pub class: Class,
    /// Whose event it is: [`Event::agent`](crate::event::Event::agent).
    pub agent: u8,
    /// The text of the event, as it is written in the block; empty if it has none.
    pub text: &'a [u8],
}

/// Where an event lies in the buffer.
#[derive(Clone, Copy, Debug)]
struct Note {
    end: u32,
    class: Class,
    agent: u8,
    text: Span,
}

impl Note {
    /// Notes an event whose block ends there.
    #[inline]
    fn new(end: usize, event: &Brief) -> Self {
        Self {
            end: u32::try_from(end).unwrap_or(u32::MAX),
            class: event.class,
            agent: event.agent,
            text: event.text,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Segment {
    blocks: Vec<u8>,
    notes: Vec<Note>,
    /// How many of the events have been evicted.
    gone: usize,
    /// Where the block of the last of these ends.
    gone_end: u32,
}

impl Segment {
    /// Creates one that follows others.
    pub(super) fn further() -> Self {
        Self {
            blocks: Vec::with_capacity(FURTHER_BYTES),
            notes: Vec::with_capacity(FURTHER_NOTES),
            ..Self::default()
        }
    }

    /// Creates one that follows this one, and will hold as much.
    pub(super) fn another(&self) -> Self {
        // Events of one stream differ little in size.
        let notes = self.notes.len() + self.notes.len() / 8;
        Self {
            blocks: Vec::with_capacity(USUAL_BYTES),
            notes: Vec::with_capacity(notes),
            ..Self::default()
        }
    }

    /// Returns how many events are left.
    pub(super) const fn len(&self) -> usize {
        self.notes.len() - self.gone
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reports whether an event of `len` bytes goes here. Any goes into a fresh segment.
    pub(super) const fn has_room(&self, len: usize) -> bool {
        self.notes.is_empty() || self.blocks.len() + len <= USUAL_BYTES
    }

    /// Reports whether the buffer has the usual size.
    pub(super) const fn is_usual(&self) -> bool {
        self.blocks.capacity() <= USUAL_BYTES
    }

    /// Returns how many bytes the buffers take.
    pub(super) const fn allocated(&self) -> usize {
        self.blocks.capacity() + self.notes.capacity() * size_of::<Note>()
    }

    /// Appends events whose blocks lie one after the other, if the buffers need not grow for them. Returns whether they
    /// were appended. No buffer that holds several events is larger than the usual size, so what has room here belongs
    /// here.
    #[inline]
    pub(super) fn put_in_place(
        &mut self,
        blocks: &[u8],
        events: impl ExactSizeIterator<Item = Brief>,
    ) -> bool {
        let has_room = blocks.len() <= self.blocks.capacity() - self.blocks.len()
            && events.len() <= self.notes.capacity() - self.notes.len();
        if has_room {
            let mut end = self.blocks.len();
            self.blocks.extend_from_slice(blocks);
            self.notes.extend(events.map(|event| {
                end += event.len;
                Note::new(end, &event)
            }));
        }
        has_room
    }

    /// Appends an event, and makes room for it if necessary. Its block has at most 4 GiB: the pipeline lets no larger
    /// one through. Returns how many bytes more the buffers take.
    pub(super) fn put_growing(&mut self, block: &[u8], event: &Brief) -> usize {
        let before = self.allocated();
        let needed = self.blocks.len() + block.len();
        if needed > self.blocks.capacity() {
            let roomy = (2 * self.blocks.capacity()).clamp(FIRST_BYTES, USUAL_BYTES);
            self.blocks
                .reserve_exact(roomy.max(needed) - self.blocks.len());
        }
        self.blocks.extend_from_slice(block);
        self.notes.push(Note::new(needed, event));
        self.allocated() - before
    }

    /// Returns the oldest event that is left.
    pub(super) fn first(&self) -> Option<Kept<'_>> {
        self.events(0).next()
    }

    /// Removes the oldest events: at least `events`, of at least `bytes` bytes together, or all that are left. Returns
    /// how many were removed, and the bytes of their blocks.
    pub(super) fn evict(&mut self, events: usize, bytes: usize) -> (usize, usize) {
        let left = self.notes.get(self.gone..).unwrap_or_default();
        let until = self.gone_end as usize + bytes;
        let by_bytes = if bytes == 0 {
            0
        } else {
            left.partition_point(|note| (note.end as usize) < until) + 1
        };
        let count = events.max(by_bytes).min(left.len());
        let Some(last) = count.checked_sub(1).and_then(|last| left.get(last)) else {
            return (0, 0);
        };
        let freed = last.end - self.gone_end;
        self.gone_end = last.end;
        self.gone += count;
        (count, freed as usize)
    }

    /// Returns how many of these events can be appended without growing, and how many bytes their blocks have.
    pub(super) fn room_for(&self, events: impl Iterator<Item = Brief>) -> (usize, usize) {
        let bytes = self.blocks.capacity() - self.blocks.len();
        let most = self.notes.capacity() - self.notes.len();
        let mut fits = (0, 0);
        for event in events.take(most) {
            if fits.1 + event.len > bytes {
                break;
            }
            fits = (fits.0 + 1, fits.1 + event.len);
        }
        fits
    }

    /// Empties the segment, and keeps its buffers.
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.notes.clear();
        (self.gone, self.gone_end) = (0, 0);
    }

    /// Frees the room that is not used, and that of evicted events.
    pub(super) fn shrink(&mut self) {
        if self.gone > 0 {
            self.blocks.drain(..self.gone_end as usize);
            self.notes.drain(..self.gone);
            for note in &mut self.notes {
                note.end -= self.gone_end;
            }
            (self.gone, self.gone_end) = (0, 0);
        }
        self.blocks.shrink_to_fit();
        self.notes.shrink_to_fit();
    }

    /// Returns the place among those left of the last event that has these bytes and for which `is_it` holds. Searches
    /// all blocks at once.
    pub(super) fn find_last(&self, bytes: &[u8], is_it: impl Fn(&[u8]) -> bool) -> Option<usize> {
        let mut found = memrchr_all(&self.blocks, bytes);
        found.find_map(|at| {
            let place = self.notes.partition_point(|note| note.end as usize <= at);
            let index = place.checked_sub(self.gone)?;
            let kept = self.events(index).next()?;
            is_it(kept.block).then_some(index)
        })
    }

    /// Returns the events that are left, apart from the first `skipped`.
    pub(super) fn events(&self, skipped: usize) -> impl Iterator<Item = Kept<'_>> {
        let from = self.gone + skipped;
        let before = from.checked_sub(1).and_then(|last| self.notes.get(last));
        let mut start = before.map_or(0, |note| note.end as usize);
        let notes = self.notes.get(from..).unwrap_or_default();
        notes.iter().map(move |note| {
            let end = note.end as usize;
            let block = self.blocks.get(start..end).unwrap_or_default();
            start = end;
            Kept {
                block,
                class: note.class,
                agent: note.agent,
                text: note.text.of(block),
            }
        })
    }
}

/// Returns where `needle` begins in `all`, the last place first.
fn memrchr_all<'a>(all: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    memchr::memmem::rfind_iter(all, needle)
}
