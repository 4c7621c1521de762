//! Phase 1, admit: decides what can be decided from the head alone. Rejects ambiguous requests (request smuggling),
//! requests during drain or overload (load shedding), those beyond `limits.max_requests`, and requests without a route.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Method, Response, StatusCode, request};
use tokio::time::Instant;

use super::admitted::Admitted;
use super::body_sniff::{self, BodySniff};
use super::bridged::Bridged;
use super::own_answer::Answer;
use super::reject::{Counted, Refused, Rejected, reject};
use super::upgrade_request::{self, UpgradeRequest};
use super::{Peer, choose_reply, loops, metadata, request_span, validate};
use crate::app::{App, InProgress, Loaded};
use crate::capacity::Entered;
use crate::config::Route;
use crate::dialect::{Choice, Members, RequestHead, detect};
use crate::metrics::{Refusal, RouteMetrics};
use crate::reply::body::Body;
use crate::route;
use crate::session::detached::Detachable;
use crate::session::identity::Identity;
use crate::session::{AskedModel, RequestContext};

/// About how many headers Weir adds to a request: a map that grows is built anew.
const ADDED: usize = 8;
/// How many characters of a path a log line shows.
const MAX_PATH: usize = 256;

/// Admits a request that may be forwarded, and begins its span. Otherwise returns the response that rejects it: in the
/// form that `form` returns for the status, if it returns any. `under_way` counts the request as in progress.
pub(super) fn admit(
    app: &App,
    peer: &Peer,
    parts: &mut request::Parts,
    started: Instant,
    under_way: &Arc<InProgress>,
    form: impl FnOnce(&request::Parts, StatusCode) -> Option<Answer>,
) -> Result<Admitted, Box<Response<Body>>> {
    let loaded = app.loaded();
    // Only spares time: if it fails, there may still be room for what is really added.
    let _ = parts.headers.try_reserve(ADDED);
    let identity = Identity::of(&mut parts.headers);
    let query = parts.uri.query().unwrap_or_default();
    let head = RequestHead::new(parts.uri.path(), query, &parts.headers);
    let hint = detect::from_request(&head);
    let single_reply = hint.filter(|dialect| dialect.has_single_reply(&head));
    let path = shown(parts.uri.path());
    let decided = check(app, peer, parts, false).and_then(|entered| {
        let routed = routed(&loaded, parts)?;
        loops::check(&app.hop, &routed.route, &parts.headers)?;
        upgrade_request::allowed(&routed.route, parts)?;
        Ok((entered, routed))
    });
    let decided = decided.and_then(|(entered, routed)| {
        let target = match parts.extensions.get::<Bridged>() {
            Some(bridged) => Some(bridged.target),
            None => choose_reply::choose(&routed.route.policy.reply, parts)?,
        };
        let complete = &loaded.config.complete;
        let metadata = metadata::take(complete, &routed.route.name, &mut parts.headers)?;
        Ok((entered, routed, target, metadata))
    });
    let (entered, Routed { route, metrics }, target, metadata) = decided.map_err(|refused| {
        let request = Rejected {
            identity: &identity,
            method: &parts.method,
            path: &path,
            client: peer.origin.client,
            started,
            version: parts.version,
            dialect: hint,
            members: Members::default(),
            counted: Counted::Refused(&app.metrics, refused.code),
            answer: form(parts, refused.status),
            span: None,
        };
        Box::new(reject(request, &refused.into()))
    })?;
    let hint = match route.policy.dialect {
        Choice::Auto => hint,
        Choice::Fixed(dialect) => Some(dialect),
    };
    let policy = &route.policy;
    let decides = policy.commit_after.is_some() || policy.reply.unstreams;
    let sniff = body_sniff::matters(hint, decides, parts).then(BodySniff::default);
    let entered = Arc::new(entered);
    let websocket = parts.extensions.get::<UpgradeRequest>().cloned();
    let survives =
        websocket.is_none() && hint.is_some_and(|dialect| dialect.survives_client(parts));
    let detaches = survives.then(|| {
        let held = (Arc::clone(&entered), Arc::clone(under_way));
        let max = loaded.config.limits.max_detached;
        Detachable::new(&app.detached, peer.origin.client, max, Arc::new(held))
    });
    let subscribes =
        detect::subscribes(parts) || hint.is_some_and(|dialect| dialect.subscribes(parts));
    // Several agents have paths of their own.
    let single_reply = single_reply.is_some() && single_reply == hint && route.merge.is_none();
    let context = Arc::new(RequestContext {
        identity,
        client: peer.origin.client,
        method: parts.method.clone(),
        path,
        metadata,
        route,
        metrics,
        started,
    });
    let scheme = peer.origin.scheme;
    let span = request_span::begin(app, &context, &mut parts.headers, scheme);
    let is_measured = parts.method == Method::POST && app.metrics.gen_ai().is_some();
    let asked_model = is_measured.then(AskedModel::default);
    Ok(Admitted {
        entered,
        context,
        loaded,
        hint,
        sniff,
        asked_model,
        detaches,
        subscribes,
        single_reply,
        target,
        aggregates: false,
        accepts_stream: body_sniff::accepts_stream(parts),
        websocket,
        span,
        version: parts.version,
    })
}

/// Checks that the head is unambiguous and that the process accepts requests, and counts one more. `returns`: the
/// request is for a stream that has begun, which is served while the process drains.
pub(super) fn check(
    app: &App,
    peer: &Peer,
    parts: &request::Parts,
    returns: bool,
) -> Result<Entered, Refused> {
    let limits = app.loaded().config.limits;
    validate::check(parts)?;
    if !returns && app.refusing.load(Ordering::Relaxed) {
        return Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Draining,
            "draining: this instance is shutting down, ask again",
        ));
    }
    if app.memory.is_short() {
        return Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Overloaded,
            "overloaded: this instance is short of memory (limits.memory), ask again",
        ));
    }
    let entered = app.admitted.enter(limits.max_requests, &peer.conn.share);
    entered.map_err(|full| Refused::too_many("max_requests", limits.max_requests, full))
}

/// A route and its metrics.
struct Routed {
    route: Arc<Route>,
    metrics: Arc<RouteMetrics>,
}

/// Returns the route of the request, in the configuration that is in force.
fn routed(loaded: &Loaded, parts: &request::Parts) -> Result<Routed, Refused> {
    if let Some(bridged) = parts.extensions.get::<Bridged>() {
        return Ok(Routed {
            route: Arc::clone(&bridged.route),
            metrics: Arc::clone(&bridged.metrics),
        });
    }
    let index = route::find(&loaded.config.routes, parts);
    let found = index.and_then(|index| {
        Some(Routed {
            route: Arc::clone(loaded.config.routes.get(index)?),
            metrics: Arc::clone(loaded.metrics.get(index)?),
        })
    });
    match found {
        Some(routed) => Ok(routed),
        None => Err(Refused::new(
            StatusCode::NOT_FOUND,
            Refusal::NotFound,
            "no route takes this request",
        )),
    }
}

/// Returns as much of a path as a log line shows.
pub(super) fn shown(path: &str) -> Arc<str> {
    let end = path.char_indices().nth(MAX_PATH).map(|(end, _)| end);
    end.and_then(|end| path.get(..end)).unwrap_or(path).into()
}
