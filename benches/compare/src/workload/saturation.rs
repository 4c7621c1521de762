//! What an event costs when there is always a next one.

use super::steady::{self, Shape};
use super::{Column, Workload, columns};

const STREAMS: usize = 64;
const COLUMNS: &[Column] = &[columns::CPU, columns::USER, columns::RATE];

pub(super) const ONE: Workload = Workload {
    name: "saturation",
    what: "64 streams without a pace, each event a write of its own. Model and load share the cores with the proxy.",
    columns: COLUMNS,
    run: |bench, target| {
        steady::run(
            bench,
            target,
            Shape {
                streams: STREAMS,
                rate: 0,
                batch: 1,
            },
        )
    },
    direct: true,
};

pub(super) const SIXTEEN: Workload = Workload {
    name: "saturation16",
    what: "The same with sixteen events in a write, each still an HTTP chunk of its own.",
    columns: COLUMNS,
    run: |bench, target| {
        steady::run(
            bench,
            target,
            Shape {
                streams: STREAMS,
                rate: 0,
                batch: 16,
            },
        )
    },
    direct: true,
};
