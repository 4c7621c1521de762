//! Phase 5, account: counts and times a request apart from its stream.

use std::sync::Arc;

use http::StatusCode;

use super::admitted::Admitted;
use crate::app::App;
use crate::session::RequestContext;
use crate::session::accounting::millis;
use crate::session::detached::Detachable;
use crate::stream::end::End;
use crate::tasks;
use crate::upstream::Answer;

/// Returns a guard that, when dropped, counts and logs that there was no response: the client left before, or a panic
/// ended the request.
pub(super) fn leaving(
    app: &App,
    admitted: &Admitted,
) -> OnDrop<impl FnOnce() + Send + Sync + use<>> {
    let (context, metrics) = (Arc::clone(&admitted.context), Arc::clone(&app.metrics));
    let detaches = admitted.detaches.clone();
    OnDrop(Some(move || {
        macro_rules! line {
            ($level:ident, $end:expr, $words:literal) => {
                tracing::$level!(
                    request_id = context.identity.request_id.to_str().unwrap_or_default(),
                    trace_id = context.identity.trace_id(),
                    route = %context.route.name,
                    client = context.client.map(tracing::field::display),
                    method = %context.method,
                    path = &*context.path,
                    outcome = $end.as_str(),
                    duration_ms = millis(context.started.elapsed()),
                    $words
                )
            };
        }
        if tasks::is_failing() {
            metrics.panics.inc();
            context
                .metrics
                .request("unary", StatusCode::INTERNAL_SERVER_ERROR);
            line!(error, End::Panic, "a request ended without an answer");
        } else {
            // The call was dropped before this guard, so it has decided whether it continues.
            let continues = (detaches.as_ref()).is_some_and(Detachable::is_detached);
            context.metrics.left(continues);
            line!(info, End::ClientGone, "client left before an answer");
        }
    }))
}

/// Returns a guard that, when dropped, records how long a plain response took.
pub(super) fn timed(
    app: &App,
    context: &Arc<RequestContext>,
) -> OnDrop<impl FnOnce() + Send + Sync + use<>> {
    let (context, metrics) = (Arc::clone(context), Arc::clone(&app.metrics));
    OnDrop(Some(move || {
        let seconds = context.started.elapsed().as_secs_f64();
        context.metrics.request_seconds.observe(seconds);
        if tasks::is_failing() {
            metrics.panics.inc();
        }
    }))
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
