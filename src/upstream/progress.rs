//! What a step of an exchange comes to: no response head, or one read of a body.

use std::io;

use http::HeaderMap;

use super::error::Malformed;

/// Why there is no response head.
#[derive(Debug)]
pub(super) enum Failure {
    /// The upstream sent something other than a valid response head.
    Malformed(Malformed),
    /// The request body was cut off; its verdict says why.
    RequestBody,
    /// The connection or stream ended.
    Reset(io::Error),
}

/// The result of one read of a response body.
#[derive(Debug)]
pub enum Read {
    /// Bytes, which were passed to the sink.
    Data {
        /// Whether nothing more is available. If so, the task is woken when there is more and need not read before.
        drained: bool,
    },
    /// The body is complete. Holds the trailers if there were any.
    Eof(Option<Box<HeaderMap>>),
}
