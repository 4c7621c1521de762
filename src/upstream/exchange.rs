//! One request and its answer, on a connection of its own or as a stream of a shared one.

use std::io;
use std::task::{Context, Poll};

use http::{HeaderMap, StatusCode, request, response};

use super::error::{Broken, Malformed};
use super::request_body::RequestBody;
use super::{http1, http2};

/// What carries a request.
#[derive(Debug)]
pub(super) enum Exchange {
    Own(http1::Connection),
    Shared(Box<http2::Stream>),
}

/// Why there is no response head.
#[derive(Debug)]
pub(super) enum Failure {
    /// What came is none.
    Malformed(Malformed),
    /// The request's body broke off; its verdict says why.
    RequestBody,
    /// The connection ended.
    Reset(io::Error),
}

/// What one read of an upstream's body gave.
#[derive(Debug)]
pub enum Read {
    /// Bytes, which were lent.
    Data {
        /// All that was there: the task is woken when there are more, and need not ask before.
        drained: bool,
    },
    /// The body is complete; trailers if there were any.
    Eof(Option<Box<HeaderMap>>),
}

impl Exchange {
    /// Begins a request; [`Exchange::poll_head`] sends it.
    pub(super) fn begin(&mut self, parts: &request::Parts, body: Option<RequestBody>) {
        match self {
            Self::Own(connection) => connection.begin(parts, body),
            Self::Shared(stream) => stream.begin(parts, body),
        }
    }

    /// Sends, and reads up to the end of the response head. Interim ones are told to `interim`.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        interim: impl FnMut(StatusCode, &HeaderMap),
    ) -> Poll<Result<response::Parts, Failure>> {
        match self {
            Self::Own(connection) => connection.poll_head(cx, interim),
            Self::Shared(stream) => stream.poll_head(cx, interim),
        }
    }

    /// Lends `sink` the next piece of the body.
    ///
    /// # Errors
    /// When the body broke. What came before was lent.
    #[inline]
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        match self {
            Self::Own(connection) => connection.poll_body(cx, sink),
            Self::Shared(stream) => stream.poll_body(cx, sink),
        }
    }

    /// Few bytes a read; or as many as usual.
    pub(super) fn set_low_rate(&mut self, low_rate: bool) {
        match self {
            Self::Own(connection) => connection.set_low_rate(low_rate),
            Self::Shared(stream) => stream.set_low_rate(low_rate),
        }
    }

    /// The length of what is left of the body, if it was announced.
    #[inline]
    pub(super) const fn left(&self) -> Option<u64> {
        match self {
            Self::Own(connection) => connection.left(),
            Self::Shared(stream) => stream.left(),
        }
    }

    /// Whether a failure is news of the endpoint.
    pub(super) fn is_first_to_fail(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Shared(stream) => stream.is_first_to_fail(),
        }
    }

    /// The request's body as it was, if the upstream has seen nothing of the request.
    pub(super) fn take_unsent(&mut self) -> Option<RequestBody> {
        match self {
            Self::Own(connection) => connection.take_unsent(),
            Self::Shared(stream) => stream.take_unsent(),
        }
    }
}
