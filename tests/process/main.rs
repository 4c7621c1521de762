//! Tests of the real process, with raw sockets on both sides.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "test code: a broken step must stop the test"
)]

mod admin;
mod bridge;
mod bridge_client;
mod bridge_ends;
mod bridge_http2;
mod check;
mod detached;
mod doctor;
mod early_answers;
mod extremes;
mod hidden_thoughts;
mod limits;
mod logs;
mod logs_short;
mod logs_start;
mod loops;
mod merge;
mod metrics;
#[cfg(debug_assertions)]
mod panics;
mod probe;
mod recordings;
mod recordings_file;
mod recordings_tap;
mod records;
mod rejections;
mod replies;
mod service_manager;
mod slow_readers;
mod stream_ends;
mod streams;
mod subscriptions;
mod support;
mod upstream_websocket;
mod upstream_websocket_agent;
mod websocket;
mod websocket_cases;
mod websocket_ends;
mod websocket_http2;
mod websocket_peer;
