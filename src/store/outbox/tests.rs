//! Outboxes without a server: what is sent, when, and what becomes of streams that cannot be stored.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::timeout;

use super::*;
use crate::store::commands::End;
use crate::store::commands::tests::{BOUNDS, written};
use crate::store::entry::tests::raw;
use crate::store::entry::{Entry, INDEX, Numbered};
use crate::store::terms::Control;
use crate::store::{journal, room};

#[derive(Debug, Default)]
pub(in crate::store) struct Counts {
    pub(in crate::store) broken: AtomicUsize,
    pub(in crate::store) errors: AtomicUsize,
}

impl Watch for Counts {
    fn up(&self, _: bool) {}

    fn error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    fn broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }
}

struct Fixture {
    outbox: Arc<Outbox>,
    counts: Arc<Counts>,
    keys: Keys,
    sealer: Sealer,
}

fn fixture() -> Fixture {
    let counts = Arc::new(Counts::default());
    let watch: Arc<dyn Watch> = Arc::<Counts>::clone(&counts);
    Fixture {
        outbox: Arc::new(Outbox::new(Arc::default(), watch)),
        counts,
        keys: Keys::new("w:"),
        sealer: Sealer::new(false, None, None),
    }
}

impl Fixture {
    fn open(&self, id: &str) -> Arc<Journal> {
        let journal = Arc::new(Journal::new(id, BOUNDS, 0));
        let added = journal.describe(Some(b"{}".to_vec()), self.outbox.room());
        assert!(self.outbox.follow_up(&journal, added));
        journal
    }

    fn append(&self, journal: &Arc<Journal>, last: u64, blocks: &[u8]) -> bool {
        let length = u32::try_from(blocks.len()).unwrap();
        let added = journal.append(last, &[(0, length)], blocks, self.outbox.room());
        self.outbox.follow_up(journal, added)
    }

    fn end(&self, journal: &Arc<Journal>) -> bool {
        let end = End {
            outcome: "completed".to_owned(),
            terminal: Vec::new(),
            is_clean: true,
        };
        let added = journal.end(end, self.outbox.room());
        self.outbox.follow_up(journal, added)
    }

    fn take(&self) -> Vec<Parcel> {
        self.outbox.take(&self.keys, &self.sealer)
    }

    /// Takes everything, and settles it. Returns what was written.
    fn pass(&self, verdict: Verdict) -> Vec<String> {
        let mut all = Vec::new();
        for parcel in self.take() {
            all.extend(written(&parcel.commands));
            parcel.settle(verdict);
        }
        all
    }

    /// Takes everything. Returns the events of the entries that are added for the stream `id`, as another process reads
    /// them.
    fn stored(&self, id: &str) -> Vec<Numbered> {
        let mut all = Vec::new();
        for parcel in self.take() {
            for command in &parcel.commands {
                let args: Vec<&[u8]> = command
                    .args_iter()
                    .filter_map(|arg| match arg {
                        redis::Arg::Simple(word) => Some(word),
                        _ => None,
                    })
                    .collect();
                if args[0] != b"XADD" {
                    continue;
                }
                let index = args.iter().position(|arg| *arg == INDEX.as_bytes());
                let (head, fields) = args.split_at(index.unwrap());
                let last = std::str::from_utf8(head.last().unwrap()).unwrap();
                let last = last.strip_suffix("-0").unwrap().parse().unwrap();
                let fields: Vec<(&str, &[u8])> = fields
                    .chunks(2)
                    .map(|pair| (std::str::from_utf8(pair[0]).unwrap(), pair[1]))
                    .collect();
                let entry = Entry::read(raw(last, &fields), id, &self.sealer);
                assert_eq!(entry.mark, None);
                all.extend(entry.events);
            }
            parcel.settle(Verdict::Done);
        }
        all
    }

    fn broken(&self) -> usize {
        self.counts.broken.load(Ordering::Relaxed)
    }
}

#[test]
fn what_waits_together_is_one_entry_and_nothing_is_sent_twice() {
    let all = fixture();
    let journal = all.open("a");
    assert!(all.append(&journal, 1, b"x") && all.append(&journal, 2, b"y"));
    let sent = all.pass(Verdict::Done);
    assert_eq!(sent.len(), 5, "{sent:?}");
    assert!(sent[0].starts_with("SET w:{a}:m {}"));
    assert!(sent[2].starts_with("XADD w:{a}:s 2-0 ") && sent[2].ends_with(" d xy"));
    assert!(all.pass(Verdict::Done).is_empty());
    assert!(all.append(&journal, 3, b"z"));
    let sent = all.pass(Verdict::Done);
    assert!(
        sent[0].starts_with("XADD w:{a}:s NOMKSTREAM 3-0 "),
        "{sent:?}"
    );
    assert_eq!(all.outbox.room().used(), 0);
}

#[test]
fn what_comes_while_something_is_on_its_way_waits_for_the_answer() {
    let all = fixture();
    let journal = all.open("a");
    let first = all.take();
    assert!(all.append(&journal, 1, b"x"));
    assert!(all.take().is_empty(), "the answer is missing");
    assert!(all.outbox.room().used() > 0);
    first
        .into_iter()
        .for_each(|parcel| parcel.settle(Verdict::Done));
    assert_eq!(all.pass(Verdict::Done).len(), 4);
    assert!(all.end(&journal));
    assert!(!all.append(&journal, 2, b"x"), "it has ended");
    let sent = all.pass(Verdict::Done);
    assert!(
        sent[1].starts_with("XADD w:{a}:s 1-1 o completed c 1"),
        "{sent:?}"
    );
    assert_eq!((all.outbox.room().used(), all.broken()), (0, 0));
}

#[test]
fn a_stream_that_fills_its_room_is_broken_off_once_and_sealed() {
    let all = fixture();
    let journal = all.open("a");
    assert!(all.append(&journal, 1, b"x"));
    all.pass(Verdict::Done);
    assert!(all.append(&journal, 2, &vec![b'x'; journal::MAX_BYTES / 2]));
    assert!(!all.append(&journal, 3, &vec![b'x'; journal::MAX_BYTES / 2]));
    assert!(!all.append(&journal, 4, b"x") && !all.end(&journal));
    assert_eq!((all.broken(), all.outbox.room().used()), (1, 0));
    let sent = all.pass(Verdict::Done);
    assert!(sent[1].starts_with("XADD w:{a}:s 1-2 g 1"), "{sent:?}");
    assert!(all.pass(Verdict::Done).is_empty());
}

#[test]
fn a_stream_of_which_nothing_was_sent_leaves_nothing_behind() {
    let all = fixture();
    let journal = all.open("a");
    assert!(!all.append(&journal, 2, b"x"), "number 1 is missing");
    assert!(journal.is_broken());
    assert!(all.pass(Verdict::Done).is_empty());
    assert_eq!((all.broken(), all.outbox.room().used()), (1, 0));
}

#[test]
fn what_the_server_refuses_is_sealed_off_and_deleted_if_that_is_refused_too() {
    for verdict in [Verdict::Refused, Verdict::Gone] {
        let all = fixture();
        let journal = all.open("a");
        assert!(all.append(&journal, 1, b"x"));
        all.pass(verdict);
        assert!(journal.is_broken());
        assert!(all.pass(verdict)[1].starts_with("XADD w:{a}:s 1-2 g 1"));
        assert_eq!(all.pass(verdict), ["DEL w:{a}:s w:{a}:m"]);
        assert!(all.pass(verdict).is_empty());
        assert_eq!((all.broken(), all.outbox.room().used()), (1, 0));
    }
}

#[test]
fn a_parcel_that_is_lost_breaks_its_stream_off() {
    let all = fixture();
    let journal = all.open("a");
    assert!(all.append(&journal, 1, b"x"));
    drop(all.take());
    assert!(journal.is_broken());
    assert_eq!((all.broken(), all.outbox.room().used()), (1, 0));
    assert!(all.pass(Verdict::Done)[1].starts_with("XADD w:{a}:s 1-2 g 1"));
}

#[test]
fn all_streams_together_have_bounds_and_the_others_are_not_harmed() {
    let all = fixture();
    let big = vec![b'x'; journal::MAX_BYTES - 4096];
    let journals: Vec<_> = (0..20).map(|id| all.open(&id.to_string())).collect();
    let kept = journals
        .iter()
        .filter(|journal| all.append(journal, 1, &big))
        .count();
    assert!((15..=16).contains(&kept), "{kept}");
    assert_eq!(all.broken(), 20 - kept);
    assert!(all.outbox.room().used() <= room::MAX_BYTES);
    let mut rounds = 0;
    while !all.pass(Verdict::Done).is_empty() {
        rounds += 1;
    }
    assert!(rounds >= 8, "a pipeline has about a megabyte: {rounds}");
    assert_eq!(all.outbox.room().used(), 0);
    assert!(journals.iter().any(|journal| all.append(journal, 2, b"x")));
}

#[test]
fn an_old_stream_is_trimmed_to_its_bounds() {
    let all = fixture();
    let journal = all.open("a");
    let mut trimmed = 0;
    for last in 1..=300 {
        assert!(all.append(&journal, last, b"x"));
        let sent = all.pass(Verdict::Done).concat();
        trimmed += usize::from(sent.contains(" MINID ~ "));
    }
    assert!(trimmed > 10, "{trimmed}");
}

#[test]
fn notes_are_bounded_and_go_first() {
    let all = fixture();
    all.open("a");
    for _ in 0..=MAX_NOTES {
        all.outbox.note(redis::cmd("PING"));
    }
    assert_eq!(all.counts.errors.load(Ordering::Relaxed), 1);
    let parcels = all.take();
    assert_eq!(parcels.len(), PIPELINE_PARCELS);
    assert!(all.outbox.has_more());
    assert_eq!(written(&parcels[0].commands), ["PING"]);
    assert!(all.take().iter().all(|parcel| parcel.held.is_none()));
    assert!(all.pass(Verdict::Done)[0].starts_with("SET w:{a}:m"));
}

/// Reports whether what waits is to be sent soon.
async fn is_urgent(outbox: &Outbox) -> bool {
    timeout(Duration::ZERO, outbox.urgent()).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn what_somebody_follows_elsewhere_is_in_a_hurry_and_nothing_else() {
    let all = fixture();
    let journal = all.open("a");
    assert!(all.append(&journal, 1, b"x") && !is_urgent(&all.outbox).await);
    all.pass(Verdict::Done);
    journal.deliver(Control::ViewerCame {
        instance: "b".to_owned(),
    });
    assert!(all.append(&journal, 2, b"x") && is_urgent(&all.outbox).await);
    // What comes while something is on its way is in a hurry once that is answered.
    let sent = all.take();
    assert!(all.append(&journal, 3, b"x") && !is_urgent(&all.outbox).await);
    sent.into_iter()
        .for_each(|parcel| parcel.settle(Verdict::Done));
    assert!(is_urgent(&all.outbox).await);
    all.pass(Verdict::Done);
    assert!(!is_urgent(&all.outbox).await, "nothing waits");
}

/// Two reads of this size within the usual wait would break the stream off.
#[tokio::test(start_paused = true)]
async fn a_stream_of_which_much_waits_is_in_a_hurry() {
    let all = fixture();
    let journal = all.open("a");
    all.pass(Verdict::Done);
    let much = vec![b'x'; journal::MAX_BYTES / 2 + 1];
    assert!(all.append(&journal, 1, &much) && is_urgent(&all.outbox).await);
}

/// The lengths of the events of one read.
fn read() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![
        1 => Just(0_usize),
        20 => 1..400_usize,
        2 => 1_000..5_000_usize,
        1 => Just(20_000_usize),
    ];
    prop::collection::vec(length, 1..17)
}

proptest! {
    /// In whatever pieces events come, and whenever they are taken, each is stored once, in order, with its bytes.
    #[test]
    fn every_event_is_stored_once(
        reads in prop::collection::vec((read(), any::<bool>()), 1..40),
        is_sealed in any::<bool>(),
    ) {
        let all = Fixture {
            sealer: Sealer::new(is_sealed, Some([7; 32]), None),
            ..fixture()
        };
        let journal = all.open("a");
        let (mut came, mut stored): (Vec<Numbered>, Vec<Numbered>) = (Vec::new(), Vec::new());
        for (lengths, is_taken) in reads {
            let (mut list, mut blocks) = (Vec::new(), Vec::new());
            for length in lengths {
                let number = came.len() + 1;
                let class = u8::try_from(number % 12).unwrap();
                let byte = u8::try_from(number % 251).unwrap();
                blocks.resize(blocks.len() + length, byte);
                list.push((class, u32::try_from(length).unwrap()));
                came.push((number as u64, class, Bytes::from(vec![byte; length])));
            }
            let added = journal.append(came.len() as u64, &list, &blocks, all.outbox.room());
            assert!(all.outbox.follow_up(&journal, added));
            if is_taken || all.outbox.room().used() > journal::MAX_BYTES / 4 {
                stored.extend(all.stored("a"));
            }
        }
        stored.extend(all.stored("a"));
        assert!(stored == came);
        assert_eq!(all.outbox.room().used(), 0);
    }
}
