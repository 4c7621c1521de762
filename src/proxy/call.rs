//! Phase 3, call: the upstream is called and its head awaited, or the client's head goes out first.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::admitted::Admitted;
use super::detach::DetachableCall;
use crate::app::App;
use crate::upstream::{Answer, Calling, Error};

/// What came of a call.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment, and nearly every call ends with a response"
)]
pub(super) enum Outcome {
    /// The head of a response, or a failure.
    Answered(Result<Answer, Error>),
    /// `commit_after` has passed, and the client waits for a stream: its head goes out, the call goes on.
    Commit(Calling),
    /// The process goes away.
    CutOff,
}

/// Calls the upstream of an admitted request; `total_at` is when the call must be over at the latest.
pub(super) async fn call(
    app: &App,
    admitted: &Admitted,
    calling: Calling,
    total_at: Instant,
    accepts_stream: bool,
) -> Outcome {
    let commit_after = admitted.context.route.policy.commit_after;
    let mut calling = DetachableCall::new(calling, total_at, admitted.detaches);
    tokio::select! {
        result = &mut calling => return Outcome::Answered(result),
        () = app.cut_off() => {
            calling.cancel();
            return Outcome::CutOff;
        }
        () = passed(commit_after) => {}
    }
    if admitted.awaits_stream(accepts_stream) {
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

/// Ready after `limit`; without one never.
async fn passed(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => pending().await,
    }
}
