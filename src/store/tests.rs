//! Without a server. What a server does is tested in `tests/real`.

use std::task::{Context, Poll, Waker};

use super::meta::tests::meta;
use super::outbox::tests::Counts;
use super::*;

const BOUNDS: Bounds = Bounds {
    keep: Duration::from_secs(60),
    live: Duration::from_secs(600),
    max_events: 100,
    max_bytes: 1 << 20,
};

fn store(workers: usize) -> (Arc<Store>, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let watch: Arc<dyn Watch> = Arc::<Counts>::clone(&counts);
    (
        Store::new(&RedisSettings::default(), workers, watch),
        counts,
    )
}

#[tokio::test]
async fn without_a_connection_every_question_is_answered_at_once() {
    let (store, _) = store(1);
    assert!(!store.is_up());
    let ttl = Duration::from_secs(1);
    assert_eq!(store.find("id").await, Err(Down));
    assert_eq!(store.recall("name").await, Err(Down));
    assert_eq!(store.remember_first("name", "id", ttl).await, Err(Down));
    assert_eq!(store.ask("id", Control::Stop).await, Err(Down));
    assert_eq!(store.shared_key().await, Err(Down));
    assert_eq!(store.is_alive(store.instance()).await, Err(Down));
    store.remember(0, "name", "id", ttl);
    store.remember(9, "name", "id", ttl);
}

#[test]
fn a_stream_that_cannot_be_stored_goes_on_and_counts_once() {
    let (store, counts) = store(1);
    let mut writer = store.open(0, "id", meta(), BOUNDS);
    let block = vec![b'x'; 64 << 10];
    let mut last = 0;
    while !writer.is_broken() {
        last += 1;
        writer.append(last, &[(0, 65_536)], &block);
    }
    assert!((15..=16).contains(&last), "{last}");
    for _ in 0..3 {
        last += 1;
        writer.append(last, &[(0, 65_536)], &block);
    }
    writer.end("completed", b"", true);
    assert_eq!(counts.broken.load(Ordering::Relaxed), 1);
    assert_eq!(store.waiting(), 0);
}

#[test]
fn a_stream_goes_on_after_the_last_event_that_is_known_of_it() {
    let (store, _) = store(1);
    let known = Meta { last: 7, ..meta() };
    let mut writer = store.open(0, "id", known, BOUNDS);
    writer.append(9, &[(0, 1), (0, 1)], b"ab");
    writer.append(9, &[], b"");
    assert!(!writer.is_broken());
    writer.append(11, &[(0, 1)], b"d");
    assert!(writer.is_broken(), "number 10 is missing");
}

#[test]
fn messages_reach_the_streams_that_run_here() {
    let (store, _) = store(2);
    let mut cx = Context::from_waker(Waker::noop());
    let mut writer = store.open(1, "id", meta(), BOUNDS);
    store.deliver("id", Control::Stop);
    store.deliver("other", Control::Stop);
    assert_eq!(writer.poll_control(&mut cx), Poll::Ready(Control::Stop));
    assert!(writer.poll_control(&mut cx).is_pending());
    drop(writer);
    assert!(store.running().is_empty());
}

#[test]
fn a_writer_that_is_dropped_breaks_its_stream_off_and_an_ended_one_does_not() {
    let (store, counts) = store(1);
    store
        .open(0, "a", meta(), BOUNDS)
        .end("completed", b"", true);
    assert_eq!(counts.broken.load(Ordering::Relaxed), 0);
    drop(store.open(0, "b", meta(), BOUNDS));
    assert_eq!(counts.broken.load(Ordering::Relaxed), 1);
}

#[test]
fn names_of_processes_differ() {
    let (one, other) = (store(1).0, store(1).0);
    assert_eq!(one.instance().len(), 32);
    assert_ne!(one.instance(), other.instance());
}
