//! The cost of clients that do not read, and their effect on other clients.

use anyhow::Result;

use crate::ask::Ask;
use crate::clock::{self, MILLISECOND, SECOND};
use crate::load::Reader;
use crate::proc;
use crate::target::{Setup, Target};

use super::steady::{Shape, Steady};
use super::{Bench, Column, Row, Run, Workload, column};

const STALLED: u64 = 64;
const MIB: f64 = 1_048_576.0;
/// The time until all buffers that can fill are full.
const FILL: u64 = 3 * SECOND;

const GROWTH: Column = column("memory grows MiB", 1);
const TAKEN: Column = column("taken MiB/stream", 2);
const STILL: Column = column("still taken MiB/s", 1);
const IN_KERNEL: Column = column("in kernel KiB/client", 0);
const UNREAD: Column = column("unread KiB/stream", 0);
const ALONE: Column = column("readers p99 us", 0);
const BESIDE: Column = column("beside stalled", 0);

pub(super) const WORKLOAD: Workload = Workload {
    name: "stalled",
    what: "64 clients that never read, of a model that never waits, beside 50 readers of 50 events a second. \
           `Taken` is what the model could write for each stalled client until 3 s have passed: it hides in the \
           proxy and in the kernel, or was dropped. `Still taken` is after that, for all of them. `In kernel` is \
           what the proxy wrote and the client has not read: no proxy can take it back. `Unread` is what the \
           kernel holds of the model's answer for the proxy.",
    columns: &[GROWTH, TAKEN, STILL, IN_KERNEL, UNREAD, ALONE, BESIDE],
    run: Run::Own(run),
    setup: Setup::PLAIN,
    direct: true,
};

fn run(bench: &Bench<'_>, target: &Target, _: Setup) -> Result<Row> {
    let model = bench.model;
    let running = target.start(model.address)?;
    let processes = running.processes()?;
    let mut steady = Steady::begin(
        model,
        &running,
        Shape {
            streams: 50,
            rate: 50,
            batch: 1,
            message: 0,
        },
    )?;
    steady.watch(&running, bench.window)?;
    let alone = steady.load.latency.value_at_quantile(0.99);
    let (memory, counted) = (proc::memory(&processes)?, model.counted());

    let mut stalled = crate::load::Load::new(running.address)?;
    for index in 0..STALLED {
        stalled.open(
            Ask {
                id: 1000 + index,
                count: true,
                ..Ask::default()
            },
            Reader::Stalled,
        );
    }
    let connected = stalled.until(clock::now() + 5 * SECOND, |load| {
        load.running() as u64 == STALLED
    })?;
    if !connected {
        stalled.error("stalled client that is not connected", 1);
    }
    steady.load.during(FILL)?;
    let taken = model.counted() - counted;
    let begin = clock::now();
    steady.watch(&running, bench.window)?;
    let still = (model.counted() - counted - taken) as f64 / clock::seconds(clock::now() - begin);
    let beside = steady.load.latency.value_at_quantile(0.99);
    let toward = proc::hidden(running.address.port())?.from;
    let unread = proc::hidden(model.address.port())?.received;
    let grown = proc::memory(&processes)?.saturating_sub(memory);
    // Find out whether any was closed in the meantime.
    stalled.during(MILLISECOND)?;

    let mut row = Row::default();
    if target.is_proxy() {
        row.set(GROWTH, grown as f64 / MIB);
        row.set(UNREAD, unread as f64 / 1024.0 / STALLED as f64);
    }
    row.set(IN_KERNEL, toward as f64 / 1024.0 / STALLED as f64);
    row.set(TAKEN, taken as f64 / MIB / STALLED as f64);
    row.set(STILL, still / MIB);
    row.set(ALONE, alone as f64 / 1000.0);
    row.set(BESIDE, beside as f64 / 1000.0);
    row.errors = stalled.errors().clone();
    stalled.leave_all();
    steady.close(model)?;
    row.errors.extend(steady.load.errors().clone());
    Ok(row)
}
