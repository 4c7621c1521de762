//! Weir: a streaming reverse proxy for LLM agents.
//!
//! A client's request is matched to a route and forwarded once. A response that is a stream of events gets a pump:
//! one future that owns the upstream's body, decodes it, classifies and meters each event, and pushes it into a
//! bounded queue. The response body drains that queue at the client's pace. Cancellation follows ownership: when the
//! client leaves, its end of the queue is dropped, the pump ends, and with it the upstream call.
//!
//! ```text
//! server ──► proxy ──► route ──► upstream ──► a stream? ── no ──► reply (unchanged)
//!   accepts    admits    picks     calls           │ yes
//!                                                  ▼
//!   session   starts, registers and logs the stream
//!   └─ stream::pump   one per stream: reads, deadlines, the end
//!      ├─ stream::pipeline   wire::encoding ──► wire::{sse, ndjson, ...} ──► dialect ──► filter ──► translate
//!      │                     bytes              frames                      events      hides       for other clients
//!      └─ encode ──► queue   merges, drops the oldest tokens, keeps critical events
//!                      └─ reply ──► server::stream_writer ──► client
//!
//! a WebSocket, once the agent has accepted it: server ◄─► tunnel ◄─► upstream, bytes both ways
//! beside it: config (read only), metrics, traces, outbox, admin, drain, memory
//! ```
//!
//! To read the source in order, start with [`event`], which defines the terms; then [`proxy`], [`session`],
//! `stream::pump`, [`encode`], [`queue`] and [`reply`]. Modules import only from their own and lower layers, and what
//! is pure only what is pure, which `tests/layers.rs` checks.

// layer 0: terms
pub mod end;
pub mod event;
pub mod length;

// layer 1: pure, without a clock or I/O
// pure as well: queue::{gate, join, limits, lists, ring}
// pure as well: stream::{classify, deadline, large_event, meter, pipeline, sink, stages, tools}
pub mod dialect;
pub mod encode;
pub mod filter;
pub mod inject;
pub mod journal;
pub mod recording;
pub mod request_map;
pub mod signing;
pub mod translate;
pub mod unstream;
pub mod wire;

// layer 2: parts
pub mod capacity;
pub mod config;
pub mod hub;
pub mod log;
pub mod queue;
pub mod release;
pub mod strict;

// layer 3: engines, and what they count
pub mod certificate;
pub mod metrics;
#[cfg(feature = "redis")]
pub mod store;
#[cfg(not(feature = "redis"))]
#[path = "store/off.rs"]
pub mod store;
pub mod stream;
pub mod tasks;
pub mod upstream;

// layer 4: a connection, the life of a stream
pub(crate) mod body_deadline;
pub mod bridge;
pub mod client_conn;
pub mod memory;
pub mod merge;
pub mod outbox;
pub mod probe;
pub mod reply;
pub mod session;
pub mod traces;
pub(crate) mod tunnel;

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
pub(crate) mod doctor;
#[cfg(feature = "top")]
pub mod top;
