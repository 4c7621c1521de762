//! How long the model keeps working for a client that has left.

use std::collections::HashMap;

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::ask::{Ask, Hold};
use crate::clock::{self, MILLISECOND, SECOND};
use crate::load::{Errors, Load, Reader};
use crate::model::Note;
use crate::target::{Running, Setup, Target};

use super::{Bench, Column, Row, Run, Workload, column};

const SAMPLES: usize = 200;
/// Concurrent samples.
const WIDTH: usize = 20;
/// A cancellation that takes longer counts as never.
const PATIENCE: u64 = 2 * SECOND;

#[derive(Clone, Copy, Debug)]
struct Phase {
    hold: Hold,
    p50: Column,
    p99: Column,
}

const PHASES: [Phase; 3] = [
    Phase {
        hold: Hold::Head,
        p50: column("before head p50 ms", 3),
        p99: column("p99 ms", 3),
    },
    Phase {
        hold: Hold::Events,
        p50: column("before events p50 ms", 3),
        p99: column("p99 ms ", 3),
    },
    Phase {
        hold: Hold::Nothing,
        p50: column("amid events p50 ms", 3),
        p99: column("p99 ms  ", 3),
    },
];

pub(super) const WORKLOAD: Workload = Workload {
    name: "cancel",
    what: "The client closes; until the model sees its connection closed: before the model has answered, after the \
           head and before the first event, and amid 50 events a second. `never` is not within 2 s.",
    columns: &[
        PHASES[0].p50,
        PHASES[0].p99,
        PHASES[1].p50,
        PHASES[1].p99,
        PHASES[2].p50,
        PHASES[2].p99,
    ],
    run: Run::Own(run),
    setup: Setup::PLAIN,
    direct: true,
};

fn run(bench: &Bench<'_>, target: &Target, _: Setup) -> Result<Row> {
    let running = target.start(bench.model.address)?;
    let mut row = Row::default();
    for phase in PHASES {
        let mut seen = Histogram::<u64>::new_with_max(10 * SECOND, 3)?;
        let mut never = 0;
        for batch in 0..SAMPLES / WIDTH {
            never += sample(bench, &running, phase.hold, &mut seen, &mut row.errors)?;
            if batch == 0 && never == WIDTH {
                // A target that does not notice twenty times will not notice the other times.
                break;
            }
        }
        for (column, quantile) in [(phase.p50, 0.5), (phase.p99, 0.99)] {
            let total = seen.len() as f64 + never as f64;
            // Cancellations that never arrived are the slowest samples.
            let value = if quantile * total > seen.len() as f64 {
                f64::INFINITY
            } else {
                let among_seen = quantile * total / seen.len() as f64;
                seen.value_at_quantile(among_seen) as f64 / MILLISECOND as f64
            };
            row.set(column, value);
        }
    }
    Ok(row)
}

/// Opens some streams, closes them in their phase, and records when the model noticed. Returns how many it did not
/// notice.
fn sample(
    bench: &Bench<'_>,
    running: &Running,
    hold: Hold,
    seen: &mut Histogram<u64>,
    errors: &mut Errors,
) -> Result<usize> {
    let mut load = Load::new(running.address)?;
    while bench.model.notes.try_recv().is_ok() {}
    let first = clock::now();
    let ids: Vec<u64> = (first..).take(WIDTH).collect();
    for id in &ids {
        load.open(
            Ask {
                id: *id,
                rate: 50,
                hold,
                phase: *id * 1_013_007,
                ..Ask::default()
            },
            Reader::Eager,
        );
    }
    let deadline = clock::now() + 5 * SECOND;
    let mut started = 0;
    let mut reached = false;
    while !reached && clock::now() < deadline {
        // The model's notes wake no thread, so poll often.
        load.during(MILLISECOND)?;
        let notes = bench.model.notes.try_iter();
        started += notes
            .filter(|note| matches!(note, Note::Started { .. }))
            .count();
        let amid = || ids.iter().all(|id| load.received_by(*id) >= 3);
        reached = started == WIDTH && (hold != Hold::Nothing || amid());
    }
    // A proxy may need a moment to forward the head, and nothing here shows whether it has.
    load.during(20 * MILLISECOND)?;
    if !reached {
        load.error("stream that does not begin", 1);
    }
    let mut left = HashMap::new();
    for id in &ids {
        if let Some(at) = load.leave(*id) {
            left.insert(*id, at);
        }
        // One after the other, as real clients leave.
        load.during(MILLISECOND)?;
    }
    let deadline = clock::now() + PATIENCE;
    while !left.is_empty() && clock::now() < deadline {
        load.during(MILLISECOND)?;
        for note in bench.model.notes.try_iter() {
            if let Note::Left { id, at } = note
                && let Some(left_at) = left.remove(&id)
            {
                seen.saturating_record(at.saturating_sub(left_at));
            }
        }
    }
    for (what, times) in load.errors() {
        *errors.entry(what.clone()).or_default() += times;
    }
    Ok(left.len())
}
