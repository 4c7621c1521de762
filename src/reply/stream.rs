//! A stream as its client's connection sees it: what to write next, and the pump that brings it.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::metrics::{RouteMetrics, STALL};
use crate::queue::{Close, Next, Receiver};
use crate::stream::pump::Running;
use crate::tasks;

/// Guards that count what is under way.
pub(super) type Held = Box<dyn Send + Sync>;

/// A stream on its way to its client. It does not flow before somebody drives it or releases it.
#[repr(C)]
pub(crate) struct Stream {
    /// `None` when it is over, or runs in a task of its own.
    pump: Option<Running>,
    /// Nothing is left in the queue, and nothing can come before the pump has run again.
    drained: bool,
    /// The preamble has left.
    begun: bool,
    queue: Receiver,
    metrics: Arc<RouteMetrics>,
    /// Goes first, as it is.
    preamble: Bytes,
    /// Dropped with it.
    held: Option<Held>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Took {
    /// Bytes to write.
    Some,
    /// The end, for ever.
    End(Close),
}

impl Stream {
    pub(super) const fn new(
        queue: Receiver,
        pump: Running,
        metrics: Arc<RouteMetrics>,
        preamble: Bytes,
    ) -> Self {
        Self {
            pump: Some(pump),
            drained: false,
            begun: preamble.is_empty(),
            queue,
            metrics,
            preamble,
            held: None,
        }
    }

    /// Drops `held` when it is dropped itself.
    pub(super) fn keep(&mut self, held: Option<Held>) {
        self.held = held;
    }

    /// Runs the pump in the caller's task, which saves a wake-up for each read. To be called whenever the task
    /// wakes up, whether or not the client takes anything: the pump keeps the stream's deadlines.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        self.drained = false;
        if let Some(pump) = &mut self.pump
            && pump.as_mut().poll(cx).is_ready()
        {
            self.pump = None;
        }
    }

    /// Runs the pump in a task of its own: nobody here may be there when it has something to do.
    pub(crate) fn release(&mut self) {
        self.drained = false;
        if let Some(pump) = self.pump.take()
            && Handle::try_current().is_ok()
        {
            tasks::spawn(pump);
        }
    }

    /// Appends what is to be written next to `out`: whole events, at most `max_bytes` unless one is larger.
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Poll<Took> {
        if self.drained {
            return Poll::Pending;
        }
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&std::mem::take(&mut self.preamble));
            return Poll::Ready(Took::Some);
        }
        // With its pump in this task a stream needs nobody to wake it.
        let mut asleep = Context::from_waker(Waker::noop());
        let alone = self.pump.is_some();
        let cx = if alone { &mut asleep } else { cx };
        self.queue
            .poll_next(cx, max_bytes, out)
            .map(|next| match next {
                Next::Data { waited, aged, last } => {
                    self.drained = last && alone;
                    if waited > STALL {
                        self.metrics.client_stall.observe(waited.as_secs_f64());
                    }
                    self.metrics.added.observe(aged.as_secs_f64());
                    Took::Some
                }
                Next::End(close) => Took::End(close),
            })
    }
}

impl Drop for Stream {
    /// The pump still has to say how the stream ended, and to end the upstream call.
    fn drop(&mut self) {
        self.release();
    }
}
