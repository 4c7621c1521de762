//! Upstream calls that go on when their client leaves.
//!
//! Closing the connection cancels a call, except where the dialect says otherwise (`Dialect::survives_client`): there the
//! client sends a message to cancel, and comes back for the response.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::tasks;
use crate::upstream::{Answer, Calling, Error, Read};

/// A call up to the head of its answer. Dropped before that, it goes on by itself if it is to outlive its client.
pub(super) struct DetachableCall {
    calling: Option<Calling>,
    /// Until when at most.
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

    /// The call by itself.
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

/// Waits for the answer and reads all of it, for nobody.
async fn read_out(calling: Calling, limit: Instant) {
    let reading = async {
        let Ok(mut answer) = calling.await else {
            return;
        };
        while let Ok(Read::Data { .. }) =
            std::future::poll_fn(|cx| answer.body.poll_read(cx, &mut |_| {})).await
        {}
    };
    // It has had its time.
    let _ = timeout_at(limit, reading).await;
}
