//! The reasons why a stream ends. Each stream has exactly one, with the same name for the client, the log and the
//! metrics.

use std::fmt;

use http::StatusCode;

/// The reason why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The client closed its connection or its HTTP/2 stream.
    ClientGone,
    /// The client took nothing for longer than `client_stall`, although data waited for it.
    ClientStalled,
    /// The process shuts down, and the stream lasted longer than `drain.limit` (graceful shutdown).
    Drained,
    /// The upstream ended the stream as its dialect requires.
    Finished,
    /// No event with content came within `first_event`.
    FirstEventTimeout,
    /// The upstream was silent for longer than `idle`.
    IdleTimeout,
    /// A defect in Weir ended the stream.
    Panic,
    /// The upstream sent bytes, but no event with content for longer than `progress`.
    ProgressTimeout,
    /// The stream was stopped on request.
    Stopped,
    /// One event exceeded `max_event_bytes`, or compressed data expanded too much.
    TooLarge,
    /// The stream as a whole lasted longer than `total`.
    TotalTimeout,
    /// The upstream's body ended before the terminal event of its dialect.
    Truncated,
    /// The upstream reported an error, or its response could not be read.
    UpstreamError,
    /// The connection to the upstream was reset, or violated the protocol, in the middle of the body.
    UpstreamReset,
}

impl End {
    /// All reasons, in the order of [`End::index`].
    pub const ALL: [Self; 14] = [
        Self::ClientGone,
        Self::ClientStalled,
        Self::Drained,
        Self::Finished,
        Self::FirstEventTimeout,
        Self::IdleTimeout,
        Self::Panic,
        Self::ProgressTimeout,
        Self::Stopped,
        Self::TooLarge,
        Self::TotalTimeout,
        Self::Truncated,
        Self::UpstreamError,
        Self::UpstreamReset,
    ];

    /// Reports whether the end points to a problem.
    pub const fn is_trouble(self) -> bool {
        !matches!(
            self,
            Self::ClientGone | Self::Drained | Self::Finished | Self::Stopped
        )
    }

    /// Returns the name, which is the same everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::ClientStalled => "client_stalled",
            Self::Drained => "drained",
            Self::Finished => "finished",
            Self::FirstEventTimeout => "first_event_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::Panic => "panic",
            Self::ProgressTimeout => "progress_timeout",
            Self::Stopped => "stopped",
            Self::TooLarge => "too_large",
            Self::TotalTimeout => "total_timeout",
            Self::Truncated => "truncated",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamReset => "upstream_reset",
        }
    }

    /// Returns the status of a response that says how the stream has failed; `None` if it has not.
    pub const fn status(self) -> Option<StatusCode> {
        match self {
            Self::Finished | Self::Stopped => None,
            Self::Drained => Some(StatusCode::SERVICE_UNAVAILABLE),
            Self::FirstEventTimeout
            | Self::IdleTimeout
            | Self::ProgressTimeout
            | Self::TotalTimeout => Some(StatusCode::GATEWAY_TIMEOUT),
            Self::Panic => Some(StatusCode::INTERNAL_SERVER_ERROR),
            Self::ClientGone
            | Self::ClientStalled
            | Self::TooLarge
            | Self::Truncated
            | Self::UpstreamError
            | Self::UpstreamReset => Some(StatusCode::BAD_GATEWAY),
        }
    }

    /// Returns the position in [`End::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the message for the client, one sentence. It reveals neither the upstream's address nor its own message.
    pub const fn message(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone: the client left",
            Self::ClientStalled => {
                "client_stalled: the client did not read for longer than deadlines.client_stall"
            }
            Self::Drained => "drained: the proxy is shutting down, ask again",
            Self::Finished => "finished",
            Self::FirstEventTimeout => {
                "first_event_timeout: the upstream sent no content within deadlines.first_event"
            }
            Self::IdleTimeout => {
                "idle_timeout: the upstream was silent for longer than deadlines.idle"
            }
            Self::Panic => "panic: the proxy has failed, ask again",
            Self::ProgressTimeout => {
                "progress_timeout: the upstream sent no content for longer than deadlines.progress"
            }
            Self::Stopped => "stopped: the stream was stopped on request",
            Self::TooLarge => "too_large: one event exceeded max_event_bytes",
            Self::TotalTimeout => "total_timeout: the stream lasted longer than deadlines.total",
            Self::Truncated => "truncated: the upstream ended the stream before it was complete",
            Self::UpstreamError => "upstream_error: the upstream's answer could not be read",
            Self::UpstreamReset => "upstream_reset: the connection to the upstream broke",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_stands_at_its_index() {
        for (index, end) in End::ALL.into_iter().enumerate() {
            assert_eq!(end.index(), index);
            assert!(end.message().starts_with(end.as_str()));
        }
    }
}
