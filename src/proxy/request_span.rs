//! The span of a request, where spans are exported: begun once a route took it, ended with its answer.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::call::Call;
use super::identity::TRACEPARENT;
use super::source;
use crate::app::App;
use crate::body_deadline::BodyDeadline;
use crate::client_conn::{ClientConn, Overdue};
use crate::reply::body::Witness;
use crate::stream::end::End;
use crate::traces::{Parent, Request, Span, Traces};
use crate::upstream::Broken;

impl Call {
    /// Begins the span. The upstream is told of it, as the parent of its own.
    pub(super) fn record(
        &mut self,
        traces: &Traces,
        headers: &mut HeaderMap,
        scheme: &'static str,
    ) {
        let request = Request {
            route: self.route.name.clone(),
            method: self.method.clone(),
            scheme,
            path: self.path.clone(),
            request_id: self.identity.request_id.clone(),
            started: self.started,
        };
        let given = Parent {
            traceparent: self.identity.traceparent(),
            is_own: self.identity.is_own,
            headers,
        };
        let (span, told) = traces.begin(given, request);
        self.span = span;
        if let Some(traceparent) = told {
            headers.insert(TRACEPARENT, traceparent);
        }
    }

    /// Ends the span with an answer of Weir's own.
    pub(super) fn ended(&mut self, code: &'static str, status: StatusCode) {
        if let Some(span) = self.span.take() {
            span.failed(code, self.asked_for(), status);
        }
    }

    /// Ends the span of an answer that is no stream with its body.
    pub(super) fn passing(
        &mut self,
        app: &Arc<App>,
        status: StatusCode,
        bounds: Option<Arc<BodyDeadline>>,
    ) -> Option<Box<dyn Witness>> {
        let mut span = self.span.take()?;
        span.passing(self.asked_for(), status);
        Some(Box::new(Passing {
            span,
            is_over: false,
            app: Arc::clone(app),
            conn: Arc::clone(&self.conn),
            bounds,
        }))
    }
}

/// The span of a plain answer whose body is on its way.
struct Passing {
    span: Span,
    /// How the body ended is told.
    is_over: bool,
    app: Arc<App>,
    conn: Arc<ClientConn>,
    /// Of a shared connection.
    bounds: Option<Arc<BodyDeadline>>,
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
    /// Why the body was given up.
    fn why(&self) -> End {
        let missed = self.bounds.as_ref().and_then(|bounds| bounds.missed());
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
        // Of a panic the span tells by itself.
        if !self.is_over && !std::thread::panicking() {
            self.span.cut(self.why());
        }
    }
}
