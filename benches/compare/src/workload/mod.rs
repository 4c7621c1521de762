//! What is measured. A workload is one file here: what the streams do, and which numbers come of it.

mod cancel;
mod churn;
mod crowd;
mod paced;
mod saturation;
mod stalled;
mod start;
mod steady;

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::clock;
use crate::load::Errors;
use crate::model::Model;
use crate::target::Target;

pub use steady::{Shape, Steady, Window};

/// What a number is, and how it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub digits: usize,
    /// Whether its ratio to nginx is told.
    pub ratio: bool,
    /// Whether what it is above the direct way is told.
    pub added: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub name: &'static str,
    /// One sentence for the head of its table.
    pub what: &'static str,
    pub columns: &'static [Column],
    run: Run,
    /// Whether it tells anything about the way without a proxy.
    direct: bool,
}

#[derive(Clone, Copy, Debug)]
enum Run {
    /// Streams that all do the same, for a window.
    Steady(Shape),
    /// Something of its own.
    Own(fn(&Bench<'_>, &Target) -> Result<Row>),
}

/// What came of a workload with a target, once.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// By the name of the column. Infinite is never.
    pub values: BTreeMap<&'static str, f64>,
    /// What was not as asked. A row with one is no good figure.
    pub errors: Errors,
    /// What else a reader must know.
    pub notes: Vec<String>,
}

/// What every workload gets.
#[derive(Debug)]
pub struct Bench<'a> {
    pub model: &'a Model,
    /// How long a window is, in nanoseconds.
    pub window: u64,
    /// Files that a process may open.
    pub files: u64,
}

const ALL: &[Workload] = &[
    paced::WORKLOAD,
    saturation::ONE,
    saturation::SIXTEEN,
    churn::WORKLOAD,
    crowd::SCALE,
    crowd::MEMORY,
    cancel::WORKLOAD,
    stalled::WORKLOAD,
    start::WORKLOAD,
];

/// Streams that are long settled before this has passed.
const WARM_UP: u64 = clock::SECOND;

impl Workload {
    pub fn wants(&self, target: &Target) -> bool {
        self.direct || target.is_proxy()
    }

    /// What its streams do, if that is all there is to it.
    pub fn shape(&self) -> Option<Shape> {
        match self.run {
            Run::Steady(shape) => Some(shape),
            Run::Own(_) => None,
        }
    }

    pub fn run(&self, bench: &Bench<'_>, target: &Target) -> Result<Row> {
        bench.model.settle()?;
        match self.run {
            Run::Steady(shape) => steady::run(bench, target, shape),
            Run::Own(run) => run(bench, target),
        }
    }
}

impl Row {
    fn set(&mut self, column: Column, value: f64) {
        self.values.insert(column.name, value);
    }
}

const fn column(name: &'static str, digits: usize) -> Column {
    Column {
        name,
        digits,
        ratio: false,
        added: false,
    }
}

impl Column {
    const fn ratio(mut self) -> Self {
        self.ratio = true;
        self
    }

    const fn added(mut self) -> Self {
        self.added = true;
        self
    }
}

/// The workloads of these names, or all.
pub fn find(names: &[String]) -> Result<Vec<Workload>> {
    if let Some(unknown) = names
        .iter()
        .find(|name| ALL.iter().all(|workload| workload.name != **name))
    {
        let known: Vec<_> = ALL.iter().map(|workload| workload.name).collect();
        bail!("no workload `{unknown}`; there are {}", known.join(", "));
    }
    let wanted =
        |workload: &&Workload| names.is_empty() || names.iter().any(|name| name == workload.name);
    Ok(ALL.iter().filter(wanted).copied().collect())
}

/// The columns that several workloads have.
mod columns {
    use super::{Column, column};

    pub(super) const CPU: Column = column("CPU us/event", 2).ratio();
    pub(super) const USER: Column = column("of it user", 2);
    pub(super) const RATE: Column = column("events/s", 0).ratio();
    pub(super) const P50: Column = column("p50 us", 0).added();
    pub(super) const P99: Column = column("p99 us", 0).added();
    pub(super) const P999: Column = column("p99.9 us", 0);
    pub(super) const MEMORY: Column = column("KiB/stream", 1).ratio();
}
