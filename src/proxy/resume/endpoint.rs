//! `/.weir/streams/{id}`: reads a stream again, shows its state, or stops it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request};
use serde_json::json;
use tokio::time::Instant;

use super::answers::{self, Answer, Problem};
use super::attach::{Return, result, with_id};
use super::caller::CallerKey;
use super::client::Client;
use super::own_path;
use super::position::Position;
use super::ways::admits;
use crate::app::App;
use crate::config::Bind;
use crate::metrics::ResumeWay;
use crate::proxy::{Peer, validate};
use crate::reply::body::Body;
use crate::session::RequestContext;
use crate::session::identity::Identity;
use crate::session::resumable::Resumable;
use crate::stream::end::End;

/// Answers a request for a stream by its id. Returns `None` if it is none, or if no route has streams that can be resumed.
pub(in crate::proxy) fn answer(
    app: &App,
    peer: &Peer,
    parts: &mut request::Parts,
    started: Instant,
) -> Option<Response<Body>> {
    let asked = own_path::stream(parts.uri.path())?;
    let loaded = app.loaded();
    let resumes = |route: &Arc<crate::config::Route>| route.policy.resume.is_some();
    if !loaded.config.routes.iter().any(resumes)
        || parts.headers.len() > loaded.config.limits.max_headers
        || validate::check(parts).is_err()
    {
        // The usual way refuses it.
        return None;
    }
    let identity = Identity::of(&mut parts.headers);
    let client = Client::of(&parts.method, &parts.headers);
    let found = match asked {
        Ok(id) => {
            let found = app.resumables.find(id);
            found
                .filter(|stream| is_callers(app, stream, &parts.headers))
                .ok_or(Problem::Unknown)
        }
        Err(malformed) => Err(Problem::Malformed(malformed)),
    };
    let stream = match found {
        Ok(stream) => stream,
        Err(problem) => {
            app.metrics.resume.request_without_route(result(&problem));
            let answer = answers::refuse(&problem, client);
            return Some(with_id(answer, &identity.request_id));
        }
    };
    let of = &stream.live.context;
    let context = Arc::new(RequestContext {
        identity,
        client: peer.origin.client,
        method: parts.method.clone(),
        path: parts.uri.path().into(),
        metadata: None,
        route: Arc::clone(&of.route),
        metrics: Arc::clone(&of.metrics),
        started,
    });
    let own = Return {
        conn: &peer.conn,
        context: &context,
        client,
        way: ResumeWay::Endpoint,
    };
    Some(match parts.method {
        Method::DELETE => stop(&stream, &context),
        Method::GET if wants_state(&parts.headers) => state(&stream, &context),
        Method::GET => match position(&stream, parts) {
            Ok(after) => own.attach(&stream, after),
            Err(problem) => own.refuse(&problem),
        },
        _ => own.refuse(&Problem::MethodNotAllowed),
    })
}

/// Reports whether the request comes from the caller of the stream.
fn is_callers(app: &App, stream: &Resumable, headers: &HeaderMap) -> bool {
    let settings = stream.live.context.route.policy.resume.as_ref();
    let bind = settings.map_or(&Bind::Auto, |settings| &settings.bind);
    let key = CallerKey::new(app.resumables.key());
    admits(stream, &key.digest(headers, bind, None))
}

/// Returns the position that the request continues from.
fn position(stream: &Resumable, parts: &request::Parts) -> Result<u64, Problem> {
    match Position::of(&parts.headers, parts.uri.query()).map_err(Problem::Malformed)? {
        Position::Start => Ok(0),
        Position::After { stream: None, seq } => Ok(seq),
        Position::After {
            stream: Some(id),
            seq,
        } if id == stream.live.id => Ok(seq),
        // The id of an event of another stream.
        Position::After { .. } => Err(Problem::Unknown),
        Position::Foreign(id) => {
            let found = stream.hub.find_id(id.as_bytes());
            found.ok_or_else(|| Problem::Evicted {
                first: stream.hub.extent().first,
            })
        }
    }
}

/// Reports whether the client wants to know about the stream, and not its events.
fn wants_state(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter();
    accepted.any(|value| {
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        text.contains("application/json") && !text.contains("text/event-stream")
    })
}

fn stop(stream: &Resumable, context: &RequestContext) -> Response<Body> {
    let runs = stream.hub.extent().closed_at.is_none() && !stream.live.stop.is_asked();
    if runs {
        context.metrics.resume.stops.inc();
        stream.live.stop(End::Stopped);
    }
    document(stream, context, StatusCode::ACCEPTED)
}

fn state(stream: &Resumable, context: &RequestContext) -> Response<Body> {
    document(stream, context, StatusCode::OK)
}

fn document(stream: &Resumable, context: &RequestContext, status: StatusCode) -> Response<Body> {
    context.metrics.request("unary", status);
    let extent = stream.hub.extent();
    let outcome = stream.live.outcome();
    let body = json!({
        "stream": stream.live.id.to_string(),
        "state": match extent.closed_at {
            None if stream.live.stop.is_asked() => "stopping",
            None => "live",
            Some(_) => "ended",
        },
        "outcome": outcome.map(End::as_str),
        "first": extent.first,
        "last": extent.last,
        "viewers": extent.viewers,
    });
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let no_store = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, no_store);
    let answer = Answer {
        status,
        headers,
        body: Bytes::from(body.to_string()),
    };
    with_id(answer, &context.identity.request_id)
}
