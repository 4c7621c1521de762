//! The cost of an event at saturation, when the next event is always ready.

use crate::target::Setup;

use super::{Column, Run, Shape, Workload, columns};

const ALONE: Shape = Shape {
    streams: 64,
    rate: 0,
    batch: 1,
    message: 0,
};
const COLUMNS: &[Column] = &[columns::CPU, columns::USER, columns::RATE];

pub(super) const ONE: Workload = Workload {
    name: "saturation",
    what: "64 streams without a pace, each event a write of its own. Model and load share the cores with the proxy.",
    columns: COLUMNS,
    run: Run::Steady(ALONE),
    setup: Setup::PLAIN,
    direct: true,
};

pub(super) const SIXTEEN: Workload = Workload {
    name: "saturation16",
    what: "The same with sixteen events in a write, each still an HTTP chunk of its own.",
    columns: COLUMNS,
    run: Run::Steady(Shape { batch: 16, ..ALONE }),
    setup: Setup::PLAIN,
    direct: true,
};
