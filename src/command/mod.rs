//! The commands. Each returns its output and its exit code; only `main` prints.

mod ask;
pub mod check;
pub mod completions;
pub mod doctor;
pub mod drain;
mod explain;
mod fixed;
pub mod healthcheck;
pub mod inject;
mod input;
mod machine;
mod problem;
pub mod record;
mod records;
pub mod replay;
pub mod schema;
pub mod serve;
mod service_manager;
mod started;
#[cfg(feature = "top")]
pub mod top;

/// The output of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Result, for stdout.
    pub stdout: String,
    /// Problems and warnings, for stderr.
    pub stderr: String,
    /// Exit code: 0 is success, 1 is a failure, 2 is wrong usage or an invalid configuration.
    pub code: u8,
}
