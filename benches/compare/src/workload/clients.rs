//! The cost of an event at the pace of models if clients use TLS or HTTP/2, or if the model compresses.
//!
//! Without a proxy, the same streams run over plain HTTP/1.1: what a target adds contains what TLS and HTTP/2 take.

use crate::front::Client;
use crate::load::EACH;
use crate::target::Setup;

use super::{Column, Run, Shape, Workload, columns};

const COLUMNS: &[Column] = &[
    columns::CPU,
    columns::USER,
    columns::P50,
    columns::P99,
    columns::P999,
];
/// The shape of `paced`.
const ALONE: Shape = Shape {
    streams: 200,
    rate: 50,
    batch: 1,
    message: 0,
};
/// As many events a second as `ALONE`, on four connections, so that each worker has some.
const SHARED: Shape = Shape {
    streams: 4 * EACH,
    rate: 25,
    ..ALONE
};

pub(super) const TLS: Workload = Workload {
    name: "tls",
    what: "200 streams, 50 events a second each, to clients that use HTTP/1.1 over TLS 1.3, which stay connected.",
    columns: COLUMNS,
    run: Run::Steady(ALONE),
    setup: Setup::of(Client::Tls),
    direct: true,
};

pub(super) const H2: Workload = Workload {
    name: "h2-clients",
    what: "400 streams, 25 events a second each, 100 on a connection: HTTP/2 in plain text, by prior knowledge.",
    columns: COLUMNS,
    run: Run::Steady(SHARED),
    setup: Setup::of(Client::H2),
    direct: true,
};

pub(super) const H2_TLS: Workload = Workload {
    name: "h2-tls",
    what: "The same over TLS, with HTTP/2 agreed by ALPN.",
    columns: COLUMNS,
    run: Run::Steady(SHARED),
    setup: Setup::of(Client::H2Tls),
    direct: true,
};

pub(super) const GZIP: Workload = Workload {
    name: "gzip-upstream",
    what: "As `paced`, of a model that compresses and flushes each event. Clients get it decompressed.",
    columns: COLUMNS,
    run: Run::Steady(ALONE),
    setup: Setup {
        gzip: true,
        ..Setup::PLAIN
    },
    direct: true,
};
