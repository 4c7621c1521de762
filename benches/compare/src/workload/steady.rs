//! Streams that all run at the same time, and a window in which they are measured.

use anyhow::Result;

use crate::ask::Ask;
use crate::clock::{self, SECOND};
use crate::load::{Errors, Load, Reader};
use crate::model::Model;
use crate::proc::{self, Usage};
use crate::target::{Running, Setup, Target};

use super::{Bench, Row, WARM_UP, columns};

/// The number of streams, and what each does.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub streams: usize,
    /// Events per second and stream; 0 means as fast as possible.
    pub rate: u32,
    /// Events per write.
    pub batch: u32,
    /// The size of the messages if the streams are WebSockets, otherwise 0.
    pub message: u32,
}

/// Running streams.
#[derive(Debug)]
pub struct Steady {
    pub load: Load,
    sent_before: u64,
}

/// The measurements of a window.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub events: u64,
    pub nanoseconds: u64,
    pub usage: Usage,
}

impl Steady {
    /// Opens the streams, and returns when all of them run and the warm-up is over.
    pub fn begin(model: &Model, running: &Running, shape: Shape) -> Result<Self> {
        let Shape {
            streams,
            rate,
            batch,
            message,
        } = shape;
        let sent_before = model.sent();
        let mut load = Load::at(running.front)?;
        for index in 0..streams as u64 {
            let period = SECOND * u64::from(batch) / u64::from(rate.max(1));
            let phase = period * index / streams as u64;
            load.open(
                Ask {
                    id: index,
                    rate,
                    batch,
                    phase,
                    message,
                    gzip: running.gzip,
                    ..Ask::default()
                },
                Reader::Eager,
            );
        }
        let deadline = clock::now() + 60 * SECOND;
        let all = |load: &Load| load.running() as u64 + load.ended() >= streams as u64;
        if !load.until(deadline, all)? {
            let missing = streams - load.running();
            load.error("stream that does not begin", missing as u64);
        }
        load.during(WARM_UP)?;
        Ok(Self { load, sent_before })
    }

    pub fn watch(&mut self, running: &Running, nanoseconds: u64) -> Result<Window> {
        let processes = running.processes()?;
        self.load.latency.reset();
        self.load.recording = true;
        let (received, usage, begin) = (self.load.received(), Usage::of(&processes)?, clock::now());
        self.load.during(nanoseconds)?;
        let end = clock::now();
        let usage = Usage::of(&processes)?.since(&usage);
        self.load.recording = false;
        Ok(Window {
            events: self.load.received() - received,
            nanoseconds: end - begin,
            usage,
        })
    }

    /// Ends the streams, and checks that each is complete.
    pub fn end(mut self, model: &Model) -> Result<Errors> {
        self.close(model)?;
        let sent = model.sent() - self.sent_before;
        let received = self.load.received();
        self.load.error(
            "event that was sent and does not arrive",
            sent.saturating_sub(received),
        );
        self.load.error(
            "event that arrives and was not sent",
            received.saturating_sub(sent),
        );
        Ok(self.load.errors().clone())
    }

    /// Ends the streams without checking their total, for when the model serves other streams, too.
    pub fn close(&mut self, model: &Model) -> Result<()> {
        let early = self.load.ended();
        self.load.error("stream that ends early", early);
        model.finish();
        if !self
            .load
            .until(clock::now() + 20 * SECOND, |load| load.asked() == 0)?
        {
            let left = self.load.asked() as u64;
            self.load.error("stream that does not end", left);
        }
        Ok(())
    }
}

/// Runs a workload that consists of steady streams only.
pub(super) fn run(bench: &Bench<'_>, target: &Target, setup: Setup, shape: Shape) -> Result<Row> {
    let running = target.start_as(bench.model.address, setup)?;
    let processes = running.processes()?;
    let idle = proc::memory(&processes)?;
    let mut steady = Steady::begin(bench.model, &running, shape)?;
    let window = steady.watch(&running, bench.window)?;
    let mut row = Row::default();
    if target.is_proxy() {
        let grown = proc::memory(&processes)?.saturating_sub(idle);
        row.set(
            columns::MEMORY,
            grown as f64 / 1024.0 / shape.streams as f64,
        );
        row.set(
            columns::CPU,
            window.usage.cpu as f64 / 1000.0 / window.events as f64,
        );
        row.set(
            columns::USER,
            window.usage.user_part() / 1000.0 / window.events as f64,
        );
    }
    row.set(
        columns::RATE,
        window.events as f64 / clock::seconds(window.nanoseconds),
    );
    for (column, quantile) in [
        (columns::P50, 0.5),
        (columns::P99, 0.99),
        (columns::P999, 0.999),
    ] {
        row.set(
            column,
            steady.load.latency.value_at_quantile(quantile) as f64 / 1000.0,
        );
    }
    row.errors = steady.end(bench.model)?;
    Ok(row)
}
