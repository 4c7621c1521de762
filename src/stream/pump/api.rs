//! What a pump is made of, and what it says at its end.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::outlet::Outlet;
use crate::dialect::Dialect;
use crate::encode::Encoder;
use crate::filter::Hidden;
use crate::queue::Counts;
use crate::stream::deadline::Lengths;
use crate::stream::end::End;
use crate::stream::meter::{Meter, TokenSource};
use crate::stream::pipeline::Pipeline;
use crate::stream::stop::StopSignal;
use crate::wire::Framing;

/// Where a pump reads from. Dropping it cancels the upstream call.
pub trait Source: Send {
    /// Lends `sink` what is there.
    ///
    /// # Errors
    /// The end that the failure means, with a sentence for the client.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>>;

    /// Nothing of use came in time. Whoever balances over several agents wants to know.
    fn report_failure(&mut self) {}

    /// Whether to read little at a time, and to leave little unread: nobody takes what comes.
    fn set_low_rate(&mut self, _low_rate: bool) {}
}

/// How a read went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It brought something, and there may be more.
    More,
    /// It brought all that was there; who asked is woken when there is more.
    Drained,
    /// The body ended well.
    End,
}

/// A body that broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of end this is.
    pub end: End,
    /// The same, or a finer word, for the log and the metrics.
    pub code: &'static str,
    /// A sentence for the client.
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

/// Who reads the reply, as far as its connection can tell.
pub trait Reader: fmt::Debug + Send + Sync {
    /// While bytes wait in the connection: when the client last took some of them. `None` when nothing
    /// waits there, or when it cannot be told for this stream alone.
    fn last_progress(&self) -> Option<Instant>;

    /// The connection serves others as well: what it takes for one of them it holds until that one's window opens.
    fn is_shared(&self) -> bool {
        false
    }

    /// The stream is over, and the client has not taken what it was told last: nothing more is to be waited for.
    fn give_up(&self) {}
}

/// What one read of the upstream brought.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// What the stream measured so far.
    pub meter: &'a Meter,
    /// Events of this read.
    pub events: usize,
    /// Time since the text before, if this read brought text.
    pub gap: Option<Duration>,
    /// When it returned.
    pub now: Instant,
    /// When the read before returned.
    pub last: Instant,
    /// What the stream speaks, as far as it is known.
    pub dialect: Dialect,
}

/// Sees a stream as it goes: one call per read, not per event.
pub trait Observer: Send {
    /// A read returned.
    fn read(&mut self, arrived: Arrived<'_>);
    /// A heartbeat went out.
    fn heartbeat(&mut self);
}

/// How a stream went.
#[derive(Debug)]
pub struct Report {
    /// The one reason it ended.
    pub end: End,
    /// A word for it that may be finer than the end's own.
    pub code: &'static str,
    /// The upstream's side.
    pub ingress: IngressReport,
    /// The client's side.
    pub egress: EgressReport,
}

/// How the upstream's side of a stream went.
#[derive(Debug)]
pub struct IngressReport {
    /// What it spoke.
    pub dialect: Dialect,
    /// The dialect that was announced, if it spoke another.
    pub mismatched: Option<Dialect>,
    /// What its client did not get.
    pub hidden: Hidden,
    /// Its client may have got less than its upstream sent.
    pub hides: bool,
    /// How it was framed.
    pub framing: Framing,
    /// What was measured.
    pub meter: Meter,
    /// How long the upstream was held back because the queue was full.
    pub held: Duration,
    /// From the client's leaving to the end of the upstream call.
    pub cancelled_after: Option<Duration>,
    /// The upstream goes on without its client.
    pub detached: bool,
}

/// How the client's side of a stream went.
#[derive(Debug)]
pub struct EgressReport {
    /// What the queue did.
    pub queue: Counts,
    /// How long the client had taken nothing when what waited for it was thrown away.
    pub abandoned_after: Duration,
    /// Heartbeats sent.
    pub heartbeats: u64,
}

impl Report {
    /// Output tokens, and who says so. The last running count of a whole answer is its total.
    pub fn output_tokens(&self) -> (u64, TokenSource) {
        match self.ingress.meter.output_tokens() {
            (count, TokenSource::Cumulative) if self.end == End::Finished => {
                (count, TokenSource::Usage)
            }
            told => told,
        }
    }

    /// The first answer text that the client may see.
    pub fn first_visible(&self) -> Option<Instant> {
        if self.ingress.hides {
            self.ingress.meter.first_visible
        } else {
            self.ingress.meter.first_token
        }
    }

    /// Tool calls that are not whole; those that a client's leaving or a deadline cut are not meant.
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

/// Everything a pump is made of.
#[derive(Debug)]
pub struct Parts {
    /// The upstream's side.
    pub ingress: IngressParts,
    /// The client's side.
    pub egress: EgressParts,
    /// Lengths of the deadlines of both.
    pub lengths: Lengths,
    /// Told when the stream must end.
    pub stop: Arc<StopSignal>,
}

/// What the upstream's side is made of.
pub struct IngressParts {
    /// The upstream's body.
    pub source: Box<dyn Source>,
    /// Bytes to events.
    pub pipeline: Pipeline,
    /// When the upstream had the request.
    pub started: Instant,
    /// Sees each read.
    pub observer: Box<dyn Observer>,
    /// A client that leaves does not end the upstream call.
    pub detaches: bool,
    /// Whether to take note of the model's name.
    pub wants_model: bool,
}

impl fmt::Debug for IngressParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngressParts").finish_non_exhaustive()
    }
}

/// What the client's side is made of.
#[derive(Debug)]
pub struct EgressParts {
    /// The client's voice.
    pub encoder: Encoder,
    /// Where events go.
    pub outlet: Outlet,
    /// The client's connection.
    pub reader: Arc<dyn Reader>,
    /// Silence before a heartbeat; zero is off.
    pub heartbeat: Duration,
}
