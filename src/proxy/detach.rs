//! Upstream calls that continue when their client leaves.
//!
//! A client that closes its connection cancels its call, unless the dialect says otherwise
//! (`Dialect::survives_client`): such a client cancels with a message, and reconnects for the response.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::tasks;
use crate::upstream::{Answer, Calling, Error, Read};

/// A call up to the head of its response. If it is dropped before and `detaches` is set, the call continues in a task
/// of its own.
pub(super) struct DetachableCall {
    calling: Option<Calling>,
    /// When a call that continues must be over.
    limit: Instant,
    detaches: bool,
}

impl DetachableCall {
    pub(super) fn new(calling: Calling, limit: Instant, detaches: bool) -> Self {
        Self {
            calling: Some(calling),
            limit,
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
            && self.detaches
            && Handle::try_current().is_ok()
        {
            tasks::spawn(read_out(calling, self.limit));
        }
    }
}

/// Waits for the response, and reads and discards all of it.
async fn read_out(calling: Calling, limit: Instant) {
    let reading = async {
        let Ok(mut answer) = calling.await else {
            return;
        };
        while let Ok(Read::Data { .. }) =
            std::future::poll_fn(|cx| answer.body.poll_read(cx, &mut |_| {})).await
        {}
    };
    // A timeout is not an error: the call has used up its time.
    let _ = timeout_at(limit, reading).await;
}
