//! The span of a request, where spans are exported: begun once a route took it, ended with its answer.

use http::{HeaderMap, StatusCode};

use super::call::Call;
use super::identity::TRACEPARENT;
use crate::traces::{Given, Request, Span, Traces};

impl Call {
    /// Begins the span. The upstream is told of it, as the parent of its own.
    pub(super) fn record(&mut self, traces: &Traces, headers: &mut HeaderMap) {
        let request = Request {
            route: self.route.name.clone(),
            method: self.method.clone(),
            path: self.path.clone(),
            request_id: self.identity.request_id.clone(),
            started: self.started,
        };
        let given = Given {
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

    /// The span of an answer that is no stream: it ends when it is dropped.
    pub(super) fn passing(&mut self, status: StatusCode) -> Option<Span> {
        let mut span = self.span.take()?;
        span.passing(self.asked_for(), status);
        Some(span)
    }
}
