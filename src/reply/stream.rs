//! A stream as the client's connection sees it: the bytes to write next, and the pump that produces them.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::StatusCode;
use tokio::runtime::Handle;

use crate::metrics::{RouteMetrics, STALL};
use crate::queue::{Close, Next, Receiver, Then};
use crate::stream::pump::Running;
use crate::tasks;

/// Guards that count what is in progress.
pub(super) type Held = Box<dyn Send + Sync>;

/// A stream that is sent to its client. It does not run until it is driven or released.
#[repr(C)]
pub(crate) struct Stream {
    /// `None` when the pump has ended, or runs in a task of its own.
    pump: Option<Running>,
    /// The queue is empty, and stays empty until the pump has run again.
    drained: bool,
    /// What follows what was taken last.
    then: Then,
    queue: Receiver,
    metrics: Arc<RouteMetrics>,
    /// Sent first, unchanged, if there is one. Boxed, because it does not stay.
    preamble: Option<Box<Bytes>>,
    /// Dropped with the stream.
    held: Option<Held>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// What comes next in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Took {
    /// Bytes to write.
    Some,
    /// A large event to write, in its own buffer.
    Large(Vec<u8>),
    /// The end. Every later call returns it again.
    End(Close),
}

impl Stream {
    pub(super) fn new(
        queue: Receiver,
        pump: Running,
        metrics: Arc<RouteMetrics>,
        preamble: Bytes,
    ) -> Self {
        Self {
            pump: Some(pump),
            drained: false,
            then: Then::Waits,
            queue,
            metrics,
            preamble: (!preamble.is_empty()).then(|| Box::new(preamble)),
            held: None,
        }
    }

    /// Reports whether only a clean end follows what was taken last.
    pub(crate) const fn ends(&self) -> bool {
        matches!(self.then, Then::Ends)
    }

    /// Keeps `held` until the stream is dropped.
    pub(super) fn keep(&mut self, held: Option<Held>) {
        self.held = held;
    }

    /// Runs the pump in the caller's task, which saves a wake-up for each read. Must be called whenever the task wakes
    /// up, whether or not the client takes anything, because the pump enforces the stream's deadlines.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        self.drained = false;
        if let Some(pump) = &mut self.pump
            && pump.as_mut().poll(cx).is_ready()
        {
            self.pump = None;
        }
    }

    /// Runs the pump until the queue is closed. Returns the status of a response that says how the stream has failed,
    /// if it has.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Option<StatusCode>> {
        self.drive(cx);
        loop {
            if let Poll::Ready(failed) = self.queue.poll_closed(cx) {
                return Poll::Ready(failed);
            }
            // Before its end there are only heartbeats, which are not due before the head.
            let taken = self.queue.poll_next(cx, usize::MAX, &mut Vec::new());
            if !matches!(taken, Poll::Ready(Next::Data { .. })) {
                return Poll::Pending;
            }
        }
    }

    /// Moves the pump to a task of its own, because the caller's task may not be polled when the pump has work to do.
    pub(crate) fn release(&mut self) {
        self.drained = false;
        if let Some(pump) = self.pump.take()
            && Handle::try_current().is_ok()
        {
            tasks::spawn(pump);
        }
    }

    /// Appends what must be written next to `out`: whole events, at most `max_bytes` unless a single event is larger. A
    /// large event is returned instead.
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Poll<Took> {
        if self.drained {
            return Poll::Pending;
        }
        if let Some(preamble) = self.preamble.take() {
            out.extend_from_slice(&preamble);
            return Poll::Ready(Took::Some);
        }
        // If the pump runs in this task, the queue does not need to wake the task.
        let mut asleep = Context::from_waker(Waker::noop());
        let alone = self.pump.is_some() && !self.queue.is_fed_elsewhere();
        let cx = if alone && !self.queue.holds_back() {
            &mut asleep
        } else {
            cx
        };
        self.queue
            .poll_next(cx, max_bytes, out)
            .map(|next| match next {
                Next::Data {
                    waited,
                    aged,
                    then,
                    large,
                } => {
                    self.drained = then == Then::Waits && alone;
                    self.then = then;
                    if waited > STALL {
                        self.metrics.client_stall.observe(waited.as_secs_f64());
                    }
                    self.metrics.added.observe(aged);
                    if large.is_empty() {
                        Took::Some
                    } else {
                        Took::Large(large)
                    }
                }
                Next::End(close) => Took::End(close),
            })
    }
}

impl Drop for Stream {
    /// Lets the pump run on: it still has to report how the stream ended, and to end the upstream call. After a panic
    /// the pump is dropped as well, and reports that.
    fn drop(&mut self) {
        if tasks::is_failing() {
            self.pump = None;
        }
        self.release();
    }
}
