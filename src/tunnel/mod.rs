//! Tunnels: WebSockets whose bytes pass between client and agent unchanged, once the agent has accepted the upgrade.
//!
//! ```text
//!            ┌────────────── Tunnel (run): one task, one timer ──────────────┐
//!            │  up:   read ──► Follower counts, finds boundaries ──► write   │
//!   client ◄─┤                                                               ├─► agent
//!            │  down: write ◄── Follower ◄── read                            │
//!            └──── close frames of Weir's own only at a boundary (close) ────┘
//! ```
//!
//! | file | what |
//! |---|---|
//! | `way` | one direction: what is passed on, and how it ends |
//! | `way/copy` | its bytes: what is read is written, at the pace of the receiver |
//! | `run` | both directions, and how they end |
//! | `run/clock` | their deadlines |
//! | `wake_flags` | who has woken the task |
//! | `close` | close frames |
//! | `report` | what is counted, and the log line |
//!
//! A quiet tunnel holds no buffer: bytes are read into a buffer of the thread, and what the receiver does not take at
//! once is kept until it does. Nothing is read meanwhile. So a tunnel holds at most 64 KiB for each direction.

mod close;
mod report;
mod run;
mod wake_flags;
mod way;

pub(crate) use report::{Account, Closer, Ended, Opened};
pub(crate) use run::{Limits, Over, Start, Tunnel};

#[cfg(test)]
mod tests;
