//! Upstream calls that go on when their client leaves.
//!
//! Up to its revision 2025-11-25 MCP says that a closed connection is no cancellation: the client sends a message
//! when it means one, and comes back for the answer. From 2026-07-28 on closing the stream is how to cancel.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, request};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::dialect::Dialect;
use crate::tasks;
use crate::upstream::{Answer, Error, Read};

/// The first revision of MCP in which a client cancels by leaving.
const LEAVING_CANCELS: &str = "2026-07-28";

/// Whether a request is one whose answer is wanted even if its client leaves. A listening `GET` is none.
pub(super) fn applies(hint: Option<Dialect>, parts: &request::Parts) -> bool {
    let revision = parts.headers.get("mcp-protocol-version");
    let revision = revision.map(|value| value.to_str().unwrap_or_default());
    // Without a revision the oldest is meant.
    let is_old = revision.is_none_or(|revision| revision < LEAVING_CANCELS);
    hint == Some(Dialect::Mcp) && parts.method == Method::POST && is_old
}

pub(super) type Calling = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

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
