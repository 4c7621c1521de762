//! Upstream bodies as sources of a pump, and what their failures mean for a stream.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::kind::{coding, framing};
use crate::stream::end::End;
use crate::stream::pump::{Failure, Source};
use crate::upstream::{self, Answer, Body, Read};
use crate::wire::encoding::Coding;

/// A body whose head is known.
pub(super) struct Reads(Body);

impl Reads {
    pub(super) const fn new(body: Body) -> Self {
        Self(body)
    }
}

impl Source for Reads {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Bytes>,
    ) -> Poll<Result<bool, Failure>> {
        Poll::Ready(match ready!(self.0.poll_read(cx, out)) {
            Ok(Read::Data) => Ok(true),
            Ok(Read::Eof(_)) => Ok(false),
            Err(error) => Err(broken(&error).into()),
        })
    }
}

/// How a transport broke: reset, cut short, or against the protocol.
fn broken(error: &hyper::Error) -> End {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof => End::Truncated,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => End::UpstreamError,
                _ => End::UpstreamReset,
            };
        }
        cause = inner.source();
    }
    if error.is_incomplete_message() {
        End::Truncated
    } else {
        End::UpstreamReset
    }
}

type Calling = Pin<Box<dyn Future<Output = Result<Answer, upstream::Error>> + Send>>;

/// A call whose head is still awaited, although the client already has one.
pub(super) enum CallSource {
    Calling(Calling),
    Reading(Box<Reads>),
}

impl CallSource {
    pub(super) fn new(calling: Calling) -> Self {
        Self::Calling(calling)
    }
}

impl Source for CallSource {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Bytes>,
    ) -> Poll<Result<bool, Failure>> {
        loop {
            match self {
                Self::Reading(reads) => return reads.poll_read(cx, out),
                Self::Calling(calling) => {
                    let answer = match ready!(calling.as_mut().poll(cx)) {
                        Ok(answer) => answer,
                        Err(error) => {
                            return Poll::Ready(Err(refused(error.code(), error.to_string())));
                        }
                    };
                    if framing(&answer.head).is_none()
                        || coding(&answer.head) != Some(Coding::Identity)
                    {
                        let status = answer.head.status.as_u16();
                        let message = format!("the upstream answered {status}, which is no stream");
                        return Poll::Ready(Err(refused("upstream_status", message)));
                    }
                    *self = Self::Reading(Box::new(Reads::new(answer.body)));
                }
            }
        }
    }
}

fn refused(code: &'static str, message: String) -> Failure {
    Failure {
        end: End::UpstreamError,
        code,
        message: format!("{code}: {message}"),
    }
}
