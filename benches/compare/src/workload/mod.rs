//! The workloads. Each is a file here, which defines what the streams do and which numbers result.

mod cancel;
mod churn;
mod clients;
mod crowd;
mod paced;
mod requests;
mod saturation;
mod stalled;
mod start;
mod steady;
mod websocket;

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::clock;
use crate::load::Errors;
use crate::model::Model;
use crate::target::{Setup, Target};

pub use steady::{Shape, Steady, Window};

/// A measured number and how it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub digits: usize,
    /// Whether the table shows its ratio to nginx.
    pub ratio: bool,
    /// Whether the table shows what a target adds to the value without a proxy.
    pub added: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub name: &'static str,
    /// One sentence to introduce the table.
    pub what: &'static str,
    pub columns: &'static [Column],
    run: Run,
    /// What it needs of a target.
    setup: Setup,
    /// Whether it also measures connections without a proxy.
    direct: bool,
}

#[derive(Clone, Copy, Debug)]
enum Run {
    /// Identical streams, measured for a window.
    Steady(Shape),
    /// A function of the workload's own.
    Own(fn(&Bench<'_>, &Target, Setup) -> Result<Row>),
}

/// The result of one run of a workload with a target.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// By column name. Infinity means never.
    pub values: BTreeMap<&'static str, f64>,
    /// Deviations from what was asked. A row with any is not a valid figure.
    pub errors: Errors,
    /// Other notes for the reader.
    pub notes: Vec<String>,
}

/// The environment of every workload.
#[derive(Debug)]
pub struct Bench<'a> {
    pub model: &'a Model,
    /// The length of a window, in nanoseconds.
    pub window: u64,
    /// The limit of open files per process.
    pub files: u64,
}

const ALL: &[Workload] = &[
    paced::WORKLOAD,
    paced::GATEWAY,
    saturation::ONE,
    saturation::SIXTEEN,
    churn::WORKLOAD,
    crowd::SCALE,
    crowd::MEMORY,
    cancel::WORKLOAD,
    stalled::WORKLOAD,
    start::WORKLOAD,
    websocket::SMALL,
    websocket::LARGE,
    clients::TLS,
    clients::H2,
    clients::H2_TLS,
    clients::GZIP,
    requests::PLAIN,
    requests::UPLOAD,
    crowd::TLS,
];

/// The warm-up. Streams reach their steady state well within this time.
const WARM_UP: u64 = clock::SECOND;

impl Workload {
    pub fn wants(&self, target: &Target) -> bool {
        (self.direct || target.is_proxy()) && target.is_for(self.name)
    }

    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// Returns the shape of a workload that consists of steady streams only.
    pub fn shape(&self) -> Option<Shape> {
        match self.run {
            Run::Steady(shape) => Some(shape),
            Run::Own(_) => None,
        }
    }

    pub fn run(&self, bench: &Bench<'_>, target: &Target) -> Result<Row> {
        if let Some(why) = target.cannot(self.setup) {
            return Ok(Row {
                notes: vec![format!("not measured: {why}")],
                ..Row::default()
            });
        }
        bench.model.settle()?;
        match self.run {
            Run::Steady(shape) => steady::run(bench, target, self.setup, shape),
            Run::Own(run) => run(bench, target, self.setup),
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

/// Returns the workloads with these names, or all.
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

/// Columns that several workloads share.
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
