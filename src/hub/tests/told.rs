//! A tap that records what it is given, and what it is given by reads of each kind.

use super::*;

/// What a tap was given.
#[derive(Debug, Default)]
struct Record {
    /// Each event, with its class. The first has the number 1.
    events: Vec<(Class, Vec<u8>)>,
    /// How many events it was given each time.
    pieces: Vec<usize>,
    /// The last block, and how the stream has ended.
    end: Option<(Vec<u8>, End, Close)>,
}

/// A tap. Clones share what they were given.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<Mutex<Record>>);

impl Told {
    /// Creates the tap of a hub.
    pub(super) fn of(hub: &Hub) -> Self {
        let told = Self::default();
        hub.tap(Box::new(told.clone()));
        told
    }

    /// Compares what it was given with all events of the stream, in order.
    pub(super) fn check(&self, all: &[(Class, &[u8])]) {
        let record = self.0.lock().unwrap();
        let last = record.end.as_ref().map(|(last, ..)| (Class::Error, last));
        let last = last.filter(|(_, last)| !last.is_empty());
        let events = record.events.iter().map(|(class, block)| (*class, block));
        let mut told = events.chain(last);
        for (number, (class, block)) in (1..).zip(all) {
            let (told_class, told_block) = told.next().unwrap();
            assert_eq!(told_class, *class, "{number}");
            assert!(told_block.as_slice() == *block, "{number}");
        }
        assert!(told.next().is_none());
    }

    /// Returns how many events it was given each time since the last call.
    fn take_pieces(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.lock().unwrap().pieces)
    }

    fn ended(&self) -> Option<(Vec<u8>, End, Close)> {
        self.0.lock().unwrap().end.clone()
    }
}

impl Tap for Told {
    fn append(&mut self, last: u64, events: &[(Class, u32)], blocks: &[u8]) {
        let mut record = self.0.lock().unwrap();
        assert!(!events.is_empty() && record.end.is_none());
        let mut rest = blocks;
        for (class, len) in events {
            let (block, after) = rest.split_at(usize::try_from(*len).unwrap());
            record.events.push((*class, block.to_vec()));
            rest = after;
        }
        assert!(rest.is_empty());
        assert_eq!(record.events.len() as u64, last);
        record.pieces.push(events.len());
    }

    fn describe(&mut self, _: Encoder) {}

    fn end(&mut self, outcome: End, last: &[u8], how: Close) {
        let end = (last.to_vec(), outcome, how);
        let before = self.0.lock().unwrap().end.replace(end);
        assert!(before.is_none());
    }

    fn poll_control(&mut self, _: &mut Context<'_>) -> Poll<ControlMessage> {
        Poll::Pending
    }
}

/// Pushes the events of one read of 4 KiB: one of each size, with these numbers.
fn push_sizes(input: &Input, all: &mut Vec<Vec<u8>>, sizes: &[usize]) {
    let mut pushing = input.pushing(4096, Instant::now());
    for size in sizes {
        let block = format!("data: {}{}\n\n", all.len() + 1, "x".repeat(*size));
        let event = Event::bare(Class::Tool);
        assert_eq!(pushing.push(block.as_bytes(), &event), Offer::Accepted);
        all.push(block.into_bytes());
    }
    pushing.done();
}

fn check_all(told: &Told, all: &[Vec<u8>]) {
    let all: Vec<(Class, &[u8])> = all.iter().map(|block| (Class::Tool, &block[..])).collect();
    told.check(&all);
}

/// A hub whose queues take whatever comes.
fn roomy() -> (Arc<Hub>, Input) {
    let mut settings = SETTINGS;
    settings.limits.max_events = 1_000;
    settings.limits.max_bytes = 1 << 20;
    settings.bounds.max_events = 100_000;
    hub(settings)
}

#[tokio::test(start_paused = true)]
async fn a_read_is_told_in_one_piece() {
    let (hub, input) = roomy();
    let told = Told::of(&hub);
    let mut all = Vec::new();
    // For one who is alone, for two, for nobody.
    let first = Client::first(&hub);
    push_sizes(&input, &mut all, &[1; 9]);
    assert_eq!(told.take_pieces(), [9]);
    push_sizes(&input, &mut all, &[3_000]);
    assert_eq!(told.take_pieces(), [1]);
    let second = Client::after(&hub, 0);
    push_sizes(&input, &mut all, &[1; 9]);
    assert_eq!(told.take_pieces(), [9]);
    check_all(&told, &all);
    first.leave();
    second.leave();
    push_sizes(&input, &mut all, &[1; 2]);
    assert_eq!(told.take_pieces(), [2]);
    check_all(&told, &all);
}

/// A read may hold events that go three ways: at once, together, and past the queue.
#[tokio::test(start_paused = true)]
async fn events_are_told_in_order_whichever_way_they_go() {
    let many: Vec<usize> = [&[2_000; 9][..], &[3_000]].concat();
    let cases: [(&[usize], &[usize]); 5] = [
        // The first is most of the read.
        (&[3_000, 1, 1], &[1, 2]),
        // One is larger than what is put at once.
        (&[1, 1, 17_000, 1, 1], &[2, 1, 2]),
        (&[17_000, 1, 17_000], &[1, 1, 1]),
        // Together they are. The one that is too much waits for the next ones.
        (&[2_000; 20], &[8, 1, 8, 1, 2]),
        (&many, &[8, 2]),
    ];
    for (sizes, pieces) in cases {
        let (hub, input) = roomy();
        let told = Told::of(&hub);
        let mut first = Client::first(&hub);
        let mut all = Vec::new();
        for _ in 0..3 {
            push_sizes(&input, &mut all, sizes);
            assert_eq!(told.take_pieces(), pieces, "{sizes:?}");
            check_all(&told, &all);
        }
        let sent = first.take_all();
        let ids = sent.lines().filter(|line| line.starts_with("id: ")).count();
        assert_eq!(ids, all.len());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_viewer_is_behind_for_is_told_at_once() {
    let (hub, input) = hub(SETTINGS);
    let told = Told::of(&hub);
    let mut first = Client::first(&hub);
    let mut all = Vec::new();
    // Four fit into its queue, the rest comes from the journal.
    push_sizes(&input, &mut all, &[1; 20]);
    assert_eq!(told.take_pieces(), [4, 16]);
    push_sizes(&input, &mut all, &[1; 3]);
    assert_eq!(told.take_pieces(), [3]);
    check_all(&told, &all);
    first.take_all();
    push_sizes(&input, &mut all, &[1; 3]);
    assert_eq!(told.take_pieces(), [3]);
    check_all(&told, &all);
    input.note_end(End::Stopped);
    input.close(Close::Clean, Some(b"data: bye\n\n"), Instant::now());
    let bye = b"data: bye\n\n".to_vec();
    assert_eq!(told.ended(), Some((bye, End::Stopped, Close::Clean)));
}
