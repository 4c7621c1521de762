//! Upstream bodies as sources of a pump, and how a stream ends when they fail.

use std::task::{Context, Poll, ready};

use crate::stream::end::End;
use crate::stream::pump::{Failure, Progress, Source};
use crate::upstream::{self, Answer, Body, Broken, Calling, Read};
use crate::wire::encoding::{self, Coding, Decoder};

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
            Err(error) => Err(broken(&error).into()),
        })
    }

    fn report_failure(&mut self) {
        self.0.report_failure();
    }

    fn set_low_rate(&mut self, low_rate: bool) {
        self.0.set_low_rate(low_rate);
    }
}

/// Returns how a stream ends whose upstream connection broke: by a protocol violation, a reset, or truncation.
pub(crate) const fn broken(error: &Broken) -> End {
    match error {
        Broken::Malformed(_) => End::UpstreamError,
        Broken::Reset(_) => End::UpstreamReset,
        Broken::Truncated => End::Truncated,
    }
}

/// An upstream call whose head is not known yet, although the client has already received a head.
pub(crate) enum CallSource {
    Calling(Calling),
    Reading(Box<Decoded>),
}

impl CallSource {
    pub(crate) fn new(calling: Calling) -> Self {
        Self::Calling(calling)
    }
}

impl Source for CallSource {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>> {
        loop {
            match self {
                Self::Reading(reads) => return reads.poll_read(cx, sink),
                Self::Calling(calling) => match ready!(calling.as_mut().poll(cx)) {
                    Ok(answer) => *self = Self::Reading(Box::new(Decoded::new(answer)?)),
                    Err(error) => return Poll::Ready(Err(failed(&error))),
                },
            }
        }
    }

    fn report_failure(&mut self) {
        if let Self::Reading(reads) = self {
            reads.report_failure();
        }
    }

    fn set_low_rate(&mut self, low_rate: bool) {
        if let Self::Reading(reads) = self {
            reads.set_low_rate(low_rate);
        }
    }
}

/// The body of a response whose content coding was not known when the stream began.
pub(crate) struct Decoded {
    reads: BodySource,
    decoder: Option<Decoder>,
}

impl Decoded {
    fn new(answer: Answer) -> Result<Self, Failure> {
        let status = answer.head.status.as_u16();
        let refused = |what: &str| Failure {
            code: "upstream_status",
            message: format!("the upstream answered {status}{what}"),
            ..End::UpstreamError.into()
        };
        // A body that turns out not to be a stream is passed on all the same: a wrong content type is better than no
        // response.
        if !answer.head.status.is_success() {
            return Err(refused(""));
        }
        let coding =
            Coding::of(&answer.head.headers).ok_or_else(|| refused(" in an unknown coding"))?;
        Ok(Self {
            reads: BodySource::new(answer.body),
            decoder: Decoder::new(coding),
        })
    }
}

impl Source for Decoded {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>> {
        let Self { reads, decoder } = self;
        let mut fault = None;
        let mut decode = |piece: &[u8]| match decoder {
            None => sink(piece),
            Some(decoder) if fault.is_none() => {
                let plain = |bytes: &[u8]| {
                    sink(bytes);
                    Ok::<(), encoding::Error>(())
                };
                fault = decoder.feed(piece, plain).err();
            }
            Some(_) => {}
        };
        let read = ready!(reads.poll_read(cx, &mut decode));
        if let Some(error) = fault {
            return Poll::Ready(Err(match error {
                encoding::Error::Corrupt => End::UpstreamError.into(),
                encoding::Error::Expansion | encoding::Error::Window => End::TooLarge.into(),
            }));
        }
        let torn = self
            .decoder
            .as_ref()
            .is_some_and(|decoder| !decoder.is_complete());
        Poll::Ready(match read {
            Ok(Progress::End) if torn => Err(End::Truncated.into()),
            read => read,
        })
    }

    fn report_failure(&mut self) {
        self.reads.report_failure();
    }

    fn set_low_rate(&mut self, low_rate: bool) {
        self.reads.set_low_rate(low_rate);
    }
}

/// Returns how a stream ends that began before its upstream call failed.
fn failed(error: &upstream::Error) -> Failure {
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
