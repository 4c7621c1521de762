//! The span of a request, if spans are exported: begins when the request has a route, and ends with the response.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::admitted::Admitted;
use crate::app::App;
use crate::body_deadline::BodyDeadline;
use crate::client_conn::{ClientConn, Overdue};
use crate::reply::body::Witness;
use crate::session::RequestContext;
use crate::session::identity::TRACEPARENT;
use crate::session::source;
use crate::stream::end::End;
use crate::tasks;
use crate::traces::{Parent, Request, Span};
use crate::upstream::Broken;

/// Begins the span of an admitted request. The upstream gets it in `traceparent`, as the parent of its own span.
pub(super) fn begin(
    app: &App,
    context: &RequestContext,
    headers: &mut HeaderMap,
    scheme: &'static str,
) -> Option<Span> {
    let traces = app.traces.as_ref()?;
    let request = Request {
        route: Arc::clone(&context.route.name),
        method: context.method.clone(),
        scheme,
        path: Arc::clone(&context.path),
        request_id: context.identity.request_id.clone(),
        started: context.started,
    };
    let parent = Parent {
        traceparent: context.identity.traceparent(),
        is_own: context.identity.is_own,
        headers,
    };
    let (span, traceparent) = traces.begin(parent, request);
    if let Some(traceparent) = traceparent {
        headers.insert(TRACEPARENT, traceparent);
    }
    span
}

/// Hands the span of a response that is not a stream to a witness, which ends it with the body.
pub(super) fn passing(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    admitted: &mut Admitted,
    status: StatusCode,
    deadline: Option<Arc<BodyDeadline>>,
) -> Option<Box<dyn Witness>> {
    let mut span = admitted.span.take()?;
    span.passing(admitted.asked_for(), status);
    Some(Box::new(Passing {
        span,
        is_over: false,
        app: Arc::clone(app),
        conn: Arc::clone(conn),
        deadline,
    }))
}

/// The span of a plain response whose body is being sent.
struct Passing {
    span: Span,
    /// The end of the body has been recorded.
    is_over: bool,
    app: Arc<App>,
    conn: Arc<ClientConn>,
    /// The deadlines of the body, on a shared connection.
    deadline: Option<Arc<BodyDeadline>>,
}

impl Witness for Passing {
    fn ended(&mut self, how: Result<(), &Broken>) {
        self.is_over = true;
        match how {
            Ok(()) => self.span.passed(),
            Err(broken) => self.span.cut(source::broken(broken)),
        }
    }
}

impl Passing {
    /// Returns why the body was abandoned.
    fn why(&self) -> End {
        let missed = self
            .deadline
            .as_ref()
            .and_then(|deadline| deadline.missed());
        match missed.or_else(|| self.conn.overdue(Instant::now())) {
            Some(Overdue::Total) => End::TotalTimeout,
            Some(Overdue::Stalled) => End::ClientStalled,
            _ if *self.app.cut.borrow() => End::Drained,
            _ => End::ClientGone,
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // The span itself records a panic.
        if !self.is_over && !tasks::is_failing() {
            self.span.cut(self.why());
        }
    }
}
