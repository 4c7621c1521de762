//! What holds of a ring whatever is pushed and taken.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Push { class: usize, key: u64, len: usize },
    Take { max: usize },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..12_usize, 0..2_u64, 1..12_usize).prop_map(|(class, key, len)| Op::Push { class, key, len }),
        1 => (1..64_usize).prop_map(|max| Op::Take { max }),
    ]
}

proptest! {
    /// With random traffic, the limits hold, all critical events arrive in order, and the counts do not exceed
    /// what was pushed.
    #[test]
    fn whatever_happens_critical_events_survive_in_order(
        ops in proptest::collection::vec(op(), 1..200),
        merge in any::<bool>(),
    ) {
        let bounds = Limits { merge, ..limits(6, 60) };
        let mut ring = Ring::new(bounds, silent());
        let (mut sent, mut got) = (Vec::new(), Vec::new());
        let (mut pushed, mut taken_events) = (0_u64, 0_u64);
        for (number, op) in ops.into_iter().enumerate() {
            match op {
                Op::Push { class, key, len } => {
                    let class = Class::ALL[class];
                    let (mut block, mut event) = token(key, &"x".repeat(len));
                    event.class = class;
                    if !class.is_droppable() {
                        block = format!("C{number}\n").into_bytes();
                        event = Event::bare(class);
                    }
                    match ring.push(&block, &event, Instant::now()) {
                        Push::Accepted => {
                            pushed += 1;
                            if !class.is_droppable() {
                                sent.push(String::from_utf8(block).unwrap());
                            }
                        }
                        Push::Full => prop_assert!(!class.is_droppable()),
                        Push::Disconnect => prop_assert!(false),
                    }
                }
                Op::Take { max } => {
                    if let Some((text, events)) = take(&mut ring, max) {
                        taken_events += events as u64;
                        got.push(text);
                    }
                }
            }
            prop_assert!(ring.len() <= 6);
            prop_assert!(ring.bytes() <= 60 || ring.len() == 1);
            prop_assert!(ring.store.capacity() <= 256);
        }
        taken_events += ring.len() as u64;
        got.push(all(&mut ring));
        let got = got.concat();
        let critical: Vec<String> = got.lines().filter(|line| line.starts_with('C')).map(|line| format!("{line}\n")).collect();
        prop_assert_eq!(critical, sent);
        let counts = ring.counts();
        let heartbeats = counts.dropped.iter().sum::<u64>() + counts.merged + taken_events;
        prop_assert!(heartbeats <= pushed);
    }
}
