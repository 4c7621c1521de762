//! One request and its response: on a connection of its own (HTTP/1.1), as a stream of a shared one (HTTP/2), or as a
//! conversation over a WebSocket.

use std::io;
use std::task::{Context, Poll};

use http::{HeaderMap, StatusCode, request, response};

use super::error::Broken;
use super::progress::{Failure, Read};
use super::request_body::RequestBody;
use super::websocket::conversation::Conversation;
use super::{http1, http2};

/// The connection or stream that carries a request.
#[derive(Debug)]
pub(super) enum Exchange {
    Own(http1::Connection),
    Shared(Box<http2::Stream>),
    /// The conversation has begun already: only its body is read.
    Talk(Box<Conversation>),
}

impl Exchange {
    /// Begins a request; [`Exchange::poll_head`] sends it.
    pub(super) fn begin(&mut self, parts: &request::Parts, body: Option<RequestBody>) {
        match self {
            Self::Own(connection) => connection.begin(parts, body),
            Self::Shared(stream) => stream.begin(parts, body),
            Self::Talk(_) => {}
        }
    }

    /// Sends the request, and reads up to the end of the response head. Interim (1xx) heads are passed to `interim`.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        interim: impl FnMut(StatusCode, &HeaderMap),
    ) -> Poll<Result<response::Parts, Failure>> {
        match self {
            Self::Own(connection) => connection.poll_head(cx, interim),
            Self::Shared(stream) => stream.poll_head(cx, interim),
            Self::Talk(_) => {
                let error = io::Error::other("no request was begun");
                Poll::Ready(Err(Failure::Reset(error)))
            }
        }
    }

    /// Passes the next piece of the body to `sink`.
    ///
    /// # Errors
    /// If the body broke. What arrived before was passed to `sink`.
    #[inline]
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        match self {
            Self::Own(connection) => connection.poll_body(cx, sink),
            Self::Shared(stream) => stream.poll_body(cx, sink),
            Self::Talk(talk) => talk.poll_read(cx, sink),
        }
    }

    /// Keeps the connection from carrying another request.
    pub(super) const fn set_last(&mut self) {
        match self {
            Self::Own(connection) => connection.set_last(),
            Self::Shared(_) | Self::Talk(_) => {}
        }
    }

    /// Lets a connection that is silent for long be tested. A shared one and a WebSocket are tested in any case, by
    /// pings.
    pub(super) fn probe_when_silent(&self) {
        match self {
            Self::Own(connection) => connection.probe_when_silent(),
            Self::Shared(_) | Self::Talk(_) => {}
        }
    }

    /// Sets whether each read takes few bytes, or as many as usual.
    pub(super) fn set_low_rate(&mut self, low_rate: bool) {
        match self {
            Self::Own(connection) => connection.set_low_rate(low_rate),
            Self::Shared(stream) => stream.set_low_rate(low_rate),
            Self::Talk(talk) => talk.set_low_rate(low_rate),
        }
    }

    /// Returns how many bytes of the body are missing, if its length was announced.
    #[inline]
    pub(super) const fn left(&self) -> Option<u64> {
        match self {
            Self::Own(connection) => connection.left(),
            Self::Shared(stream) => stream.left(),
            Self::Talk(_) => None,
        }
    }

    /// Reports whether a failure counts against the endpoint: when a shared connection breaks, only the first stream's
    /// does.
    pub(super) fn is_first_to_fail(&self) -> bool {
        match self {
            Self::Own(_) | Self::Talk(_) => true,
            Self::Shared(stream) => stream.is_first_to_fail(),
        }
    }

    /// Reports whether the upstream has sent anything since the request began. On a shared connection nobody asks:
    /// there the protocol says what was not processed.
    pub(super) const fn has_heard(&self) -> bool {
        match self {
            Self::Own(connection) => connection.has_heard(),
            Self::Shared(_) | Self::Talk(_) => true,
        }
    }

    /// Takes back the complete request body, if the upstream has seen nothing of the request.
    pub(super) fn take_unsent(&mut self) -> Option<RequestBody> {
        match self {
            Self::Own(connection) => connection.take_unsent(),
            Self::Shared(stream) => stream.take_unsent(),
            Self::Talk(_) => None,
        }
    }

    /// Notes that the stream has ended well: what may still come is not needed.
    pub(super) fn complete(&mut self) {
        match self {
            Self::Own(_) | Self::Shared(_) => {}
            Self::Talk(talk) => talk.complete(),
        }
    }
}
