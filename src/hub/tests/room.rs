//! Who waits, and what is dropped, when a viewer takes nothing or a journal is full.

use super::*;

#[tokio::test(start_paused = true)]
async fn tokens_of_a_viewer_that_takes_nothing_are_dropped_and_told() {
    let (hub, input) = hub(SETTINGS);
    let _fast = Client::first(&hub);
    let mut slow = Client::after(&hub, 0);
    for number in 1..=4 {
        push(&input, number, Class::Token);
    }
    for number in 5..=24 {
        let class = if number == 7 {
            Class::Tool
        } else {
            Class::Token
        };
        push(&input, number, class);
    }
    advance(OVERFLOW_GRACE * 2).await;
    let got = slow.take_all();
    let kept: Vec<u64> = (1..=4).chain([7]).chain(22..=24).collect();
    let ids: Vec<u64> = got
        .lines()
        .filter_map(|line| line.strip_prefix("id: s.")?.parse().ok())
        .collect();
    assert_eq!(ids, kept, "{got}");
    assert!(got.contains(": weir dropped="), "{got}");
    let mut again = Client::after(&hub, 4);
    assert_eq!(
        again.take_all(),
        expected(5..=24),
        "all of it can be fetched"
    );
}

#[tokio::test(start_paused = true)]
async fn of_several_agents_the_one_with_the_most_waiting_gives_way() {
    let settings = Settings {
        has_agents: true,
        ..SETTINGS
    };
    let (hub, input) = hub(settings);
    let _fast = Client::first(&hub);
    let mut slow = Client::after(&hub, 0);
    for number in 1..=25 {
        // One event of a quiet agent, behind those that fit into the queue.
        let agent = if number == 5 { 1 } else { 2 };
        let event = Event {
            agent,
            ..Event::bare(Class::Token)
        };
        let mut pushing = input.pushing(0, Instant::now());
        assert_eq!(pushing.push(&block(number), &event), Offer::Accepted);
        pushing.done();
    }
    advance(OVERFLOW_GRACE * 2).await;
    let got = slow.take_all();
    let ids: Vec<u64> = got
        .lines()
        .filter_map(|line| line.strip_prefix("id: s.")?.parse().ok())
        .collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 23, 24, 25], "{got}");
}

#[tokio::test(start_paused = true)]
async fn only_a_viewer_that_is_alone_holds_the_upstream_back() {
    let mut settings = SETTINGS;
    settings.bounds.max_events = 10;
    let (hub, input) = hub(settings);
    let mut alone = Client::first(&hub);
    // Four in its queue, and ten in the journal that it has not got.
    for number in 1..=14 {
        assert_eq!(push(&input, number, Class::Tool), Offer::Accepted);
    }
    assert_eq!(push(&input, 15, Class::Tool), Offer::Wait);
    input.give_up();
    assert_eq!(
        push(&input, 15, Class::Tool),
        Offer::Full,
        "never a critical event"
    );
    let cx = Context::from_waker(Waker::noop());
    let mut seen = 0;
    while input.poll_change(&cx, &mut seen, true).is_ready() {}
    assert_eq!(alone.take_all(), expected(1..=14));
    assert!(
        input.poll_change(&cx, &mut seen, true).is_ready(),
        "it took something"
    );
    assert_eq!(push(&input, 15, Class::Tool), Offer::Accepted);
    for number in 16..=28 {
        push(&input, number, Class::Tool);
    }
    let other = hub.attach(28, Instant::now()).unwrap();
    for number in 29..=60 {
        assert_eq!(
            push(&input, number, Class::Tool),
            Offer::Accepted,
            "not for one of two"
        );
    }
    assert!(matches!(
        alone.step(),
        Step::Follows {
            ends: Some(End::ClientStalled),
            ..
        }
    ));
    drop(other);
}

#[test]
fn the_budget_knows_every_journal() {
    let budget = Arc::new(Budget::new(1 << 30));
    let encoder = Encoder::identity(Some(Dialect::Convention), Framing::Sse);
    let (hub, input) = Hub::new("s", SETTINGS, encoder, Arc::clone(&budget));
    for number in 1..=500 {
        push(&input, number, Class::Token);
    }
    assert_eq!(budget.used(), hub.extent().allocated + STREAM_BYTES);
    let before = budget.used();
    assert!(hub.evict_half() > 200);
    assert!(budget.used() < before);
    drop((input, hub));
    assert_eq!(budget.used(), 0);
}
