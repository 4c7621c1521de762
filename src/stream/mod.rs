//! One live stream: what it reads from, how it is cut into events, when and why it ends.

mod classify;
pub mod deadline;
pub mod end;
pub mod meter;
pub mod pipeline;
pub mod pump;
pub mod registry;
pub mod tools;
