//! A journal against a list, over random operations: what is kept, where it is found, and what the buffers take.

use proptest::prelude::*;

use super::*;
use crate::event::{Class, Span};

/// An event that is kept, as the list has it.
#[derive(Clone, Debug)]
struct Said {
    block: Vec<u8>,
    brief: Brief,
}

impl Said {
    /// The block of the event with this number has at least `len` bytes. It has an id of its own, unless it is empty.
    fn new(number: u64, len: usize) -> Self {
        let block = if len == 0 {
            Vec::new()
        } else {
            format!("id: {number}\ndata: {}\n\n", "x".repeat(len)).into_bytes()
        };
        let text = Span::new(block.len() / 2..block.len()).unwrap();
        let brief = Brief {
            len: block.len(),
            class: Class::ALL[len % Class::ALL.len()],
            agent: u8::try_from(len % 7).unwrap(),
            text,
        };
        Self { block, brief }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Several at once, after room was made for them.
    Append(Vec<usize>),
    /// One, after the others were evicted one by one.
    AppendOne(usize),
    Evict(usize),
    MakeRoom {
        events: usize,
        bytes: usize,
    },
    Shrink,
    Clear,
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => Just(0_usize),
        20 => 1..90_usize,
        3 => 90..3_000_usize,
        1 => 15_000..18_000_usize,
        1 => Just(40_000_usize),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => prop::collection::vec(len(), 1..80).prop_map(Op::Append),
        6 => len().prop_map(Op::AppendOne),
        2 => (1..30_usize).prop_map(Op::Evict),
        2 => (0..40_usize, 0..20_000_usize).prop_map(|(events, bytes)| Op::MakeRoom { events, bytes }),
        1 => Just(Op::Shrink),
        1 => Just(Op::Clear),
    ]
}

struct World {
    bounds: Bounds,
    journal: Journal,
    list: VecDeque<Said>,
    bytes: usize,
    last: u64,
}

impl World {
    fn push(&mut self, said: Said) {
        self.bytes += said.block.len();
        self.last += 1;
        self.list.push_back(said);
    }

    fn pop(&mut self) {
        let gone = self.list.pop_front();
        self.bytes -= gone.map_or(0, |said| said.block.len());
    }

    fn fits(&self, events: usize, bytes: usize) -> bool {
        self.list.is_empty()
            || (self.list.len() + events <= self.bounds.max_events
                && self.bytes + bytes <= self.bounds.max_bytes)
    }

    fn make_room(&mut self, events: usize, bytes: usize) {
        let before = self.list.len();
        while !self.fits(events, bytes) {
            self.pop();
        }
        let gone = self.journal.make_room(events, bytes);
        assert_eq!(gone, (before - self.list.len()) as u64);
        assert!(self.journal.fits_all(events, bytes));
    }

    fn act(&mut self, op: Op) {
        match op {
            Op::Append(lens) => {
                let said: Vec<Said> = (self.last + 1..)
                    .zip(lens)
                    .map(|(number, len)| Said::new(number, len))
                    .collect();
                let blocks: Vec<u8> = said.iter().flat_map(|said| said.block.clone()).collect();
                self.make_room(said.len(), blocks.len());
                self.journal
                    .append_all(&blocks, said.iter().map(|said| said.brief));
                for said in said {
                    self.push(said);
                }
            }
            Op::AppendOne(len) => {
                let said = Said::new(self.last + 1, len);
                while !self.fits(1, said.block.len()) {
                    assert!(!self.journal.fits(said.block.len()));
                    self.pop();
                    self.journal.evict();
                }
                assert!(self.journal.fits(said.block.len()));
                let event = Event {
                    text: Some(said.brief.text),
                    agent: said.brief.agent,
                    ..Event::bare(said.brief.class)
                };
                assert_eq!(self.journal.append(&said.block, &event), self.last + 1);
                self.push(said);
            }
            Op::Evict(count) => {
                for _ in 0..count {
                    self.pop();
                    self.journal.evict();
                }
            }
            Op::MakeRoom { events, bytes } => self.make_room(events, bytes),
            Op::Shrink => self.journal.shrink(),
            Op::Clear => {
                self.list.clear();
                self.bytes = 0;
                self.journal.clear();
                assert_eq!(self.journal.allocated(), 0);
            }
        }
    }

    fn check(&self) {
        let Self { journal, list, .. } = self;
        let first = self.last + 1 - list.len() as u64;
        assert_eq!((journal.first(), journal.last()), (first, self.last));
        assert_eq!(journal.bytes(), self.bytes);
        let taken = journal.segments.iter().chain(&journal.spare);
        assert_eq!(
            journal.allocated(),
            taken.map(Segment::allocated).sum::<usize>()
        );
        assert!(journal.segments.iter().all(|segment| !segment.is_empty()));
        let middle = first + list.len() as u64 / 2;
        for after in [
            0,
            first.saturating_sub(1),
            first,
            middle,
            self.last,
            self.last + 3,
        ] {
            let from = (after + 1).max(first);
            let skipped = usize::try_from(from - first).unwrap();
            let mut kept = journal.events(after);
            for (number, said) in (from..).zip(list.iter().skip(skipped)) {
                let (seq, kept) = kept.next().unwrap();
                assert_eq!(seq, number);
                assert!(kept.block == said.block, "{number}");
                assert!(kept.text == said.brief.text.of(&said.block), "{number}");
                assert_eq!(
                    (kept.class, kept.agent),
                    (said.brief.class, said.brief.agent)
                );
            }
            assert!(kept.next().is_none());
        }
        assert_eq!(
            journal.oldest().map(|kept| kept.block),
            list.front().map(|said| &*said.block)
        );
        for (number, said) in (first..).zip(list).step_by(17) {
            let found = journal.find_id(number.to_string().as_bytes());
            assert_eq!(found, (!said.block.is_empty()).then_some(number));
        }
        let gone = (first - 1).to_string();
        assert_eq!(journal.find_id(gone.as_bytes()), None);
    }
}

proptest! {
    #[test]
    fn a_journal_is_a_list_of_its_newest_events(
        max_events in prop::sample::select(vec![1_usize, 3, 50, 500, 100_000]),
        max_bytes in prop::sample::select(vec![1_usize, 100, 5_000, 40_000, 200_000]),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let bounds = Bounds { max_events, max_bytes };
        let mut world = World { bounds, journal: Journal::new(bounds), list: VecDeque::new(), bytes: 0, last: 0 };
        for op in ops {
            world.act(op);
            world.check();
        }
    }
}
