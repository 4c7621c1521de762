//! The parts that a pump is made of, and the report that it returns at its end.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::outlet::Outlet;
use crate::dialect::Dialect;
use crate::encode::Encoder;
use crate::end::End;
use crate::filter::Hidden;
use crate::queue::Counts;
use crate::stream::deadline::Lengths;
use crate::stream::meter::{Meter, TokenSource};
use crate::stream::pipeline::{Pipeline, Sink};
use crate::stream::stop::StopSignal;
use crate::translate::{Lost, Recorder, Target};
use crate::wire::Framing;
use crate::wire::encoding::Coding;

/// The upstream body that a pump reads. Dropping it cancels the upstream call.
pub trait Source: Send {
    /// Lends `sink` the bytes that are available.
    ///
    /// # Errors
    /// Returns how the stream ends if the body fails, with a message for the client.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>>;

    /// Reports to the load balancing that the upstream sent nothing useful in time.
    fn report_failure(&mut self) {}

    /// Notes that the stream has ended well. What may still come is only read so that the connection can be reused.
    fn complete(&mut self) {}

    /// Sets whether each read takes few bytes and little is buffered before it, because the client cannot keep up.
    fn set_low_rate(&mut self, _low_rate: bool) {}

    /// Notes that the stream is a subscription: however it ends, that is no failure for the load balancing. Its silence
    /// says nothing, so the connection itself is watched.
    fn set_subscription(&mut self) {}

    /// Reports whether it stands for several upstreams. Then it is read by [`Source::poll_events`].
    fn is_merged(&self) -> bool {
        false
    }

    /// Reads from one of several upstreams, and makes events of what came.
    ///
    /// # Errors
    /// As for [`Source::poll_read`].
    fn poll_events(
        &mut self,
        _cx: &mut Context<'_>,
        _take: Take<'_>,
    ) -> Poll<Result<Progress, Failure>> {
        Poll::Ready(Ok(Progress::End))
    }

    /// Ends the calls of several upstreams, because the stream ends like this, and writes what follows from that.
    fn end_events(&mut self, _end: End, _take: Take<'_>) {}

    /// Records that several upstreams are not read any more, or are read again, because the queue was full.
    fn hold(&mut self, _held: bool, _now: Instant) {}
}

/// Takes the events of one read of `bytes` bytes: lends the pipeline of the stream as a whole, and what receives
/// events.
pub type Take<'a> = &'a mut dyn FnMut(usize, Make<'_>);

/// Makes the events of one read, which returned at this time.
pub type Make<'a> = &'a mut dyn FnMut(&mut Pipeline, &mut dyn Sink, Instant);

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The body begins, and has this content coding. Only of a source that learns it after the stream has begun.
    Begins(Coding),
    /// The read returned bytes, and more may be available.
    More,
    /// The read returned all bytes that were available. The reading task is woken when there are more.
    Drained,
    /// The body is complete.
    End,
}

/// Why a stream failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason, as one of the known ends.
    pub end: End,
    /// The reason for the log and the metrics; may be more specific than `end`.
    pub code: &'static str,
    /// The message for the client, one sentence.
    pub message: String,
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Self {
            end,
            code: end.as_str(),
            message: end.message().to_owned(),
        }
    }
}

/// The client that reads the response, as far as its connection knows about it.
pub trait Reader: fmt::Debug + Send + Sync {
    /// Returns when the client last took data, while data waits in the connection. Returns `None` if no data waits
    /// there, or if this is not known for the stream alone.
    fn last_progress(&self) -> Option<Instant>;

    /// Reports whether several streams share the connection. Such a connection holds the data it took for a stream
    /// until the flow-control window of that stream opens.
    fn is_shared(&self) -> bool {
        false
    }

    /// Reports whether the connection may hold data that it has taken. One of a single stream does not say when it has
    /// written everything, but that it has not.
    fn may_hold(&self) -> bool {
        self.is_shared() || self.last_progress().is_some()
    }

    /// Tells the connection that the stream is over although the client has not taken all of its data, so that it does
    /// not wait for the client any longer.
    fn give_up(&self) {}
}

/// What one read of the upstream returned.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// The measurements of the stream so far.
    pub meter: &'a Meter,
    /// How many events this read returned.
    pub events: usize,
    /// The time since the previous text, if this read returned text.
    pub gap: Option<Duration>,
    /// When this read returned.
    pub now: Instant,
    /// When the previous read returned.
    pub last: Instant,
    /// The dialect of the stream, as far as it is known.
    pub dialect: Dialect,
}

/// Observes a running stream, with one call for each read rather than each event.
pub trait Observer: Send {
    /// Called when a read has returned.
    fn read(&mut self, arrived: Arrived<'_>);
    /// Called when a heartbeat was sent.
    fn heartbeat(&mut self);
    /// Called when the upstream is no longer read because the queue is full, with the time of that, and when it is read
    /// again.
    fn held(&mut self, _since: Option<Instant>) {}
}

/// The report of a stream that has ended.
#[derive(Debug)]
pub struct Report {
    /// Why the stream ended.
    pub end: End,
    /// The reason for the log and the metrics; may be more specific than `end`.
    pub code: &'static str,
    /// The upstream's side.
    pub ingress: IngressReport,
    /// The client's side.
    pub egress: EgressReport,
}

/// The report of the upstream's side of a stream.
#[derive(Debug)]
pub struct IngressReport {
    /// The dialect of the stream.
    pub dialect: Dialect,
    /// The dialect that was announced, if the stream used another one.
    pub mismatched: Option<Dialect>,
    /// What was hidden from the client.
    pub hidden: Hidden,
    /// Whether the client may have received less than the upstream sent.
    pub hides: bool,
    /// What the stream was translated to; `None` if the client got what the upstream sent.
    pub reply: Option<Target>,
    /// What the translation had to leave out.
    pub lost: Lost,
    /// What the client might see; `None` if it was not recorded.
    pub recorder: Option<Box<Recorder>>,
    /// The framing of the stream.
    pub framing: Framing,
    /// The measurements.
    pub meter: Meter,
    /// How long the upstream was not read because the queue was full.
    pub held: Duration,
    /// The time from the client's departure to the end of the upstream call.
    pub cancelled_after: Option<Duration>,
    /// Whether the upstream call continues without its client.
    pub detached: bool,
}

/// The report of the client's side of a stream.
#[derive(Debug)]
pub struct EgressReport {
    /// The counts of the queue.
    pub queue: Counts,
    /// How long the client had taken nothing when the data that waited for it was discarded.
    pub abandoned_after: Duration,
    /// How many heartbeats were sent.
    pub heartbeats: u64,
}

impl Report {
    /// Returns the number of output tokens, and where it comes from. The last running count of a complete response is
    /// its total.
    pub fn output_tokens(&self) -> (u64, TokenSource) {
        match self.ingress.meter.output_tokens() {
            (count, TokenSource::Cumulative) if self.end == End::Finished => {
                (count, TokenSource::Usage)
            }
            told => told,
        }
    }

    /// Returns when the first answer text arrived that the client may see.
    pub fn first_visible(&self) -> Option<Instant> {
        if self.ingress.hides {
            self.ingress.meter.first_visible
        } else {
            self.ingress.meter.first_token
        }
    }

    /// Returns how many tool calls are incomplete. Those cut off by a client that left or by a deadline do not count.
    pub fn tool_faults(&self) -> u64 {
        let by_upstream = [
            End::Finished,
            End::Truncated,
            End::UpstreamError,
            End::UpstreamReset,
        ];
        self.ingress
            .meter
            .tool_faults(by_upstream.contains(&self.end))
    }
}

/// The parts of a pump.
#[derive(Debug)]
pub struct Parts {
    /// The upstream's side.
    pub ingress: IngressParts,
    /// The client's side.
    pub egress: EgressParts,
    /// The lengths of the deadlines of both sides.
    pub lengths: Lengths,
    /// Tells the pump that the stream must end.
    pub stop: Arc<StopSignal>,
}

/// The parts of the upstream's side.
pub struct IngressParts {
    /// The upstream's body.
    pub source: Box<dyn Source>,
    /// Converts the bytes to events.
    pub pipeline: Pipeline,
    /// When the request was sent to the upstream.
    pub started: Instant,
    /// Observes each read.
    pub observer: Box<dyn Observer>,
    /// Whether the upstream call continues when the client leaves.
    pub detaches: bool,
    /// Whether to record the name of the model.
    pub wants_model: bool,
}

impl fmt::Debug for IngressParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngressParts").finish_non_exhaustive()
    }
}

/// The parts of the client's side.
#[derive(Debug)]
pub struct EgressParts {
    /// Encodes the stream for the client.
    pub encoder: Encoder,
    /// Where the events go.
    pub outlet: Outlet,
    /// The client's connection.
    pub reader: Arc<dyn Reader>,
    /// How long the stream is silent before a heartbeat is sent; zero turns heartbeats off.
    pub heartbeat: Duration,
}
