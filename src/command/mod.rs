//! The commands: each gives its text and its exit code; only `main` prints.

pub mod check;
pub mod healthcheck;
pub mod schema;
pub mod serve;

/// What a command has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The result, for stdout.
    pub stdout: String,
    /// Problems and warnings, for stderr.
    pub stderr: String,
    /// 0 is done, 1 is a failure, 2 is wrong usage or configuration.
    pub code: u8,
}
