//! The cost of a short stream on a new connection.

use anyhow::Result;

use crate::ask::Ask;
use crate::clock::{self, SECOND};
use crate::load::{Load, Reader};
use crate::proc::Usage;
use crate::target::{Setup, Target};

use super::{Bench, Column, Row, Run, WARM_UP, Workload, column};

/// Concurrent streams.
const WIDTH: usize = 32;
const EVENTS: u32 = 10;

const CPU: Column = column("CPU us/stream", 1).ratio();
const USER: Column = column("of it user", 1);
const RATE: Column = column("streams/s", 0).ratio();

pub(super) const WORKLOAD: Workload = Workload {
    name: "churn",
    what: "A new client connection, 10 events, and the connection is closed; 32 at a time.",
    columns: &[CPU, USER, RATE],
    run: Run::Own(run),
    setup: Setup::PLAIN,
    direct: true,
};

fn run(bench: &Bench<'_>, target: &Target, _: Setup) -> Result<Row> {
    let running = target.start(bench.model.address)?;
    let processes = running.processes()?;
    let mut load = Load::new(running.address)?;
    load.again = true;
    for id in 0..WIDTH as u64 {
        load.open(
            Ask {
                id,
                events: EVENTS,
                ..Ask::default()
            },
            Reader::Eager,
        );
    }
    load.during(WARM_UP)?;
    let (ended, usage, begin) = (load.ended(), Usage::of(&processes)?, clock::now());
    load.during(bench.window)?;
    let usage = Usage::of(&processes)?.since(&usage);
    let (streams, time) = ((load.ended() - ended) as f64, clock::now() - begin);
    load.again = false;
    if !load.until(clock::now() + 5 * SECOND, |load| load.asked() == 0)? {
        let left = load.asked() as u64;
        load.error("stream that does not end", left);
    }
    let mut row = Row {
        errors: load.errors().clone(),
        ..Row::default()
    };
    if target.is_proxy() {
        row.set(CPU, usage.cpu as f64 / 1000.0 / streams);
        row.set(USER, usage.user_part() / 1000.0 / streams);
    }
    row.set(RATE, streams / clock::seconds(time));
    Ok(row)
}
