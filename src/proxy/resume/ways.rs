//! The ways back into a stream at the agent's own paths: clients come back there by themselves.

use std::sync::Arc;

use http::{Response, request};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::answers::Problem;
use super::attach::Return;
use super::begin::{Begin, Key};
use super::caller::Caller;
use super::chats;
use super::client::Client;
use super::idempotency::{Fingerprinting, IdempotencyKey};
use super::names::Kind;
use super::position::Position;
use super::responses::{self, Retrieval};
use crate::app::App;
use crate::config;
use crate::metrics::ResumeWay;
use crate::proxy::Peer;
use crate::proxy::admitted::Admitted;
use crate::proxy::reject::Rejection;
use crate::reply::body::Body;
use crate::session::resumable::Resumable;
use crate::upstream::{Error, RequestBody, RequestLimits};

/// Answers a request that comes back to a stream. Returns `None` if it does not: then it is forwarded, and what is needed to
/// come back to its stream is remembered in `admitted`.
pub(in crate::proxy) async fn answer(
    app: &App,
    peer: &Peer,
    admitted: &mut Admitted,
    parts: &request::Parts,
    incoming: &mut Option<Incoming>,
) -> Option<Response<Body>> {
    let route = Arc::clone(&admitted.context.route);
    let settings = route.policy.resume.as_ref()?;
    if admitted.detaches.is_some() {
        // The agent itself lets its clients come back.
        return None;
    }
    let mut begin = Begin::of(app, &route, settings, parts);
    let returns = |way| Return {
        conn: &peer.conn,
        context: &admitted.context,
        client: Client::of(&parts.method, &parts.headers),
        way,
    };
    if let Some(response) = by_last_event_id(app, &begin, parts, &returns)
        .or_else(|| by_chat(app, &begin, settings, parts, &returns))
        .or_else(|| by_response(app, &begin, parts, &returns))
    {
        return Some(response);
    }
    if settings.idempotency {
        match by_key(app, &mut begin, admitted, parts, incoming, &returns).await {
            Ok(None) => {}
            Ok(Some(response)) => return Some(response),
            Err(rejection) => return Some(admitted.reject(app, &rejection)),
        }
    }
    admitted.resuming = Some(begin);
    None
}

/// `EventSource` asks for the same URL again, fetch-event-source sends the same body again, both with the last id.
fn by_last_event_id<'a>(
    app: &App,
    begin: &Begin,
    parts: &request::Parts,
    returns: &impl Fn(ResumeWay) -> Return<'a>,
) -> Option<Response<Body>> {
    let own = returns(ResumeWay::LastEventId);
    match Position::of_header(&parts.headers) {
        Ok(None | Some(Position::Start)) => None,
        Err(malformed) => Some(own.refuse(&Problem::Malformed(malformed))),
        Ok(Some(Position::After { stream, seq })) => {
            let found = stream.and_then(|id| app.resumables.find(id));
            // One look-up and one comparison, whoever asks.
            let found = found.filter(|stream| admits(stream, &begin.caller));
            Some(match found {
                Some(stream) => own.attach(&stream, seq),
                None => own.refuse(&Problem::Unknown),
            })
        }
        Ok(Some(Position::Foreign(id))) => {
            let streams = app.resumables.named(begin.path());
            let mut found = streams.iter().filter_map(|stream| {
                let seq = stream.hub.find_id(id.as_bytes())?;
                Some((stream, seq))
            });
            let (stream, seq) = found.next()?;
            Some(returns(ResumeWay::UpstreamId).attach(stream, seq))
        }
    }
}

/// The AI SDK asks for the newest stream of a chat, and wants all of it.
fn by_chat<'a>(
    app: &App,
    begin: &Begin,
    settings: &config::Resume,
    parts: &request::Parts,
    returns: &impl Fn(ResumeWay) -> Return<'a>,
) -> Option<Response<Body>> {
    let chats = settings.chats.as_ref()?;
    let id = chats::asked_for(chats, &parts.method, parts.uri.path())?;
    let streams = app.resumables.named(&begin.name(Kind::Chat, id.as_str()));
    let own = returns(ResumeWay::Chat);
    let newest = streams.first();
    let runs = newest.filter(|stream| stream.hub.extent().closed_at.is_none());
    Some(match runs {
        Some(stream) => own.attach(stream, 0),
        None => own.nothing(),
    })
}

/// The OpenAI SDKs ask for the events of a response after a sequence number.
fn by_response<'a>(
    app: &App,
    begin: &Begin,
    parts: &request::Parts,
    returns: &impl Fn(ResumeWay) -> Return<'a>,
) -> Option<Response<Body>> {
    let Retrieval { id, after } =
        responses::asked_for(&parts.method, parts.uri.path(), parts.uri.query())?;
    let streams = app.resumables.named(&begin.name(Kind::Responses, ""));
    let stream = streams
        .iter()
        .find(|stream| stream.is_response(&id, responses::id_in))?;
    let own = returns(ResumeWay::Responses);
    let position = match after {
        Err(malformed) => Err(Problem::Malformed(malformed)),
        Ok(None) => Ok(0),
        Ok(Some(after)) => responses::position(&stream.hub, after),
    };
    Some(match position {
        Ok(position) => own.attach(stream, position),
        Err(problem) => own.refuse(&problem),
    })
}

/// A client sends a request again under the same key because it does not know what became of the first.
async fn by_key<'a>(
    app: &App,
    begin: &mut Begin,
    admitted: &Admitted,
    parts: &request::Parts,
    incoming: &mut Option<Incoming>,
    returns: &impl Fn(ResumeWay) -> Return<'a>,
) -> Result<Option<Response<Body>>, Rejection> {
    let own = returns(ResumeWay::Idempotency);
    let key = match IdempotencyKey::of(&parts.headers) {
        Ok(None) => return Ok(None),
        Ok(Some(key)) => key,
        Err(malformed) => return Ok(Some(own.refuse(&Problem::Malformed(malformed)))),
    };
    let name = begin.name(Kind::Idempotency, key.as_str());
    let policy = &admitted.context.route.policy;
    let total_at = admitted.context.started + policy.deadlines.total;
    let Ok(reservation) = timeout_at(total_at, app.resumables.reserve(name)).await else {
        return Ok(Some(own.refuse(&Problem::KeyInUse)));
    };
    let fingerprinting = Fingerprinting::new(&parts.method, &parts.uri);
    if let Some(stream) = app.resumables.named(&name).first() {
        let limits = RequestLimits {
            max_bytes: policy.max_request_bytes,
            idle: admitted.loaded.config.limits.request_body,
        };
        let Some(incoming) = incoming.take() else {
            return Ok(None);
        };
        let body = RequestBody::new(incoming, limits).heard_by(Some(fingerprinting.listener()));
        read_all(body, total_at).await?;
        let same = stream.body.get() == Some(fingerprinting.fingerprint().as_bytes());
        return Ok(Some(if same {
            own.attach(stream, 0)
        } else {
            own.refuse(&Problem::KeyReused)
        }));
    }
    begin.key = Some(Key {
        name,
        fingerprinting,
        _reservation: reservation,
    });
    Ok(None)
}

/// Reads the body of a request that is not forwarded; its listener hears it.
async fn read_all(mut body: RequestBody, total_at: Instant) -> Result<(), Rejection> {
    match timeout_at(total_at, body.discard()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Rejection::from(&error)),
        Err(_) => Err(Rejection::from(&Error::RequestTimeout)),
    }
}

/// Reports whether the caller may have a stream whose id it knows.
pub(super) fn admits(stream: &Resumable, caller: &Caller) -> bool {
    Caller::from_bytes(stream.caller).admits(caller)
}
