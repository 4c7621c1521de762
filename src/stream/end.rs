//! Why a stream stopped: exactly one of these, the same word for the client, the log and the metric.

use std::fmt;

/// The one reason a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The client closed its connection or its HTTP/2 stream.
    ClientGone,
    /// Something waited for the client for longer than `client_stall`.
    ClientStalled,
    /// The process is going away and the stream outlived `drain.limit`.
    Drained,
    /// The upstream ended as its dialect demands.
    Finished,
    /// No event with content within `first_event`.
    FirstEventTimeout,
    /// Silence of the upstream for longer than `idle`.
    IdleTimeout,
    /// Bytes, but no event with content for longer than `progress`.
    ProgressTimeout,
    /// Stopped on request.
    Stopped,
    /// One event exceeded `max_event_bytes`, or compressed data expanded beyond reason.
    TooLarge,
    /// The stream as a whole lasted longer than `total`.
    TotalTimeout,
    /// The upstream's body ended before its dialect's terminal.
    Truncated,
    /// The upstream said so itself, or its answer could not be read.
    UpstreamError,
    /// The upstream's connection was reset or broke the protocol in mid-body.
    UpstreamReset,
}

impl End {
    /// Every end, in the order of [`End::index`].
    pub const ALL: [Self; 13] = [
        Self::ClientGone,
        Self::ClientStalled,
        Self::Drained,
        Self::Finished,
        Self::FirstEventTimeout,
        Self::IdleTimeout,
        Self::ProgressTimeout,
        Self::Stopped,
        Self::TooLarge,
        Self::TotalTimeout,
        Self::Truncated,
        Self::UpstreamError,
        Self::UpstreamReset,
    ];

    /// Whether somebody should look into it.
    pub const fn is_trouble(self) -> bool {
        !matches!(
            self,
            Self::ClientGone | Self::Drained | Self::Finished | Self::Stopped
        )
    }

    /// The word for it, everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::ClientStalled => "client_stalled",
            Self::Drained => "drained",
            Self::Finished => "finished",
            Self::FirstEventTimeout => "first_event_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::ProgressTimeout => "progress_timeout",
            Self::Stopped => "stopped",
            Self::TooLarge => "too_large",
            Self::TotalTimeout => "total_timeout",
            Self::Truncated => "truncated",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamReset => "upstream_reset",
        }
    }

    /// Position in [`End::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// One sentence for the client. Says nothing of the upstream's address or words.
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
