//! The cost of many streams that are mostly quiet.

use anyhow::Result;

use crate::front::Client;
use crate::target::{Setup, Target};

use super::steady::{self, Shape};
use super::{Bench, Row, Run, Workload, columns};

/// Open files other than those of the streams. Weir keeps some for its admin listener and for idle connections.
const SPARE: u64 = 1024;

pub(super) const SCALE: Workload = Workload {
    name: "scale",
    what: "10,000 streams, one event a second each. Memory is what the processes grow by (PSS, without the kernel's \
           socket buffers).",
    columns: &[
        columns::CPU,
        columns::USER,
        columns::MEMORY,
        columns::P50,
        columns::P99,
    ],
    run: Run::Own(|bench, target, setup| crowd(bench, target, setup, 10_000)),
    setup: Setup::PLAIN,
    direct: true,
};

pub(super) const TLS: Workload = Workload {
    name: "scale-tls",
    what: "10,000 streams to clients over TLS, one event a second each. Memory is what the processes grow by.",
    columns: &[
        columns::CPU,
        columns::USER,
        columns::MEMORY,
        columns::P50,
        columns::P99,
    ],
    run: Run::Own(|bench, target, setup| crowd(bench, target, setup, 10_000)),
    setup: Setup::of(Client::Tls),
    direct: false,
};

pub(super) const MEMORY: Workload = Workload {
    name: "memory",
    what: "The same with 5,000 streams.",
    columns: &[columns::MEMORY, columns::CPU, columns::P99],
    run: Run::Own(|bench, target, setup| crowd(bench, target, setup, 5_000)),
    setup: Setup::PLAIN,
    direct: false,
};

fn crowd(bench: &Bench<'_>, target: &Target, setup: Setup, wanted: usize) -> Result<Row> {
    // Each stream takes two files: the client and the model are one process, and a proxy has two connections as well.
    let streams = wanted.min((bench.files.saturating_sub(SPARE) / 2) as usize);
    let mut row = steady::run(
        bench,
        target,
        setup,
        Shape {
            streams,
            rate: 1,
            batch: 1,
            message: 0,
        },
    )?;
    if streams < wanted {
        row.notes.push(format!(
            "only {streams} streams: the limit of open files is {}",
            bench.files
        ));
    }
    Ok(row)
}
