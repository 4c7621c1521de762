//! Which requests get a line in the log (`log.access`).
//!
//! Each request has one line, at its end: [`wants`] is asked before the line is built. The lines are written where a
//! request ends: `session::request_line` (plain responses and refusals), `session::accounting` (streams),
//! `tunnel::report` (WebSockets).

use std::sync::atomic::{AtomicU8, Ordering};

use crate::config::LogAccess;
use crate::end::End;

/// The target of the lines of requests. The text format shows them in a form of their own.
pub const TARGET: &str = "weir::access";

const ALL: u8 = 0;
const STREAMS: u8 = 1;
const ERRORS: u8 = 2;

/// The value of `log.access`. Set before the first request; a change of the key needs a restart.
static ACCESS: AtomicU8 = AtomicU8::new(ALL);

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A request that did not end well: its status is an error, it got no answer, or its stream broke off.
    Failure,
    /// A request whose answer is no stream.
    Plain,
    /// A stream, a WebSocket, or a client that came back to a stream.
    Stream,
}

impl Line {
    /// Returns what the line of a stream that has ended is about. A client that leaves has its reasons, and so has one
    /// that stops a stream.
    pub const fn of(end: End) -> Self {
        match end {
            End::ClientGone | End::Finished | End::Stopped => Self::Stream,
            _ => Self::Failure,
        }
    }
}

pub(super) fn set(access: LogAccess) {
    let value = match access {
        LogAccess::All => ALL,
        LogAccess::Errors => ERRORS,
        LogAccess::Streams => STREAMS,
    };
    ACCESS.store(value, Ordering::Relaxed);
}

/// Reports whether the configuration wants this line.
pub fn wants(line: Line) -> bool {
    is_wanted(ACCESS.load(Ordering::Relaxed), line)
}

const fn is_wanted(access: u8, line: Line) -> bool {
    match line {
        Line::Failure => true,
        Line::Plain => access == ALL,
        Line::Stream => access != ERRORS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_lines() {
        let lines = [Line::Plain, Line::Stream, Line::Failure];
        let wanted = |access| lines.map(|line| is_wanted(access, line));
        assert_eq!(wanted(ALL), [true, true, true]);
        assert_eq!(wanted(STREAMS), [false, true, true]);
        assert_eq!(wanted(ERRORS), [false, false, true]);
    }

    #[test]
    fn a_stream_that_broke_off_is_a_failure() {
        assert_eq!(Line::of(End::Finished), Line::Stream);
        assert_eq!(Line::of(End::ClientGone), Line::Stream);
        assert_eq!(Line::of(End::Drained), Line::Failure);
        assert_eq!(Line::of(End::Truncated), Line::Failure);
    }
}
