//! The commands that end by themselves: each gives its text and its exit code, and prints nothing.

pub mod check;
pub mod schema;

/// What a command has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The result, for stdout.
    pub stdout: String,
    /// Problems and warnings, for stderr.
    pub stderr: String,
    /// 0 is done, 2 is wrong usage or configuration.
    pub code: u8,
}
