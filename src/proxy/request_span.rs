//! The span of a request, if spans are exported: begins when the request has a route, and ends with the response.

use std::sync::Arc;

use http::HeaderMap;

use crate::app::App;
use crate::session::RequestContext;
use crate::session::identity::TRACEPARENT;
use crate::traces::{Parent, Request, Span};

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
