//! Weir: a streaming reverse proxy for LLM agents.
//!
//! A client's request finds its route and is forwarded once. An answer that is a stream of events gets a pump:
//! one future that owns the upstream's body, decodes it, classifies and meters each event, and pushes it into a
//! bounded queue. The response body drains that queue at the client's pace. Ownership is the signal: when the
//! client leaves, its end of the queue is dropped, the pump ends, and with it the upstream connection.
//!
//! ```text
//! server ──► proxy ──► route ──► upstream ──► a stream? ── no ──► reply (as it came)
//!   accepts    admits    picks     calls           │ yes
//!                                                  ▼
//!   stream::pump   one per stream: reads, deadlines, the end
//!     └─ stream::pipeline   wire::encoding ──► wire::{sse, ndjson, ...} ──► dialect ──► filter
//!                           bytes              frames                      events      what may be seen
//!          └─ queue   merges, drops the oldest tokens, waits for the critical
//!               └─ reply   what is ready ──► server::flow   in one write ──► client
//!
//! beside it: config (read only), metrics, traces, admin, drain
//! ```
//!
//! To read it in order: [`event`] is the vocabulary; then [`proxy`], `stream::pump`, [`queue`], [`reply`].
//! Modules import from lower layers only; `tests/layers.rs` holds them to it.

// layer 0: words
pub mod event;

// layer 1: pure, without a clock or I/O; so are queue::ring and most of stream
pub mod dialect;
pub mod encode;
pub mod filter;
pub mod wire;

// layer 2: parts
pub mod config;
pub mod metrics;
pub mod queue;
pub mod strict;

// layer 3: engines
pub mod certificate;
pub mod stream;
pub mod tasks;
pub mod upstream;

// layer 4: a connection, a stream's life
pub(crate) mod body_deadline;
pub mod client_conn;
pub mod memory;
pub mod reply;
pub mod session;
pub mod traces;

// layer 5: the process
pub mod app;
pub mod drain;
pub mod route;

// layer 6: edges
pub mod admin;
pub mod proxy;
pub mod server;

// layer 7: program
pub mod cli;
pub mod command;
pub mod demo;
pub mod log;
