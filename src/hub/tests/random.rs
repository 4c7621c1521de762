//! A hub against its model, over random reads, viewers that come and go, and bounds: what the journal holds after each
//! read, what every viewer gets, what a tap gets, and what the budget and the counts know.

use proptest::prelude::*;

use super::world::{Op, World};
use super::*;
use crate::queue::Batch;

fn pad() -> impl Strategy<Value = usize> {
    prop_oneof![
        30 => 0..60_usize,
        5 => 200..3_000_usize,
        1 => Just(20_000_usize),
        1 => Just(70_000_usize),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let events = prop::collection::vec((0..6_u8, pad()), 0..12);
    let bytes = prop::sample::select(vec![0_usize, 300, 8_192, 100_000]);
    let who = || 0..4_usize;
    prop_oneof![
        10 => (events, bytes).prop_map(|(events, bytes)| Op::Read { events, bytes }),
        3 => (who(), 1..500_usize).prop_map(|(who, max)| Op::Take { who, max }),
        8 => who().prop_map(|who| Op::TakeAll { who }),
        1 => (0..40_u64).prop_map(|back| Op::Come { back }),
        1 => who().prop_map(|who| Op::Return { who }),
        1 => who().prop_map(|who| Op::Leave { who }),
        1 => Just(Op::EvictHalf),
        1 => Just(Op::GiveUp),
        1 => Just(Op::SameEncoder),
        2 => (1..200_u64).prop_map(|millis| Op::Wait { millis }),
    ]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let batch = Some(Batch {
        max_delay: Duration::from_millis(50),
        max_chars: 8,
    });
    let pace = Some(Duration::from_millis(100));
    let gatings = [(None, None), (None, None), (batch, None), (batch, pace)];
    let gatings: Vec<Gating> = gatings
        .into_iter()
        .map(|(batch, pace)| Gating { batch, pace })
        .collect();
    let overflows = vec![Overflow::Block, Overflow::Disconnect, Overflow::DropOldest];
    (
        prop::sample::select(vec![1_usize, 2, 5, 40, 1_000]),
        prop::sample::select(vec![200_usize, 1_000, 20_000, 100_000]),
        prop::sample::select(vec![1_usize, 3, 16, 64]),
        prop::sample::select(vec![4_096_usize, 65_536]),
        any::<bool>(),
        prop::sample::select(overflows),
        prop::sample::select(gatings),
    )
        .prop_map(
            |(events, bytes, waiting, size, merge, overflow, gating)| Settings {
                bounds: Bounds {
                    max_events: events,
                    max_bytes: bytes,
                },
                limits: Limits {
                    max_events: waiting,
                    max_bytes: size,
                    merge,
                    overflow,
                },
                gating,
                on_leave: OnLeave::Continue,
                ..SETTINGS
            },
        )
}

proptest! {
    /// Whatever is read and whoever comes or leaves, the journal holds the newest events as they came, with their
    /// numbers; each viewer gets each event once, in order, with its number; so does a tap, with the end of each read;
    /// and the counts and the budget are exact.
    #[test]
    fn a_hub_is_a_list_of_its_newest_events(
        chosen in any_settings(),
        ops in prop::collection::vec(op(), 1..60),
        is_patient in any::<bool>(),
        has_tap in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(chosen);
            if has_tap {
                world.tap();
            }
            for op in ops {
                world.act(op).await;
            }
            world.end(is_patient).await;
            world.check_viewers();
        });
    }
}

/// One read that is larger in every way than what is kept: in one piece, and with an event beyond each bound between.
#[tokio::test(start_paused = true)]
async fn a_read_beyond_the_bounds_leaves_its_newest_events() {
    for (max_events, max_bytes) in [(1, 1 << 20), (3, 1 << 20), (1_000, 1_024), (2, 200)] {
        let mut settings = SETTINGS;
        settings.bounds = Bounds {
            max_events,
            max_bytes,
        };
        settings.limits.max_events = 10_000;
        let mut world = World::new(settings);
        world.tap();
        let mut events = vec![(1, 20); 400];
        world.read(&events, 64 * 1024);
        world.check();
        // Larger than what is put at once, than the journal, and than what is copied.
        events.extend([(1, 17_000), (3, 1), (1, 70_000), (0, 5)]);
        world.read(&events, 256 * 1024);
        world.check();
        world.end(true).await;
        world.check_viewers();
    }
}
