//! Phase 3, call: calls the upstream and waits for its head, but after `commit_after` a head is sent to the client
//! first.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::admitted::Admitted;
use super::detach::{Bounds, DetachableCall};
use crate::app::App;
use crate::upstream::{Answer, Calling, Error};

/// The outcome of an upstream call.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment, and nearly every call ends with a response"
)]
pub(super) enum Outcome {
    /// The upstream sent the head of a response, or the call failed.
    Answered(Result<Answer, Error>),
    /// `commit_after` has passed, and the client expects a stream: a head is sent to it, and the call continues.
    Commit(Calling),
    /// The process shuts down.
    CutOff,
}

/// Calls the upstream of an admitted request. `total_at` is the deadline of the whole call.
pub(super) async fn call(
    app: &App,
    admitted: &Admitted,
    calling: Calling,
    total_at: Instant,
) -> Outcome {
    let policy = &admitted.context.route.policy;
    // Only the agent can accept a WebSocket.
    let commit_after = (policy.commit_after).filter(|_| admitted.websocket.is_none());
    let bounds = || Bounds {
        total_at,
        idle: policy.deadlines.idle,
        cut: app.cut.subscribe(),
    };
    let detaches = (admitted.detaches.clone()).map(|detaches| (detaches, bounds()));
    let mut calling = DetachableCall::new(calling, detaches);
    tokio::select! {
        result = &mut calling => return Outcome::Answered(result),
        () = app.cut_off() => {
            calling.cancel();
            return Outcome::CutOff;
        }
        () = passed(commit_after) => {}
    }
    if admitted.awaits_stream() {
        return calling
            .into_inner()
            .map_or(Outcome::CutOff, Outcome::Commit);
    }
    tokio::select! {
        result = &mut calling => Outcome::Answered(result),
        () = app.cut_off() => {
            calling.cancel();
            Outcome::CutOff
        }
    }
}

/// Is ready after `limit`; never if there is no limit.
async fn passed(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => pending().await,
    }
}
