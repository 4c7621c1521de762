//! Upstream bodies as sources of a pump, and how a stream ends when they fail.

use std::task::{Context, Poll, ready};

use crate::end::End;
use crate::stream::pump::{Failure, Progress, Source};
use crate::upstream::{self, Answer, Body, Broken, Calling, Read};
use crate::wire::encoding::Coding;

/// The body of a response whose head is known.
pub(crate) struct BodySource(Body);

impl BodySource {
    pub(crate) const fn new(body: Body) -> Self {
        Self(body)
    }
}

impl Source for BodySource {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>> {
        Poll::Ready(match ready!(self.0.poll_read(cx, sink)) {
            Ok(Read::Data { drained: false }) => Ok(Progress::More),
            Ok(Read::Data { drained: true }) => Ok(Progress::Drained),
            Ok(Read::Eof(_)) => Ok(Progress::End),
            Err(error) => Err(failure(&error)),
        })
    }

    fn report_failure(&mut self) {
        self.0.report_failure();
    }

    fn set_low_rate(&mut self, low_rate: bool) {
        self.0.set_low_rate(low_rate);
    }

    fn set_subscription(&mut self) {
        self.0.set_subscription();
    }

    fn complete(&mut self) {
        self.0.complete();
    }
}

/// A whole answer that was written as a stream.
pub(crate) struct WholeSource(Option<Vec<u8>>);

impl WholeSource {
    pub(crate) const fn new(stream: Vec<u8>) -> Self {
        Self(Some(stream))
    }
}

impl Source for WholeSource {
    fn poll_read(
        &mut self,
        _: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>> {
        Poll::Ready(Ok(match self.0.take() {
            Some(stream) => {
                sink(&stream);
                Progress::More
            }
            None => Progress::End,
        }))
    }
}

/// Returns how a stream ends whose upstream connection broke: by a protocol violation, a reset, or truncation.
pub(crate) const fn broken(error: &Broken) -> End {
    match error {
        Broken::Malformed(_) => End::UpstreamError,
        Broken::Reset(_) => End::UpstreamReset,
        Broken::Closed(_) | Broken::Truncated => End::Truncated,
        Broken::TooLarge => End::TooLarge,
    }
}

/// Returns how a stream ends whose upstream connection broke, with the message for the client.
fn failure(error: &Broken) -> Failure {
    let end = broken(error);
    match error {
        Broken::Closed(code) => Failure {
            message: format!("{end}: the upstream closed its WebSocket with code {code}"),
            ..end.into()
        },
        _ => end.into(),
    }
}

/// An upstream call whose head is not known yet, although the client has already received a head.
pub(crate) struct CallSource {
    call: Call,
    /// The stream is a subscription.
    subscribes: bool,
}

/// How far a call is.
enum Call {
    Calling(Calling),
    Reading(Box<BodySource>),
}

impl CallSource {
    pub(crate) fn new(calling: Calling) -> Self {
        Self {
            call: Call::Calling(calling),
            subscribes: false,
        }
    }
}

impl Source for CallSource {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>> {
        match &mut self.call {
            Call::Reading(body) => body.poll_read(cx, sink),
            Call::Calling(calling) => match ready!(calling.as_mut().poll(cx)) {
                Ok(answer) => {
                    let coding = coding(&answer)?;
                    let mut body = BodySource::new(answer.body);
                    if self.subscribes {
                        body.set_subscription();
                    }
                    self.call = Call::Reading(Box::new(body));
                    Poll::Ready(Ok(Progress::Begins(coding)))
                }
                Err(error) => Poll::Ready(Err(failed(&error))),
            },
        }
    }

    fn report_failure(&mut self) {
        if let Call::Reading(body) = &mut self.call {
            body.report_failure();
        }
    }

    fn set_low_rate(&mut self, low_rate: bool) {
        if let Call::Reading(body) = &mut self.call {
            body.set_low_rate(low_rate);
        }
    }

    fn complete(&mut self) {
        if let Call::Reading(body) = &mut self.call {
            body.complete();
        }
    }

    fn set_subscription(&mut self) {
        self.subscribes = true;
        if let Call::Reading(body) = &mut self.call {
            body.set_subscription();
        }
    }
}

/// Returns the content coding of an answer whose body can be passed on. A body that turns out not to be a stream is
/// passed on all the same: a wrong content type is better than no response.
fn coding(answer: &Answer) -> Result<Coding, Failure> {
    let status = answer.head.status;
    let refused = |what: &str| Failure {
        code: "upstream_status",
        message: format!("the upstream answered {}{what}", status.as_u16()),
        ..End::UpstreamError.into()
    };
    if !status.is_success() {
        return Err(refused(""));
    }
    Coding::of(&answer.head.headers).ok_or_else(|| refused(" in an unknown coding"))
}

/// Returns how a stream ends that began before its upstream call failed.
pub(crate) fn failed(error: &upstream::Error) -> Failure {
    let end = match error {
        upstream::Error::FirstEventTimeout { .. } | upstream::Error::HeadTimeout { .. } => {
            End::FirstEventTimeout
        }
        upstream::Error::Reset { .. } => End::UpstreamReset,
        upstream::Error::TotalTimeout { .. } => End::TotalTimeout,
        _ => End::UpstreamError,
    };
    Failure {
        end,
        code: error.code(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_body_takes_little_room() {
        // The allocator gives out 224 bytes, and then 256. In a debug build a socket has 8 bytes more.
        let most = if cfg!(debug_assertions) { 232 } else { 224 };
        let size = size_of::<BodySource>();
        assert!(size <= most, "{size}");
    }
}
