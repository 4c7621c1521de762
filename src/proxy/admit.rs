//! What can be refused without asking anybody: two readings, draining, wrong methods, upgrades, no route.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderValue, Method, Response, StatusCode, Version, header, request};
use tokio::time::Instant;

use super::call::Call;
use super::identity::Identity;
use super::{Peer, edge, errors};
use crate::app::App;
use crate::dialect::{Choice, detect};
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
    let hint = detect::from_request(parts.uri.path(), &parts.headers);
    if let Err(refusal) = edge::check(parts) {
        let mut response = errors::response(hint, refusal.status, refusal.code, refusal.message);
        if parts.version <= Version::HTTP_11 {
            // Where this request ends is not certain, so nothing after it is one.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        return Err(Box::new(response));
    }
    if app.refusing.load(Ordering::Relaxed) {
        let message = "draining: this instance is shutting down, ask again";
        let code = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Box::new(errors::response(hint, code, "draining", message)));
    }
    if parts.method == Method::CONNECT {
        return Err(Box::new(errors::response(
            hint,
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "CONNECT is not served here",
        )));
    }
    let upgrade = parts
        .headers
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok());
    if upgrade.is_some_and(|value| !value.to_ascii_lowercase().starts_with("h2c")) {
        let message = "upgrades (WebSocket and others) are not supported by this version of Weir";
        return Err(Box::new(errors::response(
            hint,
            StatusCode::NOT_IMPLEMENTED,
            "upgrade_not_supported",
            message,
        )));
    }
    let loaded = app.loaded();
    let index = route::find(&loaded.config.routes, parts);
    let found = index
        .and_then(|index| Some((loaded.config.routes.get(index)?, loaded.metrics.get(index)?)));
    let Some((route, metrics)) =
        found.map(|(route, metrics)| (Arc::clone(route), Arc::clone(metrics)))
    else {
        return Err(Box::new(errors::response(
            hint,
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
    Ok(Call {
        loaded,
        route,
        metrics,
        hint,
        started,
        is_head,
        identity,
        client: peer.origin.client,
        link: Arc::clone(&peer.link),
        method: parts.method.clone(),
        path: parts.uri.path().chars().take(MAX_PATH).collect(),
    })
}
