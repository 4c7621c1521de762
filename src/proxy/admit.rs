//! What can be refused without asking anybody: two readings, draining, wrong methods, upgrades, no route.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderValue, Method, Response, StatusCode, Version, header, request};
use tokio::time::Instant;

use super::body_sniff::{self, BodySniff};
use super::call::Call;
use super::identity::Identity;
use super::validate::{self, Rejection};
use super::{Peer, detach, errors};
use crate::app::App;
use crate::dialect::{Choice, Members, RequestHead, detect};
use crate::reply::body::Body;
use crate::route;

/// Characters of a path that stand in a log line.
const MAX_PATH: usize = 256;

/// A request that may be forwarded, or the answer that it gets instead.
pub(super) fn admit(
    app: &App,
    peer: &Peer,
    parts: &request::Parts,
    identity: Identity,
    started: Instant,
) -> Result<Call, Box<Response<Body>>> {
    let query = parts.uri.query().unwrap_or_default();
    let hint = detect::from_request(&RequestHead::new(parts.uri.path(), query, &parts.headers));
    let refuse = |refusal: Rejection| {
        app.metrics.refused(refusal.code);
        let (method, path) = (&parts.method, shown(parts.uri.path()));
        tracing::debug!(code = refusal.code, %method, path = &*path, client = ?peer.origin.client, "request refused");
        let nothing = Members::default();
        let mut response = errors::response(
            hint,
            &nothing,
            refusal.status,
            refusal.code,
            refusal.message,
        );
        if refusal.closes && parts.version <= Version::HTTP_11 {
            // Where this request ends is not certain, so nothing after it is one.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Box::new(response)
    };
    validate::check(parts).map_err(refuse)?;
    if app.refusing.load(Ordering::Relaxed) {
        return Err(refuse(Rejection::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "draining: this instance is shutting down, ask again",
        )));
    }
    if app.memory.is_short() {
        return Err(refuse(Rejection::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "overloaded: this instance is short of memory (limits.memory), ask again",
        )));
    }
    let loaded = app.loaded();
    let index = route::find(&loaded.config.routes, parts);
    let found = index
        .and_then(|index| Some((loaded.config.routes.get(index)?, loaded.metrics.get(index)?)));
    let Some((route, metrics)) =
        found.map(|(route, metrics)| (Arc::clone(route), Arc::clone(metrics)))
    else {
        return Err(refuse(Rejection::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "no route takes this request",
        )));
    };
    let hint = match route.policy.dialect {
        Choice::Auto => hint,
        Choice::Fixed(dialect) => Some(dialect),
    };
    let is_head = parts.method == Method::HEAD;
    let commits = route.policy.commit_after.is_some();
    let sniff = body_sniff::matters(hint, commits, parts).then(BodySniff::default);
    Ok(Call {
        loaded,
        route,
        metrics,
        hint,
        sniff,
        detaches: detach::applies(hint, parts),
        started,
        is_head,
        identity,
        client: peer.origin.client,
        conn: Arc::clone(&peer.conn),
        span: None,
        method: parts.method.clone(),
        path: shown(parts.uri.path()),
    })
}

/// As much of a path as stands in a log line.
fn shown(path: &str) -> Arc<str> {
    let end = path.char_indices().nth(MAX_PATH).map(|(end, _)| end);
    end.and_then(|end| path.get(..end)).unwrap_or(path).into()
}
