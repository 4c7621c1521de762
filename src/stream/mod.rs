//! The logic of a live stream: how bytes become events, when and why the stream ends, and the pump that runs it.
//!
//! `pipeline`, `classify`, `large_event`, `stages`, `sink`, `meter`, `tools` and `deadline` are pure: they read no
//! clock and do no I/O. `pump` is the future that connects an ingress (the upstream's side) to an egress (the client's
//! side).

mod classify;
pub mod deadline;
pub mod large_event;
pub mod meter;
pub mod pipeline;
pub mod pump;
pub mod sink;
mod stages;
pub mod stop;
pub mod tools;
