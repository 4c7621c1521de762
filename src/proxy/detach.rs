//! Upstream calls that continue when their client leaves.
//!
//! A client that closes its connection cancels its call, unless the dialect says otherwise
//! (`Dialect::survives_client`): such a client cancels with a message, and reconnects for the response. Such a call
//! continues if there is room for it (`limits.max_detached`), until its response was read, a deadline passes, or the
//! process shuts down. Once the response has turned out to be a stream, its pump does the same.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::session::detached::{Detachable, DetachedCall};
use crate::tasks;
use crate::upstream::{Answer, Calling, Error, Read};

/// How long a call may continue without its client.
pub(super) struct Bounds {
    /// The deadline of the whole call.
    pub(super) total_at: Instant,
    /// Longest silence within the body of the response. `deadlines.head` limits the wait for its head.
    pub(super) idle: Duration,
    /// Set when the process shuts down.
    pub(super) cut: watch::Receiver<bool>,
}

/// A call up to the head of its response. If it is dropped before and may continue, it does so in a task of its own.
pub(super) struct DetachableCall {
    calling: Option<Calling>,
    detaches: Option<(Detachable, Bounds)>,
}

impl DetachableCall {
    /// Creates a call that may continue within the given bounds; `None` if it is cancelled with its client.
    pub(super) const fn new(calling: Calling, detaches: Option<(Detachable, Bounds)>) -> Self {
        Self {
            calling: Some(calling),
            detaches,
        }
    }

    /// Returns the call itself.
    pub(super) fn into_inner(mut self) -> Option<Calling> {
        self.calling.take()
    }

    /// Ends the call.
    pub(super) fn cancel(mut self) {
        self.calling = None;
    }
}

impl Future for DetachableCall {
    type Output = Result<Answer, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(calling) = &mut self.calling else {
            return Poll::Pending;
        };
        let answer = calling.as_mut().poll(cx);
        if answer.is_ready() {
            self.calling = None;
        }
        answer
    }
}

impl Drop for DetachableCall {
    fn drop(&mut self) {
        if let Some(calling) = self.calling.take()
            && let Some((detaches, bounds)) = self.detaches.take()
            && Handle::try_current().is_ok()
            && let Some(detached) = detaches.detach()
        {
            tasks::spawn(read_out(calling, bounds, detached));
        }
    }
}

/// Waits for the response, and reads and discards all of it. `_detached` counts the call meanwhile.
async fn read_out(calling: Calling, bounds: Bounds, _detached: DetachedCall) {
    let Bounds {
        total_at,
        idle,
        mut cut,
    } = bounds;
    let reading = async {
        let Ok(mut answer) = calling.await else {
            return;
        };
        loop {
            let read = poll_fn(|cx| answer.body.poll_read(cx, &mut |_| {}));
            let Ok(Ok(Read::Data { .. })) = timeout(idle, read).await else {
                return;
            };
        }
    };
    tokio::select! {
        // A timeout is not an error: the call has used up its time.
        _ = timeout_at(total_at, reading) => {}
        // The sender lives as long as the process.
        _ = cut.wait_for(|cut| *cut) => {}
    }
}
