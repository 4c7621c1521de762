//! The cost of a message in a WebSocket, from the model to the client. An event of the columns is a message here.

use crate::target::Setup;

use super::{Column, Run, Shape, Workload, columns};

const COLUMNS: &[Column] = &[
    columns::CPU,
    columns::USER,
    columns::P50,
    columns::P99,
    columns::P999,
];

pub(super) const SMALL: Workload = Workload {
    name: "websocket",
    what: "200 WebSockets, 50 messages of 200 bytes a second each, spread evenly. An event is a message.",
    columns: COLUMNS,
    run: Run::Steady(Shape {
        streams: 200,
        rate: 50,
        batch: 1,
        message: 200,
    }),
    setup: Setup::PLAIN,
    direct: true,
};

pub(super) const LARGE: Workload = Workload {
    name: "websocket64k",
    what: "32 WebSockets, 20 messages of 64 KiB a second each, spread evenly. An event is a message.",
    columns: COLUMNS,
    run: Run::Steady(Shape {
        streams: 32,
        rate: 20,
        batch: 1,
        message: 64 << 10,
    }),
    setup: Setup::PLAIN,
    direct: true,
};
