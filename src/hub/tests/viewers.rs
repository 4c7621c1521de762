//! Whether every viewer gets every event once, with the same ids, whenever it comes, goes and comes back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use proptest::prelude::*;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_viewer_that_comes_back_gets_the_rest_with_the_same_ids() {
    let (hub, input) = hub(SETTINGS);
    let mut first = Client::first(&hub);
    for number in 1..=3 {
        assert_eq!(push(&input, number, Class::Token), Offer::Accepted);
    }
    assert_eq!(first.take_all(), expected(1..=3));
    let mut second = Client::after(&hub, 1);
    push(&input, 4, Class::Tool);
    assert_eq!(second.take_all(), expected(2..=4));
    assert_eq!(first.take_all(), expected([4]));
    push(&input, 5, Class::Token);
    input.close(Close::Clean, Some(b"data: bye\n\n"), Instant::now());
    let end = "data: bye\nid: s.6\n\n";
    for mut viewer in [first, second] {
        assert_eq!(viewer.take_all(), expected([5]) + end);
        assert_eq!(viewer.end, Some(Close::Clean));
    }
    let mut late = Client::after(&hub, 4);
    assert_eq!(late.take_all(), expected([5]) + end);
    assert_eq!(late.end, Some(Close::Clean));
}

#[tokio::test(start_paused = true)]
async fn a_slow_viewer_slows_no_other_and_catches_up() {
    let (hub, input) = hub(SETTINGS);
    let mut fast = Client::first(&hub);
    let mut slow = Client::after(&hub, 0);
    let mut got = String::new();
    for number in 1..=50 {
        assert_eq!(push(&input, number, Class::Tool), Offer::Accepted);
        got += &fast.take_all();
    }
    assert_eq!(got, expected(1..=50));
    assert_eq!(slow.take_all(), expected(1..=50));
    push(&input, 51, Class::Token);
    assert_eq!(slow.take_all(), expected([51]), "it follows again");
}

#[tokio::test(start_paused = true)]
async fn a_read_of_many_events_reaches_every_viewer_and_wakes_it() {
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let (hub, input) = hub(SETTINGS);
    let mut first = Client::first(&hub);
    let mut second = Client::after(&hub, 0);
    let wakes = [(); 2].map(|()| Arc::new(Count(AtomicUsize::new(0))));
    for (client, count) in [&mut first, &mut second].into_iter().zip(&wakes) {
        let waker = Waker::from(Arc::clone(count));
        let mut cx = Context::from_waker(&waker);
        let receiver = client.receiver.as_mut().unwrap();
        let mut out = Vec::new();
        assert!(receiver.poll_next(&mut cx, 1, &mut out).is_pending());
    }
    push_read(&input, 1..=3);
    let woken = wakes.map(|count| count.0.load(Ordering::Relaxed));
    assert_eq!(woken, [1, 1]);
    assert_eq!(first.take_all(), expected(1..=3));
    assert_eq!(second.take_all(), expected(1..=3));
    // More than a queue holds: the rest comes from the journal.
    push_read(&input, 4..=20);
    push_read(&input, 21..=22);
    assert_eq!(first.take_all(), expected(4..=22));
    second.leave();
    push_read(&input, 23..=24);
    assert_eq!(first.take_all(), expected(23..=24));
    first.leave();
    push_read(&input, 25..=26);
    assert_eq!(Client::after(&hub, 24).take_all(), expected(25..=26));
    assert_eq!(input.status().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn positions_that_cannot_be_continued_from_are_refused() {
    let mut settings = SETTINGS;
    settings.bounds.max_events = 5;
    settings.max_viewers = 2;
    let (hub, input) = hub(settings);
    let mut first = Client::first(&hub);
    for number in 1..=8 {
        push(&input, number, Class::Token);
        first.take_all();
    }
    let now = Instant::now();
    assert_eq!(hub.attach(2, now).unwrap_err(), Refused::Evicted(4));
    assert_eq!(hub.attach(9, now).unwrap_err(), Refused::Beyond(8));
    assert_eq!(hub.attach(u64::MAX, now).unwrap_err(), Refused::Beyond(8));
    let _second = hub.attach(3, now).unwrap();
    assert_eq!(hub.attach(3, now).unwrap_err(), Refused::Full);
}

#[tokio::test(start_paused = true)]
async fn what_the_last_viewer_leaves_behind_depends_on_the_policy() {
    let grace = Duration::from_secs(30);
    for (on_leave, at_once, later) in [
        (
            OnLeave::Cancel,
            Some(End::ClientGone),
            Some(End::ClientGone),
        ),
        (OnLeave::Grace(grace), None, Some(End::ClientGone)),
        (OnLeave::Continue, None, None),
    ] {
        let (hub, input) = hub(Settings {
            on_leave,
            ..SETTINGS
        });
        let one = Client::first(&hub);
        let two = Client::after(&hub, 0);
        one.leave();
        assert_eq!(input.gone(Instant::now()), None, "one is left");
        two.leave();
        assert_eq!(input.gone(Instant::now()), at_once, "{on_leave:?}");
        push(&input, 1, Class::Token);
        advance(grace).await;
        assert_eq!(input.gone(Instant::now()), later, "{on_leave:?}");
        let mut back = Client::after(&hub, 0);
        assert_eq!(input.gone(Instant::now()), None);
        assert_eq!(back.take_all(), expected([1]));
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstreams_own_ids_are_kept_and_found() {
    let (hub, input) = hub(SETTINGS);
    let mut client = Client::first(&hub);
    let own = b"id: abc\ndata: x\n\n";
    let mut pushing = input.pushing(0, Instant::now());
    pushing.push(own, &Event::bare(Class::Token));
    pushing.done();
    assert_eq!(client.take_all().as_bytes(), own);
    assert_eq!(hub.find_id(b"abc"), Some(1));
    assert_eq!(Client::after(&hub, 0).take_all().as_bytes(), own);
}

#[tokio::test(start_paused = true)]
async fn a_pump_that_disappears_ends_everybody() {
    let (hub, input) = hub(SETTINGS);
    let mut client = Client::first(&hub);
    push(&input, 1, Class::Token);
    drop(input);
    assert_eq!(client.take_all(), expected([1]));
    assert_eq!(client.end, Some(Close::Abort));
}

/// The first events may show that they have ids after they were put into the queue of the viewer that is alone.
#[tokio::test(start_paused = true)]
async fn ids_that_are_known_only_after_the_first_read_are_those_of_the_journal() {
    let encoder = Encoder::identity(Some(Dialect::Convention), Framing::Ndjson);
    let (hub, input) = Hub::new("s", SETTINGS, encoder, Arc::new(Budget::new(1 << 30)));
    let mut first = Client::first(&hub);
    push_read(&input, 1..=3);
    input.set_encoder(Encoder::identity(Some(Dialect::Convention), Framing::Sse));
    assert_eq!(first.take_all(), expected(1..=3));
    // Four fit, the rest comes from the journal.
    push_read(&input, 4..=9);
    assert_eq!(first.take_all(), expected(4..=9));
    assert_eq!(Client::after(&hub, 0).take_all(), expected(1..=9));
}

proptest! {
    /// Whatever viewers do and whenever they come back, each gets every event once, in order, with the same bytes.
    #[test]
    fn every_viewer_gets_every_event_once(steps in prop::collection::vec((0_usize..3, 0_u8..6), 1..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (hub, input) = hub(Settings { on_leave: OnLeave::Continue, ..SETTINGS });
            let mut clients = [Client::first(&hub), Client::after(&hub, 0), Client::after(&hub, 0)];
            let mut got = [String::new(), String::new(), String::new()];
            let mut number = 0;
            for (who, what) in steps {
                match what {
                    0 | 1 => {
                        number += 1;
                        push(&input, number, Class::Tool);
                    }
                    2 => {
                        for _ in 0..9 {
                            number += 1;
                            push(&input, number, Class::Tool);
                        }
                    }
                    3 => { clients[who].take(); }
                    4 => got[who] += &clients[who].take_all(),
                    _ => {
                        // Cut off: what it has got up to here counts.
                        got[who] += &String::from_utf8(std::mem::take(&mut clients[who].got)).unwrap();
                        let last = got[who].lines().rev().find_map(|line| line.strip_prefix("id: s.")?.parse().ok()).unwrap_or(0);
                        let back = Client::after(&hub, last);
                        std::mem::replace(&mut clients[who], back).leave();
                    }
                }
            }
            input.close(Close::Clean, None, Instant::now());
            for (client, got) in clients.iter_mut().zip(&mut got) {
                *got += &client.take_all();
                assert_eq!(*got, expected(1..=number));
                assert_eq!(client.end, Some(Close::Clean));
            }
        });
    }
}
