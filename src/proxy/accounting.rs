//! Phase 5, account: counts and times a request until it has a response.

use std::sync::Arc;

use http::StatusCode;

use super::admitted::Admitted;
use crate::app::App;
use crate::end::End;
use crate::log::access::Line;
use crate::session::RequestContext;
use crate::session::detached::Detachable;
use crate::session::request_line::{Grade, RequestLine};
use crate::tasks;
use crate::upstream::Answer;

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The upstream is called.
    Call,
    /// Nothing of it has reached an upstream.
    Prepare,
}

/// Returns a guard that, when dropped, counts and logs that there was no response: the client left before, or a panic
/// ended the request.
pub(super) fn leaving(
    app: &App,
    admitted: &Admitted,
    phase: Phase,
) -> OnDrop<impl FnOnce() + Send + Sync + use<>> {
    let (context, metrics) = (Arc::clone(&admitted.context), Arc::clone(&app.metrics));
    let detaches = admitted.detaches.clone();
    OnDrop::new(move || {
        if tasks::is_failing() {
            metrics.panics.inc();
            context
                .metrics
                .request("unary", StatusCode::INTERNAL_SERVER_ERROR);
        } else {
            // The call was dropped before this guard, so it has decided whether it continues.
            let continues = (detaches.as_ref()).is_some_and(Detachable::is_detached);
            // Without a call there is none that is cancelled.
            context.metrics.left(continues || phase == Phase::Prepare);
        }
        unanswered(RequestLine::of(&context, End::ClientGone.as_str()));
    })
}

/// Writes the log line of a request that is dropped without a response.
pub(super) fn unanswered(line: RequestLine<'_>) {
    if tasks::is_failing() {
        let failed = RequestLine {
            outcome: End::Panic.as_str(),
            grade: Grade::Error,
            ..line
        };
        failed.write(Line::Failure, "a request ended without an answer");
    } else {
        line.write(Line::Failure, "client left before an answer");
    }
}

/// Records how long the head of a response took, and the connection setup if the connection was new.
pub(super) fn head(context: &RequestContext, answer: &Answer) {
    let metrics = &context.metrics;
    let waited = answer.sent.elapsed().as_secs_f64();
    metrics.headers_seconds.observe(waited);
    if answer.repeated {
        metrics.repeats.inc();
    }
    if let Some(connected) = answer.connected {
        metrics.connect_seconds.observe(connected.as_secs_f64());
    }
}

/// Runs a closure once, when dropped.
#[must_use]
pub(super) struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub(super) const fn new(run: F) -> Self {
        Self(Some(run))
    }

    /// Drops the guard without running the closure.
    pub(super) fn forget(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}
