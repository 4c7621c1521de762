//! One exchange, as a stream of a shared HTTP/2 connection.
//!
//! ```text
//! begin ── poll_head ──► Answered ── poll_body ──► Data* ── Eof
//!                            │           ▲
//!                            └─ reader ──┴─ recv_buffer
//! ```
//!
//! The task that waits for the response sends the request and takes the body. In between, each stream has a task of
//! its own (`recv_buffer`) that reads whatever arrives: an unread frame would count against the connection, and so
//! against its other streams. Bytes that nobody has taken count only against the stream's own flow-control window,
//! which is the back-pressure on the upstream.

mod connection;
mod pool;
mod read_to_end;
mod recv_buffer;
mod upload;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::client::ResponseFuture;
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version, header, request, response};
use http_body::Body as _;

use super::error::{Broken, Malformed};
use super::fields::{MAX_FIELDS, content_length};
use super::progress::{Failure, Read};
use super::request_body::RequestBody;
pub(super) use connection::Connection;
use connection::Place;
pub(super) use pool::Pool;
use recv_buffer::{Incoming, Taken};
use upload::Sending;

/// Maximum number of bytes in one read.
const READ_BYTES: usize = 16 * 1024;
/// Maximum number of bytes in one read of a body whose client takes nothing.
const NARROW_READ_BYTES: usize = 4 * 1024;

/// An HTTP/2 stream.
#[derive(Debug)]
pub(super) struct Stream {
    phase: Phase,
    upload: Option<Sending>,
    /// An empty request body, kept in case the request must be sent on another connection.
    empty: Option<RequestBody>,
    /// The body of a request that the upstream says it has not processed.
    unsent: Option<RequestBody>,
    /// Maximum number of bytes in one read of the body.
    most: usize,
    is_head: bool,
    place: Place,
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// The request is to be sent.
    Begun(Box<Begun>),
    /// The request was sent, at least in part.
    Sent(ResponseFuture),
    Answered {
        incoming: Incoming,
        /// How many bytes are missing, if known.
        left: Option<u64>,
    },
    Over,
}

#[derive(Debug)]
struct Begun {
    head: Request<()>,
    body: Option<RequestBody>,
}

impl Stream {
    pub(super) const fn new(place: Place) -> Self {
        Self {
            phase: Phase::Idle,
            upload: None,
            empty: None,
            unsent: None,
            most: READ_BYTES,
            is_head: false,
            place,
        }
    }

    /// Begins the request; [`Stream::poll_head`] sends it.
    pub(super) fn begin(&mut self, parts: &request::Parts, body: Option<RequestBody>) {
        self.is_head = parts.method == Method::HEAD;
        let head = head(parts, self.place.scheme());
        self.phase = Phase::Begun(Box::new(Begun { head, body }));
    }

    /// Reports whether a failure is the stream's own, or the first one reported for its connection.
    pub(super) fn is_first_to_fail(&self) -> bool {
        self.place.is_first_to_fail()
    }

    /// Sets whether each read takes few bytes, or as many as usual.
    pub(super) const fn set_low_rate(&mut self, low_rate: bool) {
        self.most = if low_rate {
            NARROW_READ_BYTES
        } else {
            READ_BYTES
        };
    }

    /// Takes back the complete request body, if the upstream has not processed the request.
    pub(super) const fn take_unsent(&mut self) -> Option<RequestBody> {
        self.unsent.take()
    }

    /// Sends the request, and waits for the response head. Interim (1xx) heads are passed to `interim`.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        mut interim: impl FnMut(StatusCode, &HeaderMap),
    ) -> Poll<Result<response::Parts, Failure>> {
        loop {
            match &mut self.phase {
                Phase::Begun(_) => {
                    if let Err(error) = ready!(self.place.poll_ready(cx)) {
                        return Poll::Ready(Err(self.refused(error)));
                    }
                    if let Err(error) = self.send(cx) {
                        return Poll::Ready(Err(self.refused(error)));
                    }
                }
                Phase::Sent(response) => {
                    while let Poll::Ready(Some(Ok(head))) = response.poll_informational(cx) {
                        interim(head.status(), head.headers());
                    }
                    return Poll::Ready(match ready!(Pin::new(response).poll(cx)) {
                        Ok(answer) => self.answered(answer).map_err(Failure::Malformed),
                        // The stream was reset because the request body was cut off.
                        Err(_) if self.upload.as_ref().is_some_and(Sending::is_cut) => {
                            Err(Failure::RequestBody)
                        }
                        Err(error) if connection::is_unseen(&error) => Err(self.refused(error)),
                        Err(error) if error.is_library() && !error.is_io() => {
                            tracing::debug!(%error, "an answer that HTTP/2 does not allow");
                            Err(Failure::Malformed(Malformed("an HTTP/2 answer")))
                        }
                        Err(error) => Err(Failure::Reset(connection::into_io(error))),
                    });
                }
                Phase::Idle | Phase::Answered { .. } | Phase::Over => {
                    let error = io::Error::other("no request was begun");
                    return Poll::Ready(Err(Failure::Reset(error)));
                }
            }
        }
    }

    /// Hands the request to the connection.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), h2::Error> {
        let Phase::Begun(begun) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return Ok(());
        };
        let Begun { head, body } = *begun;
        let (body, empty): (Option<_>, Option<_>) = match body {
            Some(body) if body.is_end_stream() => (None, Some(body)),
            body => (body, None),
        };
        self.empty = empty;
        match self.place.send(head, body.is_none()) {
            Ok((response, sender)) => {
                self.upload = body.map(|body| Sending::new(sender, body, cx));
                self.phase = Phase::Sent(response);
                Ok(())
            }
            Err(error) => {
                self.unsent = body;
                Err(error)
            }
        }
    }

    /// Retires the connection and keeps the complete request body for another one: the upstream has not processed the
    /// request.
    fn refused(&mut self, error: h2::Error) -> Failure {
        self.place.retire();
        self.unsent = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Begun(begun) => begun.body,
            _ => (self.unsent.take())
                .or_else(|| self.empty.take())
                .or_else(|| self.upload.take()?.into_unsent()),
        };
        Failure::Reset(connection::into_io(error))
    }

    fn answered(
        &mut self,
        answer: http::Response<h2::RecvStream>,
    ) -> Result<response::Parts, Malformed> {
        let (mut parts, body) = answer.into_parts();
        self.empty = None;
        if let Some(upload) = &self.upload {
            upload.keep_nothing();
        }
        // Callers need not know which version it was.
        parts.version = Version::HTTP_11;
        if parts.headers.len() > MAX_FIELDS {
            return Err(Malformed("more than 256 fields"));
        }
        let length = content_length(&mut parts.headers)?;
        let empty = matches!(
            parts.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if parts.status.is_informational() {
            return Err(Malformed("the status code"));
        }
        self.phase = if body.is_end_stream() {
            Phase::Over
        } else {
            let incoming = Incoming::new(body, self.place.hearing());
            // The end of the body may arrive in a frame of its own.
            let left = if self.is_head || empty {
                Some(0)
            } else {
                length
            };
            Phase::Answered { incoming, left }
        };
        Ok(parts)
    }

    /// Passes what has arrived to `sink`.
    ///
    /// # Errors
    /// If the body broke. What arrived before was passed to `sink`.
    pub(super) fn poll_body(
        &mut self,
        cx: &Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Read, Broken>> {
        let Phase::Answered { incoming, left } = &mut self.phase else {
            return Poll::Ready(Ok(Read::Eof(None)));
        };
        match ready!(incoming.poll_take(cx, self.most, sink)) {
            Taken::Some { bytes, drained } => {
                if let Some(left) = left {
                    *left = left.saturating_sub(bytes as u64);
                }
                Poll::Ready(Ok(Read::Data { drained }))
            }
            Taken::End(ended) => {
                self.phase = Phase::Over;
                Poll::Ready(ended.map(Read::Eof))
            }
        }
    }

    /// Ends the exchange after the last read. If all bytes of the body have arrived, its end may still follow in a
    /// frame of its own. The stream is kept open for that, so that the agent does not see it reset.
    pub(super) fn finish(self) {
        if let Phase::Answered {
            incoming,
            left: Some(0),
        } = self.phase
        {
            incoming.finish(self.place);
        }
    }

    /// Returns how many bytes of the body are missing, if its length was announced.
    pub(super) const fn left(&self) -> Option<u64> {
        match &self.phase {
            Phase::Answered { left, .. } => *left,
            Phase::Idle | Phase::Over => Some(0),
            Phase::Begun(_) | Phase::Sent(_) => None,
        }
    }
}

/// Converts a request head to HTTP/2, where the authority is part of the target.
fn head(parts: &request::Parts, scheme: &'static str) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = parts.method.clone();
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = parts.headers.clone();
    let host = head.headers_mut().remove(header::HOST);
    // Only set for a connection that serves a single request.
    head.headers_mut().remove(header::CONNECTION);
    let host = host.as_ref().and_then(|host| host.to_str().ok());
    let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(host.unwrap_or("localhost"))
        .path_and_query(target)
        .build();
    // An invalid target is refused when the request is sent.
    *head.uri_mut() = uri.unwrap_or_default();
    head
}

#[cfg(test)]
mod tests;
