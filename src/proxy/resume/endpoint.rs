//! `/.weir/streams/{id}`: reads a stream again, shows its state, or stops it.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request};
use serde_json::json;
use tokio::time::Instant;

use super::answers::{self, Problem};
use super::attach::{Return, result};
use super::caller::CallerKey;
use super::client::Client;
use super::far::{self, Far};
use super::own_path;
use super::position::{Position, event_id};
use super::ways::admits;
use crate::app::App;
use crate::config::Bind;
use crate::dialect::Members;
use crate::end::End;
use crate::metrics::ResumeWay;
use crate::proxy::accounting::{OnDrop, unanswered};
use crate::proxy::own_answer::Answer;
use crate::proxy::reject::{Counted, Rejected, Rejection, reject};
use crate::proxy::{Peer, admit, request_span, upgrade_request, validate};
use crate::reply::body::Body;
use crate::session::RequestContext;
use crate::session::identity::Identity;
use crate::session::request_line::{Grade, RequestLine};
use crate::session::resumable::Resumable;
use crate::session::stream_id::StreamId;
use crate::traces::SharedSpan;

/// Answers a request for a stream by its id. Returns `None` if it is none, or if no route has streams that can be
/// resumed.
pub(in crate::proxy) async fn answer(
    app: &App,
    peer: &Peer,
    parts: &mut request::Parts,
    started: Instant,
) -> Option<Response<Body>> {
    let asked = own_path::stream(parts.uri.path())?;
    let loaded = app.loaded();
    let resumes = |route: &Arc<crate::config::Route>| route.policy.resume.is_some();
    if !loaded.config.routes.iter().any(resumes) || validate::check(parts).is_err() {
        // The usual way refuses it.
        return None;
    }
    let identity = Identity::of(&mut parts.headers);
    let client = Client::of(&parts.method, &parts.headers);
    if upgrade_request::is_asked(parts) {
        // To a client over HTTP/2, a 200 would accept a WebSocket.
        let refused = upgrade_request::not_supported(NO_WEBSOCKET);
        let form = (Counted::Refused(&app.metrics, refused.code), None);
        let own = (&identity, started);
        return Some(rejected(peer, parts, own, form, &refused.into()));
    }
    // A stream that runs here is served while the process drains: nobody else has it.
    let entered = match admit::check(app, peer, parts, true) {
        Ok(entered) => entered,
        Err(refused) => {
            // There is no room for it: in words that an `EventSource` understands.
            let answer = super::come_back(app, parts, refused.status);
            let form = (Counted::Refused(&app.metrics, refused.code), answer);
            let own = (&identity, started);
            return Some(rejected(peer, parts, own, form, &refused.into()));
        }
    };
    let path = admit::shown(parts.uri.path());
    let line = RequestLine {
        identity: &identity,
        route: None,
        client: peer.origin.client,
        method: Some(&parts.method),
        path: Some(&path),
        started,
        outcome: End::ClientGone.as_str(),
        code: None,
        status: None,
        bytes: None,
        cause: None,
        grade: Grade::Info,
    };
    let leaving = OnDrop::new(|| unanswered(line));
    let found = match asked {
        Ok(id) => find(app, peer, id, &parts.headers).await,
        Err(malformed) => Err(Problem::Malformed(malformed)),
    };
    if matches!(found, Err(Problem::Unknown)) {
        far::level(app, started).await;
    }
    leaving.forget();
    let found = match found {
        Ok(found) => found,
        Err(problem) => {
            app.metrics.resume.request_without_route(result(&problem));
            let form = (Counted::Resume, Some(answers::refuse(&problem, client)));
            let own = (&identity, started);
            return Some(rejected(peer, parts, own, form, &Rejection::from(&problem)));
        }
    };
    let (route, metrics) = match &found {
        Found::Here(stream) => (&stream.live.context.route, &stream.live.context.metrics),
        Found::Elsewhere(far) => (&far.route, &far.metrics),
    };
    let context = Arc::new(RequestContext {
        identity,
        client: peer.origin.client,
        method: parts.method.clone(),
        path,
        metadata: None,
        route: Arc::clone(route),
        metrics: Arc::clone(metrics),
        started,
    });
    let scheme = peer.origin.scheme;
    let span = request_span::begin(app, &context, &mut parts.headers, scheme);
    let leaving = OnDrop::new(|| {
        unanswered(RequestLine::of(&context, End::ClientGone.as_str()));
    });
    let own = Return {
        conn: &peer.conn,
        context: &context,
        client,
        version: parts.version,
        way: ResumeWay::Endpoint,
        span: &SharedSpan::new(span),
    };
    let response = match (&parts.method, found) {
        (&Method::DELETE, found) => match stop(&found, &own).await {
            Ok(response) => response,
            Err(problem) => own.refuse(&problem),
        },
        (&Method::GET, found) if wants_state(&parts.headers) => {
            document(&found, &own, StatusCode::OK)
        }
        (&Method::GET, Found::Here(stream)) => match position(&stream, parts) {
            Ok(after) => own.attach(&stream, after),
            Err(problem) => own.refuse(&problem),
        },
        (&Method::GET, Found::Elsewhere(far)) => match far_position(app, peer, &far, parts).await {
            Ok(after) => far.attach(&own, peer, app, after).await,
            Err(problem) => own.refuse(&problem),
        },
        _ => own.refuse(&Problem::MethodNotAllowed),
    };
    leaving.forget();
    Some(response.map(|body| body.holding(entered)))
}

const NO_WEBSOCKET: &str = "streams are read again with GET; on a WebSocket, a bridge takes {\"type\":\"resume\"} (websocket: bridge)";

/// Rejects a request that no route takes.
fn rejected(
    peer: &Peer,
    parts: &request::Parts,
    (identity, started): (&Identity, Instant),
    (counted, answer): (Counted<'_>, Option<Answer>),
    rejection: &Rejection,
) -> Response<Body> {
    let path = admit::shown(parts.uri.path());
    let request = Rejected {
        identity,
        method: &parts.method,
        path: &path,
        client: peer.origin.client,
        started,
        version: parts.version,
        dialect: None,
        members: Members::default(),
        counted,
        answer,
        span: None,
    };
    reject(request, rejection)
}

/// A stream that the caller may have.
enum Found {
    Here(Arc<Resumable>),
    Elsewhere(Box<Far>),
}

/// Finds a stream. Whether there is none, or it is another caller's, takes as long to say.
async fn find(app: &App, peer: &Peer, id: StreamId, headers: &HeaderMap) -> Result<Found, Problem> {
    if let Some(stream) = app.resumables.find(id) {
        if is_callers(app, peer, &stream, headers) {
            return Ok(Found::Here(stream));
        }
        // The store is asked as for an unknown id.
        return Err(far::denied(app, id).await);
    }
    // A foreign stream takes this digest.
    let key = CallerKey::new(app.resumables.key());
    black_box(key.digest(headers, &Bind::Auto, peer.certificate.as_ref()));
    let far = far::find(app, id).await?;
    let is_callers = far.is_callers(app, peer, headers);
    is_callers
        .then(|| Found::Elsewhere(Box::new(far)))
        .ok_or(Problem::Unknown)
}

/// Reports whether the request comes from the caller of the stream.
fn is_callers(app: &App, peer: &Peer, stream: &Resumable, headers: &HeaderMap) -> bool {
    let settings = stream.live.context.route.policy.resume.as_ref();
    let bind = settings.map_or(&Bind::Auto, |settings| &settings.bind);
    let key = CallerKey::new(app.resumables.key());
    let asking = key.digest(headers, bind, peer.certificate.as_ref());
    admits(stream, &asking)
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
        // The agent may be another Weir, whose ids are kept. Otherwise it is the id of an event of another stream.
        Position::After {
            stream: Some(id),
            seq,
        } => {
            let found = stream.hub.find_id(event_id(id, seq).as_bytes());
            found.ok_or(Problem::Unknown)
        }
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

async fn stop(found: &Found, own: &Return<'_>) -> Result<Response<Body>, Problem> {
    let runs = match found {
        Found::Here(stream) => {
            let runs = stream.hub.extent().closed_at.is_none() && !stream.live.stop.is_asked();
            if runs {
                stream.live.stop(End::Stopped);
            }
            runs
        }
        Found::Elsewhere(far) if far.is_over() => false,
        Found::Elsewhere(far) => {
            far.stop().await?;
            true
        }
    };
    if runs {
        own.context.metrics.resume.stops.inc();
    }
    Ok(document(found, own, StatusCode::ACCEPTED))
}

fn document(found: &Found, own: &Return<'_>, status: StatusCode) -> Response<Body> {
    own.passed(status);
    let body = match found {
        Found::Here(stream) => state(stream),
        Found::Elsewhere(far) => far.state(status == StatusCode::ACCEPTED),
    };
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
    own.whole(answer)
}

fn state(stream: &Resumable) -> serde_json::Value {
    let extent = stream.hub.extent();
    let outcome = stream.live.outcome();
    json!({
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
    })
}

/// Does what [`position`] does, for a stream of another instance.
async fn far_position(
    app: &App,
    peer: &Peer,
    far: &Far,
    parts: &request::Parts,
) -> Result<u64, Problem> {
    match Position::of(&parts.headers, parts.uri.query()).map_err(Problem::Malformed)? {
        Position::Start => Ok(0),
        Position::After { stream: None, seq } => Ok(seq),
        Position::After {
            stream: Some(id),
            seq,
        } if id == far.id() => Ok(seq),
        Position::After {
            stream: Some(id),
            seq,
        } => {
            let found = far.position_of_id(peer, app, &event_id(id, seq)).await;
            found.ok_or(Problem::Unknown)
        }
        Position::Foreign(id) => {
            let found = far.position_of_id(peer, app, &id).await;
            found.ok_or_else(|| Problem::Evicted { first: far.first() })
        }
    }
}
