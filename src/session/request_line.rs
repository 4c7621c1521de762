//! The log line of a request that was answered without a stream, or not at all.

use std::net::IpAddr;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::accounting::millis;
use super::context::RequestContext;
use super::identity::Identity;
use crate::log::access::{self, Line};
use crate::log::address::Address;

/// How much an operator should care about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grade {
    /// A defect in Weir.
    Error,
    Info,
    Warn,
}

/// What is known of a request at its end. Nothing in it is content, a header or a query string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLine<'a> {
    pub(crate) identity: &'a Identity,
    /// `None` if no route took the request.
    pub(crate) route: Option<&'a str>,
    pub(crate) client: Option<IpAddr>,
    /// `None`, as the path, if the head was not read.
    pub(crate) method: Option<&'a Method>,
    pub(crate) path: Option<&'a str>,
    pub(crate) started: Instant,
    /// One word for how it ended: those of streams, `refused` for what Weir refused, `failed` for what the upstream did
    /// not answer.
    pub(crate) outcome: &'static str,
    /// What tells more than the outcome; `None` if nothing does.
    pub(crate) code: Option<&'static str>,
    /// What the client got; `None` if it got no answer.
    pub(crate) status: Option<StatusCode>,
    /// How many bytes of the body it got.
    pub(crate) bytes: Option<u64>,
    /// The error below a failure of the upstream.
    pub(crate) cause: Option<&'a str>,
    pub(crate) grade: Grade,
}

impl<'a> RequestLine<'a> {
    /// Begins the line of a request that has a route.
    pub(crate) fn of(context: &'a RequestContext, outcome: &'static str) -> Self {
        Self {
            identity: &context.identity,
            route: Some(&context.route.name),
            client: context.client,
            method: Some(&context.method),
            path: Some(&context.path),
            started: context.started,
            outcome,
            code: None,
            status: None,
            bytes: None,
            cause: None,
            grade: Grade::Info,
        }
    }

    /// Writes the line with these words, unless `log.access` leaves it out.
    pub(crate) fn write(&self, line: Line, words: &str) {
        if !access::wants(line) {
            return;
        }
        macro_rules! write_line {
            ($level:ident) => {
                tracing::$level!(
                    target: access::TARGET,
                    request_id = self.identity.request_id.to_str().unwrap_or_default(),
                    upstream_request_id = self.identity.upstream_id(),
                    trace_id = self.identity.trace_id(),
                    route = self.route,
                    client = self.client.map(Address).map(tracing::field::display),
                    method = self.method.map(tracing::field::display),
                    path = self.path,
                    outcome = self.outcome,
                    code = self.code,
                    status = self.status.map(|status| status.as_u16()),
                    duration_ms = millis(self.started.elapsed()),
                    bytes_out = self.bytes,
                    cause = self.cause,
                    "{words}"
                )
            };
        }
        match self.grade {
            Grade::Error => write_line!(error),
            Grade::Info => write_line!(info),
            Grade::Warn => write_line!(warn),
        }
    }
}
