//! `/.weir/probe`: the probe on the traffic port, if `probe` is set.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request};
use serde_json::json;
use tokio::time::Instant;

use super::accounting::OnDrop;
use super::plain_response::ENDED;
use super::reject::{Counted, Refused, Rejected, reject};
use super::{Peer, admit, validate};
use crate::app::App;
use crate::body_deadline::BodyDeadline;
use crate::dialect::Members;
use crate::encode;
use crate::end::End;
use crate::log::access::Line;
use crate::metrics::Refusal;
use crate::probe::{HEADER, MAX_STREAMS, PATH, ProbeRequest, Script, Settings};
use crate::reply::body::Body;
use crate::session::identity::{Identity, REQUEST_ID};
use crate::session::request_line::{Grade, RequestLine};

/// What a stream may take beyond its script, because its client or the network is slow.
const GRACE: Duration = Duration::from_secs(30);

/// What is no stream must neither be stored nor be changed on its way.
const NO_STORE: &str = "no-store, no-transform";

/// Answers a request for the probe. Returns `None` if it is none, or if there is no probe.
pub(super) fn answer(
    app: &App,
    peer: &Peer,
    parts: &mut request::Parts,
    started: Instant,
) -> Option<Response<Body>> {
    if parts.uri.path() != PATH {
        return None;
    }
    let loaded = app.loaded();
    if !loaded.config.probe || validate::check(parts).is_err() {
        // The usual way forwards or refuses it.
        return None;
    }
    let received = app.probes.now();
    let identity = Identity::of(&mut parts.headers);
    let answered = admit::check(app, peer, parts, false).and_then(|entered| {
        let response = respond(app, peer, parts, received)?;
        Ok(response.map(|body| body.holding(entered)))
    });
    Some(match answered {
        Ok(response) => served(response, peer, parts, (identity, started)),
        Err(refused) => rejected(app, peer, parts, (&identity, started), refused),
    })
}

/// Answers what a request asks for, which came at the time `received`.
fn respond(
    app: &App,
    peer: &Peer,
    parts: &request::Parts,
    received: u64,
) -> Result<Response<Body>, Refused> {
    match probe_request(parts)? {
        ProbeRequest::Clock => Ok(document(&json!({
            "instance": app.probes.instance(),
            "received_us": received,
            "sent_us": app.probes.now(),
        }))),
        ProbeRequest::Left(id) => match app.probes.find(id) {
            Some(entry) => Ok(document(&json!({
                "instance": app.probes.instance(),
                "id": entry.id.to_string(),
                "state": entry.state.as_str(),
                "sent": entry.sent,
                "ended_us": entry.ended,
                "sent_us": app.probes.now(),
            }))),
            None => Err(Refused::new(
                StatusCode::NOT_FOUND,
                Refusal::ProbeUnknown,
                "this instance has had no probe stream with this id, or has forgotten it",
            )),
        },
        ProbeRequest::Stream(settings) => stream(app, peer, parts, &settings),
    }
}

/// Names the request in its response, and has its log line written when the response ends.
fn served(
    mut response: Response<Body>,
    peer: &Peer,
    parts: &request::Parts,
    (identity, started): (Identity, Instant),
) -> Response<Body> {
    let id = identity.request_id.clone();
    response.headers_mut().insert(REQUEST_ID, id);
    let (status, client, method) = (response.status(), peer.origin.client, parts.method.clone());
    let line = OnDrop::new(move || {
        let line = RequestLine {
            identity: &identity,
            route: None,
            client,
            method: Some(&method),
            path: Some(PATH),
            started,
            outcome: End::Finished.as_str(),
            code: None,
            status: Some(status),
            bytes: None,
            cause: None,
            grade: Grade::Info,
        };
        line.write(Line::Plain, ENDED);
    });
    response.map(|body| body.holding(line))
}

fn rejected(
    app: &App,
    peer: &Peer,
    parts: &request::Parts,
    (identity, started): (&Identity, Instant),
    refused: Refused,
) -> Response<Body> {
    let request = Rejected {
        identity,
        method: &parts.method,
        path: PATH,
        client: peer.origin.client,
        started,
        version: parts.version,
        dialect: None,
        members: Members::default(),
        counted: Counted::Refused(&app.metrics, refused.code),
        answer: None,
        span: None,
    };
    let mut response = reject(request, &refused.into());
    let no_store = HeaderValue::from_static(NO_STORE);
    (response.headers_mut()).insert(header::CACHE_CONTROL, no_store);
    response
}

/// Returns what a request asks for.
fn probe_request(parts: &request::Parts) -> Result<ProbeRequest, Refused> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(Refused {
            allow: Some("GET, HEAD"),
            ..Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Refusal::MethodNotAllowed,
                "the probe takes GET and HEAD",
            )
        });
    }
    let query = parts.uri.query().unwrap_or_default();
    ProbeRequest::of(query).map_err(|malformed| Refused {
        message: malformed.to_string().into(),
        ..Refused::new(StatusCode::BAD_REQUEST, Refusal::ProbeMalformed, "")
    })
}

/// Begins a stream, with the head that every stream of Weir's has.
fn stream(
    app: &App,
    peer: &Peer,
    parts: &request::Parts,
    settings: &Settings,
) -> Result<Response<Body>, Refused> {
    let (began, body) = if parts.method == Method::HEAD {
        (app.probes.now(), Body::fixed(Bytes::new()))
    } else {
        let place = app.probes.begin(settings.id).ok_or_else(|| Refused {
            message: format!("{MAX_STREAMS} probe streams run already, which is the limit: ask again when one has ended").into(),
            ..Refused::new(StatusCode::SERVICE_UNAVAILABLE, Refusal::ProbeBusy, "")
        })?;
        let stall = app.loaded().config.limits.request_head;
        let total = Instant::now() + settings.total() + GRACE;
        let deadline = BodyDeadline::current();
        match &deadline {
            Some(deadline) => deadline.begin(total, stall),
            None => peer.conn.end_by(total),
        }
        let script = Script::begin(place, *settings, parts.version).after_preamble(preamble(app));
        (script.began(), Body::own(Box::new(script), deadline))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, fixed("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, fixed("no-cache, no-transform"));
    headers.insert("x-accel-buffering", fixed("no"));
    let said = format!("{} {began}", app.probes.instance());
    if let Ok(said) = HeaderValue::from_str(&said) {
        headers.insert(HEADER, said);
    }
    Ok(response)
}

/// Returns the preamble that streams have on all routes, so that it can be seen whether it helps.
fn preamble(app: &App) -> Bytes {
    let loaded = app.loaded();
    let routes = loaded.config.routes.iter();
    let bytes = routes.map(|route| route.policy.preamble_bytes).min();
    encode::comment(bytes.unwrap_or_default())
}

fn document(value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::fixed(value.to_string().into()));
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let no_store = HeaderValue::from_static(NO_STORE);
    headers.insert(header::CACHE_CONTROL, no_store);
    response
}
