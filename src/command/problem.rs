//! The failure of a command, with its exit code.

use std::io;

/// What went wrong, and the exit code: 1 for a failure, 2 for invalid usage.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) code: u8,
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        failed(error)
    }
}

/// Returns a problem of what was given on the command line.
pub(super) fn usage(message: impl ToString) -> Problem {
    Problem {
        message: message.to_string(),
        code: 2,
    }
}

/// Returns a problem of a command whose arguments are valid.
pub(super) fn failed(message: impl ToString) -> Problem {
    Problem {
        message: message.to_string(),
        code: 1,
    }
}
