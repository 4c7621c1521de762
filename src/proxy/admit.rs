//! Phase 1, admit: decides what can be decided from the head alone. Rejects ambiguous requests (request smuggling),
//! requests during drain or overload (load shedding), and requests without a route.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Response, StatusCode, request};
use tokio::time::Instant;

use super::admitted::Admitted;
use super::body_sniff::{self, BodySniff};
use super::reject::{Rejected, Rejection, reject};
use super::{Peer, request_span, validate};
use crate::app::{App, Loaded};
use crate::config::Route;
use crate::dialect::{Choice, Members, RequestHead, detect};
use crate::metrics::RouteMetrics;
use crate::reply::body::Body;
use crate::route;
use crate::session::RequestContext;
use crate::session::identity::Identity;

/// How many characters of a path a log line shows.
const MAX_PATH: usize = 256;

/// Admits a request that may be forwarded, and begins its span. Otherwise returns the response that rejects it.
pub(super) fn admit(
    app: &App,
    peer: &Peer,
    parts: &mut request::Parts,
    started: Instant,
) -> Result<Admitted, Box<Response<Body>>> {
    let loaded = app.loaded();
    let is_crowded = parts.headers.len() > loaded.config.limits.max_headers;
    if is_crowded {
        // The map may be full, and then not even a request id can be added to it.
        parts.headers.clear();
    }
    let identity = Identity::of(&mut parts.headers);
    let query = parts.uri.query().unwrap_or_default();
    let head = RequestHead::new(parts.uri.path(), query, &parts.headers);
    let hint = detect::from_request(&head);
    let path = shown(parts.uri.path());
    let decided = crowded(is_crowded)
        .and_then(|()| check(app, parts))
        .and_then(|()| routed(&loaded, parts));
    let Routed { route, metrics } = decided.map_err(|rejection| {
        let request = Rejected {
            identity: &identity,
            method: &parts.method,
            path: &path,
            client: peer.origin.client,
            version: parts.version,
            dialect: hint,
            members: Members::default(),
            context: None,
            span: None,
        };
        Box::new(reject(&app.metrics, request, &rejection))
    })?;
    let hint = match route.policy.dialect {
        Choice::Auto => hint,
        Choice::Fixed(dialect) => Some(dialect),
    };
    let commits = route.policy.commit_after.is_some();
    let sniff = body_sniff::matters(hint, commits, parts).then(BodySniff::default);
    let detaches = hint.is_some_and(|dialect| dialect.survives_client(parts));
    let subscribes =
        detect::subscribes(parts) || hint.is_some_and(|dialect| dialect.subscribes(parts));
    let context = Arc::new(RequestContext {
        identity,
        client: peer.origin.client,
        method: parts.method.clone(),
        path,
        route,
        metrics,
        started,
    });
    let scheme = peer.origin.scheme;
    let span = request_span::begin(app, &context, &mut parts.headers, scheme);
    Ok(Admitted {
        context,
        loaded,
        hint,
        sniff,
        detaches,
        subscribes,
        span,
        version: parts.version,
    })
}

/// Refuses a head with too many headers. Over HTTP/1.1 the engine does so; over HTTP/2 it counts only their bytes.
fn crowded(is_crowded: bool) -> Result<(), Rejection> {
    if is_crowded {
        return Err(Rejection::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "bad_request",
            "expected no more headers than limits.max_headers allows",
        ));
    }
    Ok(())
}

/// Checks that the head is unambiguous and that the process accepts requests.
fn check(app: &App, parts: &request::Parts) -> Result<(), Rejection> {
    validate::check(parts)?;
    if app.refusing.load(Ordering::Relaxed) {
        return Err(Rejection::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "draining: this instance is shutting down, ask again",
        ));
    }
    if app.memory.is_short() {
        return Err(Rejection::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "overloaded: this instance is short of memory (limits.memory), ask again",
        ));
    }
    Ok(())
}

/// A route and its metrics.
struct Routed {
    route: Arc<Route>,
    metrics: Arc<RouteMetrics>,
}

/// Returns the route of the request, in the configuration that is in force.
fn routed(loaded: &Loaded, parts: &request::Parts) -> Result<Routed, Rejection> {
    let index = route::find(&loaded.config.routes, parts);
    let found = index.and_then(|index| {
        Some(Routed {
            route: Arc::clone(loaded.config.routes.get(index)?),
            metrics: Arc::clone(loaded.metrics.get(index)?),
        })
    });
    match found {
        Some(routed) => Ok(routed),
        None => Err(Rejection::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "no route takes this request",
        )),
    }
}

/// Returns as much of a path as a log line shows.
fn shown(path: &str) -> Arc<str> {
    let end = path.char_indices().nth(MAX_PATH).map(|(end, _)| end);
    end.and_then(|end| path.get(..end)).unwrap_or(path).into()
}
