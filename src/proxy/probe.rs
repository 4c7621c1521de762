//! `/.weir/probe`: the probe on the traffic port, if `probe` is set.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request};
use serde_json::json;
use tokio::time::Instant;

use super::accounting::OnDrop;
use super::plain_response::ENDED;
use super::reject::REFUSED;
use super::{Peer, admit, validate};
use crate::app::App;
use crate::body_deadline::BodyDeadline;
use crate::dialect::{self, Members};
use crate::encode;
use crate::end::End;
use crate::log::access::Line;
use crate::probe::{Asked, HEADER, MAX_STREAMS, PATH, Script, Settings};
use crate::reply::body::Body;
use crate::session::identity::{Identity, REQUEST_ID};
use crate::session::request_line::{Grade, RequestLine};

/// What a stream may take beyond its script, because its client or the network is slow.
const GRACE: Duration = Duration::from_secs(30);

/// A problem: its status, its code and a sentence.
type Problem = (StatusCode, &'static str, String);

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
    let headers = parts.headers.len();
    if !loaded.config.probe
        || headers > loaded.config.limits.max_headers
        || validate::check(parts).is_err()
    {
        // The usual way forwards or refuses it.
        return None;
    }
    let received = app.probes.now();
    let identity = Identity::of(&mut parts.headers);
    let entered = match admit::check(app, peer, parts, headers, false) {
        Ok(entered) => entered,
        Err(rejection) => {
            let code = rejection.code;
            let said = rejection.message.into_owned();
            let response = refused(&identity, (rejection.status, code, said));
            return Some(logged(
                response,
                peer,
                parts,
                (identity, started),
                Some(code),
            ));
        }
    };
    let answered = asked(parts).and_then(|asked| match asked {
        Asked::Clock => Ok(document(&json!({
            "instance": app.probes.instance(),
            "received_us": received,
            "sent_us": app.probes.now(),
        }))),
        Asked::Left(id) => match app.probes.find(id) {
            Some(entry) => Ok(document(&json!({
                "instance": app.probes.instance(),
                "id": entry.id.to_string(),
                "state": entry.state.as_str(),
                "sent": entry.sent,
                "ended_us": entry.ended,
                "sent_us": app.probes.now(),
            }))),
            None => Err((
                StatusCode::NOT_FOUND,
                "probe_unknown",
                "this instance has had no probe stream with this id, or has forgotten it"
                    .to_owned(),
            )),
        },
        Asked::Stream(settings) => stream(app, peer, parts, &settings),
    });
    let (mut response, code) = match answered {
        Ok(response) => (response, None),
        Err(problem) => (
            refused(&identity, (problem.0, problem.1, problem.2)),
            Some(problem.1),
        ),
    };
    let id = identity.request_id.clone();
    response.headers_mut().insert(REQUEST_ID, id);
    let response = logged(response, peer, parts, (identity, started), code);
    Some(response.map(|body| body.holding(entered)))
}

/// Has the line of a request written when its answer ends. `code` says why it was refused, if it was.
fn logged(
    response: Response<Body>,
    peer: &Peer,
    parts: &request::Parts,
    (identity, started): (Identity, Instant),
    code: Option<&'static str>,
) -> Response<Body> {
    let (status, client, method) = (response.status(), peer.origin.client, parts.method.clone());
    let line = OnDrop::new(move || {
        let (outcome, words, line) = match code {
            Some(_) => ("refused", REFUSED, Line::Failure),
            None => (End::Finished.as_str(), ENDED, Line::Plain),
        };
        let line_of = RequestLine {
            identity: &identity,
            route: None,
            client,
            method: Some(&method),
            path: Some(PATH),
            started,
            outcome,
            code,
            status: Some(status),
            bytes: None,
            cause: None,
            grade: Grade::Info,
        };
        line_of.write(line, words);
    });
    response.map(|body| body.holding(line))
}

/// Returns what a request asks for.
fn asked(parts: &request::Parts) -> Result<Asked, Problem> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err((
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "the probe takes GET and HEAD".to_owned(),
        ));
    }
    let query = parts.uri.query().unwrap_or_default();
    Asked::of(query).map_err(|error| {
        (
            StatusCode::BAD_REQUEST,
            "probe_malformed",
            error.to_string(),
        )
    })
}

/// Begins a stream, with the head that every stream of Weir's has.
fn stream(
    app: &App,
    peer: &Peer,
    parts: &request::Parts,
    settings: &Settings,
) -> Result<Response<Body>, Problem> {
    let (began, body) = if parts.method == Method::HEAD {
        (app.probes.now(), Body::fixed(Bytes::new()))
    } else {
        let place = app.probes.begin(settings.id).ok_or_else(|| {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "probe_busy",
                format!("{MAX_STREAMS} probe streams run already, which is the limit: ask again when one has ended"),
            )
        })?;
        let stall = app.loaded().config.limits.request_head;
        let total = Instant::now() + settings.total() + GRACE;
        let bounds = BodyDeadline::current();
        match &bounds {
            Some(bounds) => bounds.begin(total, stall),
            None => peer.conn.end_by(total),
        }
        let script = Script::begin(place, *settings, parts.version).after_preamble(preamble(app));
        (script.began(), Body::own(Box::new(script), bounds))
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
    whole(StatusCode::OK, "application/json", value.to_string().into())
}

fn refused(identity: &Identity, (status, code, message): Problem) -> Response<Body> {
    let members = Members::default();
    let (kind, body) = dialect::refusal(None, &members, status.as_u16(), code, &message);
    let mut response = whole(status, kind, body);
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, identity.request_id.clone());
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        _ => {}
    }
    response
}

fn whole(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::fixed(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let no_store = HeaderValue::from_static("no-store, no-transform");
    headers.insert(header::CACHE_CONTROL, no_store);
    response
}
