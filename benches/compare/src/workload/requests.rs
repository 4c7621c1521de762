//! The cost of requests that are no streams: short answers, and large bodies.

use anyhow::Result;

use crate::ask::Ask;
use crate::clock::{self, MILLISECOND, SECOND};
use crate::load::Requests;
use crate::proc::Usage;
use crate::target::{Setup, Target};

use super::{Bench, Column, Row, Run, WARM_UP, Workload, column};

/// The size of every answer.
const ANSWER: u32 = 600;
const MIB: usize = 1 << 20;
const BODY: usize = 10 * MIB;
/// The longest time for the requests that were begun to be answered.
const PATIENCE: u64 = 5 * SECOND;

const CPU: Column = column("CPU us/request", 1).ratio();
const USER: Column = column("of it user", 1);
const RATE: Column = column("requests/s", 0).ratio();
const P50: Column = column("p50 us", 0).added();
const P99: Column = column("p99 us", 0).added();

const CPU_MIB: Column = column("CPU us/MiB", 0).ratio();
const USER_MIB: Column = column("of it user", 0);
const RATE_MIB: Column = column("MiB/s", 0).ratio();
const P50_MS: Column = column("p50 ms", 1).added();
const P99_MS: Column = column("p99 ms", 1).added();

pub(super) const PLAIN: Workload = Workload {
    name: "plain",
    what: "Requests with a JSON answer of 600 bytes that is no stream, one after the other on each of 64 connections.",
    columns: &[CPU, USER, RATE, P50, P99],
    run: Run::Own(plain),
    setup: Setup::PLAIN,
    direct: true,
};

pub(super) const UPLOAD: Workload = Workload {
    name: "upload",
    what: "Requests with a body of 10 MiB and a short answer, one after the other on each of 4 connections.",
    columns: &[CPU_MIB, USER_MIB, RATE_MIB, P50_MS, P99_MS],
    run: Run::Own(upload),
    setup: Setup::PLAIN,
    direct: true,
};

/// What a window of requests has cost.
#[derive(Debug)]
struct Cost {
    answered: f64,
    seconds: f64,
    usage: Usage,
    /// In nanoseconds.
    p50: f64,
    p99: f64,
}

fn plain(bench: &Bench<'_>, target: &Target, setup: Setup) -> Result<Row> {
    let mut row = Row::default();
    let cost = measure(bench, target, setup, (64, 100), &mut row)?;
    if target.is_proxy() {
        row.set(CPU, cost.usage.cpu as f64 / 1000.0 / cost.answered);
        row.set(USER, cost.usage.user_part() / 1000.0 / cost.answered);
    }
    row.set(RATE, cost.answered / cost.seconds);
    row.set(P50, cost.p50 / 1000.0);
    row.set(P99, cost.p99 / 1000.0);
    Ok(row)
}

fn upload(bench: &Bench<'_>, target: &Target, setup: Setup) -> Result<Row> {
    let mut row = Row::default();
    let cost = measure(bench, target, setup, (4, BODY), &mut row)?;
    let mib = cost.answered * (BODY / MIB) as f64;
    if target.is_proxy() {
        row.set(CPU_MIB, cost.usage.cpu as f64 / 1000.0 / mib);
        row.set(USER_MIB, cost.usage.user_part() / 1000.0 / mib);
    }
    row.set(RATE_MIB, mib / cost.seconds);
    row.set(P50_MS, cost.p50 / MILLISECOND as f64);
    row.set(P99_MS, cost.p99 / MILLISECOND as f64);
    Ok(row)
}

/// Measures requests on so many connections, with bodies of this size.
fn measure(
    bench: &Bench<'_>,
    target: &Target,
    setup: Setup,
    (width, body): (usize, usize),
    row: &mut Row,
) -> Result<Cost> {
    let running = target.start_as(bench.model.address, setup)?;
    let processes = running.processes()?;
    let ask = Ask {
        answer: ANSWER,
        ..Ask::default()
    };
    let mut requests = Requests::new(running.address, width, &ask, body)?;
    requests.during(WARM_UP)?;
    requests.recording = true;
    let (answered, usage, begin) = (requests.answered(), Usage::of(&processes)?, clock::now());
    requests.during(bench.window)?;
    // A window in which nothing is answered says nothing: wait for one.
    let deadline = clock::now() + PATIENCE;
    while requests.answered() == answered && clock::now() < deadline {
        requests.during(MILLISECOND)?;
    }
    let end = clock::now();
    let usage = Usage::of(&processes)?.since(&usage);
    row.errors = requests.errors().clone();
    let latency = |quantile| requests.latency.value_at_quantile(quantile) as f64;
    Ok(Cost {
        answered: (requests.answered() - answered) as f64,
        seconds: clock::seconds(end - begin),
        usage,
        p50: latency(0.5),
        p99: latency(0.99),
    })
}
