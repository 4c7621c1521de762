//! What an entry of a stream holds, as it is stored.
//!
//! ```text
//! id      <number of the last event>-0     e <index> d <blocks>
//! id      <number of the last event>-1     o <outcome> c <1|0>  the end, with e and d if Weir wrote a last event
//! id      <number of the last event>-2     g 1                  entries after it were lost
//! id      <number of the last event>-3     x 1                  its process is gone
//! ```
//!
//! The index has the class of each event, a byte, and the length of its block, a varint. Field `z` stands for `d` if
//! the blocks are sealed.

use bytes::Bytes;

use super::reply::Raw;
use super::seal::Sealer;

pub(super) const INDEX: &str = "e";
pub(super) const PLAIN: &str = "d";
pub(super) const SEALED: &str = "z";
pub(super) const OUTCOME: &str = "o";
pub(super) const CLEAN: &str = "c";
pub(super) const GAP: &str = "g";
pub(super) const ORPHANED: &str = "x";

/// An event that grows a chunk beyond this size is its last.
pub(super) const CHUNK_BYTES: usize = 16 << 10;
/// What one event takes in the index at most.
const INDEX_BYTES: usize = 6;
/// What one event takes in the index if its block has less than 16 KiB.
const USUAL_INDEX_BYTES: usize = 3;

/// Events after each other that become one entry.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The number of the last event.
    pub(super) last: u64,
    pub(super) events: u64,
    pub(super) index: Vec<u8>,
    pub(super) blocks: Vec<u8>,
}

impl Chunk {
    /// Creates a chunk. `before`: how many bytes of blocks the one before it got. This one has room for as many: a
    /// buffer that grows step by step is copied each time.
    pub(super) fn new(last: u64, events: &[(u8, u32)], blocks: &[u8], before: usize) -> Self {
        let room = if blocks.len() >= CHUNK_BYTES {
            blocks.len()
        } else if before >= CHUNK_BYTES {
            // Its last read goes beyond the size, and is as large as this one.
            CHUNK_BYTES + blocks.len()
        } else {
            before.max(blocks.len())
        };
        // Events of one stream differ little in size; few have less than eight bytes.
        let alike = events.len().saturating_mul(room) / blocks.len().max(1);
        let alike = alike.min(room / 8).max(events.len());
        let mut chunk = Self {
            last,
            events: 0,
            index: Vec::with_capacity(alike * USUAL_INDEX_BYTES),
            blocks: Vec::with_capacity(room),
        };
        chunk.extend(last, events, blocks);
        chunk
    }

    /// Adds the next events.
    pub(super) fn extend(&mut self, last: u64, events: &[(u8, u32)], blocks: &[u8]) {
        self.last = last;
        self.events += count(events);
        for (class, length) in events {
            note(*class, *length, &mut self.index);
        }
        let needed = self.blocks.len() + blocks.len();
        if needed > self.blocks.capacity() {
            let roomy = (2 * self.blocks.capacity()).min(CHUNK_BYTES + blocks.len());
            self.blocks
                .reserve_exact(roomy.max(needed) - self.blocks.len());
        }
        self.blocks.extend_from_slice(blocks);
    }

    /// Reports whether more events may follow in the same entry.
    pub(super) const fn has_room(&self) -> bool {
        self.blocks.len() < CHUNK_BYTES
    }

    /// Returns the size of blocks and index.
    pub(super) const fn size(&self) -> usize {
        self.blocks.len() + self.index.len()
    }
}

/// Returns the most that events can add to the sizes of chunks.
pub(super) const fn size(events: &[(u8, u32)], blocks: &[u8]) -> usize {
    blocks.len() + events.len() * INDEX_BYTES
}

/// Returns how many events these are.
pub(super) fn count(events: &[(u8, u32)]) -> u64 {
    u64::try_from(events.len()).unwrap_or(u64::MAX)
}

/// Adds an event to an index.
#[inline]
fn note(class: u8, length: u32, index: &mut Vec<u8>) {
    if (0x80..0x4000).contains(&length) {
        // Most have two bytes of length: the lower seven bits, and the upper ones.
        let [low, ..] = length.to_le_bytes();
        let [_, high, ..] = (length << 1).to_le_bytes();
        index.extend_from_slice(&[class, low | 0x80, high]);
    } else {
        index.push(class);
        varint(length, index);
    }
}

fn varint(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(0x80 | u8::try_from(value & 0x7f).unwrap_or_default());
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}

/// Reads a varint; returns it and what follows.
fn read_varint(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        bytes = rest;
        value |= u32::from(byte & 0x7f).checked_mul(1 << shift)?;
        if *byte < 0x80 {
            return Some((usize::try_from(value).ok()?, bytes));
        }
    }
    None
}

/// The name of an entry's place, which sealed blocks are bound to.
pub(super) fn place(id: &str, last: u64) -> String {
    format!("{id}:{last}")
}

/// How a stream goes on after its last entry: not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Ended { outcome: String, is_clean: bool },
    Gap,
    Orphaned,
}

/// An event as it is passed on: its number, its class, its block.
pub(super) type Numbered = (u64, u8, Bytes);

/// An entry as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The number of its first event; one more than `last` if it has none.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) events: Vec<Numbered>,
    pub(super) mark: Option<Mark>,
}

impl Entry {
    /// Reads an entry of the stream `id`. One that cannot be read is a gap.
    pub(super) fn read(raw: Raw, id: &str, sealer: &Sealer) -> Self {
        let last = raw.seq;
        read(raw, id, sealer).unwrap_or_else(|| Self {
            first: last.saturating_add(1),
            last,
            events: Vec::new(),
            mark: Some(Mark::Gap),
        })
    }
}

fn read(raw: Raw, id: &str, sealer: &Sealer) -> Option<Entry> {
    let last = raw.seq;
    let (mut index, mut blocks, mut outcome) = (None, None, None);
    let (mut is_clean, mut mark) = (false, None);
    for (name, value) in raw.fields {
        match std::str::from_utf8(&name).ok()? {
            INDEX => index = Some(value),
            // With encryption, whoever can write into Redis must not be able to say something in clear.
            PLAIN if !sealer.is_on() => blocks = Some(Bytes::from(value)),
            SEALED => blocks = Some(sealer.open(value, &place(id, last))?),
            PLAIN => return None,
            OUTCOME => outcome = Some(String::from_utf8(value).ok()?),
            CLEAN => is_clean = value == b"1",
            GAP => mark = Some(Mark::Gap),
            ORPHANED => mark = Some(Mark::Orphaned),
            // Of a later version.
            _ => {}
        }
    }
    let events = match (index, blocks) {
        (Some(index), Some(blocks)) => numbered(last, &index, &blocks)?,
        (None, None) => Vec::new(),
        _ => return None,
    };
    let ended = outcome.map(|outcome| Mark::Ended { outcome, is_clean });
    let mark = ended.or(mark);
    if events.is_empty() && mark.is_none() {
        return None;
    }
    let next = last.checked_add(1)?;
    Some(Entry {
        first: events.first().map_or(next, |(number, ..)| *number),
        last,
        events,
        mark,
    })
}

/// Takes the blocks apart. Returns `None` if the index does not fit them.
fn numbered(last: u64, mut index: &[u8], blocks: &Bytes) -> Option<Vec<Numbered>> {
    let mut lengths = Vec::with_capacity(index.len() / 2);
    while let Some((class, rest)) = index.split_first() {
        let (length, rest) = read_varint(rest)?;
        lengths.push((*class, length));
        index = rest;
    }
    let before = last.checked_sub(u64::try_from(lengths.len()).ok()?)?;
    let mut at = 0_usize;
    let mut events = Vec::with_capacity(lengths.len());
    for (number, (class, length)) in (before + 1..=last).zip(lengths) {
        let end = at.checked_add(length).filter(|end| *end <= blocks.len())?;
        events.push((number, class, blocks.slice(at..end)));
        at = end;
    }
    (at == blocks.len()).then_some(events)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn plain() -> Sealer {
        Sealer::new(false, None, None)
    }

    pub(in crate::store) fn raw(seq: u64, fields: &[(&str, &[u8])]) -> Raw {
        let owned = |(name, value): &(&str, &[u8])| (name.as_bytes().to_vec(), value.to_vec());
        Raw {
            stamp: format!("{seq}-0"),
            seq,
            fields: fields.iter().map(owned).collect(),
        }
    }

    #[test]
    fn events_are_read_as_they_were_written() {
        let long = vec![b'x'; 70_000];
        let mut chunk = Chunk::new(5, &[(1, 2), (0, 0)], b"ab", 0);
        assert!(chunk.has_room());
        chunk.extend(6, &[(200, 70_000)], &long);
        assert!(!chunk.has_room());
        assert!(chunk.size() <= size(&[(0, 0); 3], &long) + 2);
        let stored = raw(6, &[(INDEX, &chunk.index), (PLAIN, &chunk.blocks)]);
        let read = Entry::read(stored, "id", &plain());
        let want = [
            (4, 1, Bytes::from_static(b"ab")),
            (5, 0, Bytes::new()),
            (6, 200, Bytes::from(long)),
        ];
        assert_eq!((read.first, read.last, read.mark), (4, 6, None));
        assert_eq!(read.events, want);
    }

    /// Adds reads of `events` events of `length` bytes until no more may follow. Returns whether nothing was moved
    /// meanwhile.
    fn fills_in_place(mut chunk: Chunk, events: usize, length: u32) -> bool {
        let list = vec![(1_u8, length); events];
        let read = vec![b'x'; events * usize::try_from(length).unwrap()];
        let before = (chunk.blocks.capacity(), chunk.index.capacity());
        while chunk.has_room() {
            chunk.extend(chunk.last + count(&list), &list, &read);
        }
        assert!(chunk.blocks.capacity() <= CHUNK_BYTES + read.len());
        before == (chunk.blocks.capacity(), chunk.index.capacity())
    }

    #[test]
    fn a_chunk_behind_a_full_one_is_not_moved_and_one_behind_a_small_one_takes_little() {
        for (events, length) in [(1, 60), (1, 220), (16, 220), (3, 5_000), (1, 16_000)] {
            let list = vec![(1_u8, length); events];
            let read = vec![b'x'; events * usize::try_from(length).unwrap()];
            let chunk = |before| Chunk::new(count(&list), &list, &read, before);
            assert!(fills_in_place(chunk(CHUNK_BYTES), events, length));
            assert!(fills_in_place(chunk(1 << 20), events, length));
            assert!(chunk(1 << 20).blocks.capacity() <= CHUNK_BYTES + read.len());
            assert!(chunk(500).blocks.capacity() <= read.len().max(500));
            fills_in_place(chunk(0), events, length);
        }
        let large = vec![b'x'; CHUNK_BYTES];
        let chunk = Chunk::new(1, &[(1, 16_384)], &large, 1 << 20);
        assert_eq!(chunk.blocks.capacity(), large.len(), "it is full");
        let empty = Chunk::new(9, &[(1, 0); 9], &[], CHUNK_BYTES);
        assert!(
            empty.index.capacity() <= CHUNK_BYTES,
            "bounded all the same"
        );
    }

    #[test]
    fn lengths_of_every_size_are_read_again() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 1 << 21, 1 << 28, u32::MAX] {
            let mut bytes = Vec::new();
            varint(length, &mut bytes);
            assert!(bytes.len() < INDEX_BYTES);
            let (read, rest) = read_varint(&bytes).unwrap();
            assert_eq!((read, rest.len()), (usize::try_from(length).unwrap(), 0));
        }
        for length in (0..40_000).chain([u32::MAX]) {
            let (mut index, mut bytes) = (Vec::new(), vec![7]);
            note(7, length, &mut index);
            varint(length, &mut bytes);
            assert_eq!(index, bytes, "{length}");
        }
        for bad in [
            &[0x80][..],
            &[],
            &[0xff; 6],
            &[0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert_eq!(read_varint(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn marks_end_a_stream_with_a_last_event_or_without() {
        let end = raw(9, &[(OUTCOME, b"completed"), (CLEAN, b"1")]);
        let read = Entry::read(end, "id", &plain());
        let ended = Mark::Ended {
            outcome: "completed".to_owned(),
            is_clean: true,
        };
        assert_eq!((read.first, read.last, read.mark), (10, 9, Some(ended)));
        let fields: [(&str, &[u8]); 4] = [
            (OUTCOME, b"stopped"),
            (CLEAN, b"0"),
            (INDEX, &[255, 2]),
            (PLAIN, b"no"),
        ];
        let read = Entry::read(raw(10, &fields), "id", &plain());
        assert_eq!((read.first, read.events.len()), (10, 1));
        for (field, mark) in [(GAP, Mark::Gap), (ORPHANED, Mark::Orphaned)] {
            let read = Entry::read(raw(9, &[(field, b"1")]), "id", &plain());
            assert_eq!(read.mark, Some(mark));
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_gap() {
        let cases: [&[(&str, &[u8])]; 9] = [
            &[],
            &[("new", b"1")],
            &[(INDEX, &[1, 2])],
            &[(PLAIN, b"ab")],
            &[(INDEX, &[1, 3]), (PLAIN, b"ab")],
            &[(INDEX, &[1, 1]), (PLAIN, b"ab")],
            &[(INDEX, &[1]), (PLAIN, b"ab")],
            &[(INDEX, &[1, 1, 1, 1, 1, 0]), (PLAIN, b"ab")],
            &[(INDEX, &[1, 2]), (SEALED, b"ab")],
        ];
        for fields in cases {
            let read = Entry::read(raw(2, fields), "id", &plain());
            assert_eq!((read.first, read.mark), (3, Some(Mark::Gap)), "{fields:?}");
        }
    }

    #[test]
    fn sealed_blocks_are_read_in_their_place_and_clear_ones_are_not() {
        let sealer = Sealer::new(true, Some([1; 32]), None);
        let sealed = sealer.seal(b"ab".to_vec(), &place("id", 7)).unwrap();
        let read = |seq, id, name, blocks: &[u8]| {
            let stored = raw(seq, &[(INDEX, &[1, 2]), (name, blocks)]);
            Entry::read(stored, id, &sealer).mark
        };
        assert_eq!(read(7, "id", SEALED, &sealed), None);
        for (seq, id, name, blocks) in [
            (8, "id", SEALED, &sealed[..]),
            (7, "other", SEALED, &sealed[..]),
            (7, "id", PLAIN, &b"ab"[..]),
        ] {
            assert_eq!(
                read(seq, id, name, blocks),
                Some(Mark::Gap),
                "{seq} {id} {name}"
            );
        }
    }
}
