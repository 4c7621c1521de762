//! Errors of calls to upstreams: why there was no response head, or how a body broke.

use std::time::Duration;

use thiserror::Error;

use crate::wire::chunked;

/// Which part of a response violates HTTP.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("malformed: {0}")]
pub struct Malformed(pub(super) &'static str);

impl From<chunked::Malformed> for Malformed {
    fn from(malformed: chunked::Malformed) -> Self {
        Self(malformed.0)
    }
}

/// How a response body broke.
#[derive(Debug, Error)]
pub enum Broken {
    /// The framing of the body is malformed.
    #[error(transparent)]
    Malformed(Malformed),
    /// The connection broke.
    #[error("the connection broke")]
    Reset(#[source] std::io::Error),
    /// The agent closed its WebSocket with this code, which is not the one of a good end.
    #[error("the agent closed its WebSocket with code {0}")]
    Closed(u16),
    /// One message exceeds the size limit of an event.
    #[error("one message exceeds max_event_bytes")]
    TooLarge,
    /// The connection ended before the body did.
    #[error("the connection ended inside the body")]
    Truncated,
}

/// A call that failed before the response head. `Display` shows no address, because clients may see it.
#[derive(Debug, Error)]
pub enum Error {
    /// No endpoint accepted a connection.
    #[error("upstream \"{upstream}\" did not accept a connection")]
    Connect {
        /// Key under `upstreams`.
        upstream: String,
        /// The error of the last attempt, for the log.
        #[source]
        source: std::io::Error,
    },
    /// Connecting took too long.
    #[error(
        "upstream \"{upstream}\" did not accept a connection within deadlines.connect ({limit:?})"
    )]
    ConnectTimeout {
        /// Key under `upstreams`.
        upstream: String,
        /// The limit.
        limit: Duration,
    },
    /// The name of an endpoint did not resolve.
    #[error("the host name of upstream \"{upstream}\" did not resolve")]
    Dns {
        /// Key under `upstreams`.
        upstream: String,
        /// The resolver's error, for the log.
        #[source]
        source: std::io::Error,
    },
    /// The beginning of a body, which tells whether it is a stream, did not arrive in time.
    #[error("upstream \"{upstream}\" sent no event within deadlines.first_event ({limit:?})")]
    FirstEventTimeout {
        /// Key under `upstreams`.
        upstream: String,
        /// The limit.
        limit: Duration,
    },
    /// There are too many connections to agents, or too many open files, to open another one. Weir is short of file
    /// descriptors; no upstream is to blame.
    #[error(
        "overloaded: no file descriptor is left for a connection to upstream \"{upstream}\" (limit of open files), ask again"
    )]
    NoSocket {
        /// Key under `upstreams`.
        upstream: String,
        /// The error of the system; `None` if it was not asked.
        #[source]
        source: Option<std::io::Error>,
    },
    /// No response head arrived in time.
    #[error("upstream \"{upstream}\" sent no response head within deadlines.head ({limit:?})")]
    HeadTimeout {
        /// Key under `upstreams`.
        upstream: String,
        /// The limit.
        limit: Duration,
    },
    /// What the upstream sent is not a valid HTTP response.
    #[error("upstream \"{upstream}\" sent a malformed response")]
    Protocol {
        /// Key under `upstreams`.
        upstream: String,
        /// Which part of it is malformed, for the log.
        #[source]
        source: Malformed,
    },
    /// The client's request body ended early. There is no client left to respond to.
    #[error("the request body ended early")]
    RequestAborted,
    /// The client's request body made no progress.
    #[error("the request body made no progress within limits.request_body")]
    RequestTimeout,
    /// The client's request body exceeds its limit.
    #[error("the request body exceeds max_request_bytes")]
    RequestTooLarge,
    /// The client's request body cannot be a message to a WebSocket agent.
    #[error("{0}")]
    RequestUnreadable(&'static str),
    /// The connection closed before a response head.
    #[error("upstream \"{upstream}\" closed the connection before a response head")]
    Reset {
        /// Key under `upstreams`.
        upstream: String,
        /// The socket's error, for the log.
        #[source]
        source: std::io::Error,
    },
    /// The response did not begin within the time allowed for all of it.
    #[error("no answer began within deadlines.total ({limit:?})")]
    TotalTimeout {
        /// The limit.
        limit: Duration,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake with upstream \"{upstream}\" failed")]
    Tls {
        /// Key under `upstreams`.
        upstream: String,
        /// The error of rustls, for the log.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Returns the stable error code for clients and logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connect { .. } | Self::ConnectTimeout { .. } | Self::Dns { .. } => {
                "upstream_connect"
            }
            Self::FirstEventTimeout { .. } => "first_event_timeout",
            Self::HeadTimeout { .. } => "head_timeout",
            Self::NoSocket { .. } => "overloaded",
            Self::Protocol { .. } => "upstream_error",
            Self::RequestAborted => "request_aborted",
            Self::RequestTimeout => "request_timeout",
            Self::RequestTooLarge => "request_too_large",
            Self::RequestUnreadable(_) => "bad_request",
            Self::Reset { .. } => "upstream_reset",
            Self::Tls { .. } => "upstream_tls",
            Self::TotalTimeout { .. } => "total_timeout",
        }
    }

    /// Reports whether the upstream is to blame, not the client or Weir itself.
    pub const fn is_upstream(&self) -> bool {
        !matches!(
            self,
            Self::NoSocket { .. }
                | Self::RequestAborted
                | Self::RequestTimeout
                | Self::RequestTooLarge
                | Self::RequestUnreadable(_)
        )
    }

    /// Reports whether another endpoint may be tried, because nothing of the request was accepted.
    pub(super) const fn is_before_request(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::ConnectTimeout { .. }
                | Self::Dns { .. }
                | Self::Tls { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_list_what_clients_cause() {
        let page = include_str!("../../docs/behaviour.md");
        let (_, section) = page
            .split_once("\n### Requests that their route rejects\n")
            .unwrap();
        let (section, _) = section.split_once("\n### ").unwrap();
        for error in [
            Error::RequestTimeout,
            Error::RequestTooLarge,
            Error::RequestUnreadable(""),
        ] {
            let row = format!("| `{}` |", error.code());
            assert!(section.contains(&row), "{row}");
        }
    }
}
