//! The cost and the delay of an event when models produce tokens at a realistic pace.

use crate::target::Setup;

use super::{Run, Shape, Workload, columns};

pub(super) const WORKLOAD: Workload = Workload {
    name: "paced",
    what: "200 streams, 50 events a second each, spread evenly. Latency is from the write of the model to the read \
           of the client.",
    columns: &[
        columns::CPU,
        columns::USER,
        columns::P50,
        columns::P99,
        columns::P999,
    ],
    run: Run::Steady(Shape {
        streams: 200,
        rate: 50,
        batch: 1,
        message: 0,
    }),
    setup: Setup::PLAIN,
    direct: true,
};

/// So few events that a gateway in Python keeps up, which takes some twenty times as long for each.
pub(super) const GATEWAY: Workload = Workload {
    name: "gateway",
    what: "50 streams, 20 events a second each, spread evenly: as `paced`, with so few events that a gateway in Python \
           keeps up.",
    run: Run::Steady(Shape {
        streams: 50,
        rate: 20,
        batch: 1,
        message: 0,
    }),
    ..WORKLOAD
};
