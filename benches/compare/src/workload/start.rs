//! The time from the start of a process to its first response, and the memory used by then.

use anyhow::Result;

use crate::clock::MILLISECOND;
use crate::proc;
use crate::stats::median;
use crate::target::{Setup, Target};

use super::{Bench, Column, Row, Run, Workload, column};

const TIMES: usize = 3;
const MIB: f64 = 1_048_576.0;

const READY: Column = column("first answer ms", 1).ratio();
const IDLE: Column = column("memory MiB", 1).ratio();
const SIZE: Column = column("program MiB", 1);

pub(super) const WORKLOAD: Workload = Workload {
    name: "start",
    what: "From the start of the process to the end of its first answered request, the memory of its processes then \
           (PSS), and the size of the program file without its libraries.",
    columns: &[READY, IDLE, SIZE],
    run: Run::Own(run),
    setup: Setup::PLAIN,
    direct: false,
};

fn run(bench: &Bench<'_>, target: &Target, _: Setup) -> Result<Row> {
    let (mut ready, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let running = target.start(bench.model.address)?;
        ready.push(running.started_in as f64 / MILLISECOND as f64);
        idle.push(proc::memory(&running.processes()?)? as f64 / MIB);
    }
    let mut row = Row::default();
    if let (Some(ready), Some(idle)) = (median(&ready), median(&idle)) {
        row.set(READY, ready);
        row.set(IDLE, idle);
    }
    if let Some(program) = &target.program {
        row.set(SIZE, program.metadata()?.len() as f64 / MIB);
    }
    Ok(row)
}
