//! A live stream's logic: how bytes become events, when and why a stream ends, and the pump that runs it.
//!
//! `pipeline`, `classify`, `meter`, `tools`, `deadline` and `end` are pure: no clock, no I/O. `pump` is the future that
//! joins an ingress (the upstream's side) to an egress (the client's side).

mod classify;
pub mod deadline;
pub mod end;
pub mod meter;
pub mod pipeline;
pub mod pump;
pub mod stop;
pub mod tools;
