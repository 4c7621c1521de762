//! The ways back into a stream at the agent's own paths: clients come back there by themselves.

use std::sync::Arc;

use http::{Response, request};
use tokio::time::{Instant, timeout_at};

use super::answers::Problem;
use super::attach::Return;
use super::begin::{Begin, Key};
use super::caller::Caller;
use super::chats;
use super::client::Client;
use super::far::{self, Far};
use super::idempotency::{Fingerprinting, IdempotencyKey};
use super::names::Kind;
use super::position::{Position, event_id};
use super::responses::{self, Retrieval};
use crate::app::App;
use crate::config;
use crate::metrics::ResumeWay;
use crate::proxy::Peer;
use crate::proxy::admitted::Admitted;
use crate::proxy::reject::Rejection;
use crate::reply::body::Body;
use crate::session::resumable::{Name, Resumable};
use crate::session::stored::stored_name;
use crate::session::stream_id::StreamId;
use crate::traces::SharedSpan;
use crate::upstream::{Error, Payload, RequestBody, RequestLimits};

/// Answers a request that comes back to a stream. Returns `None` if it does not: then it is forwarded, and what is
/// needed to come back to its stream is remembered in `resuming`.
pub(in crate::proxy) async fn answer(
    app: &App,
    peer: &Peer,
    admitted: &mut Admitted,
    parts: &request::Parts,
    incoming: &mut Option<Payload>,
    resuming: &mut Option<Box<Begin>>,
) -> Option<Response<Body>> {
    let route = Arc::clone(&admitted.context.route);
    let settings = route.policy.resume.as_ref()?;
    if admitted.detaches.is_some() {
        // The agent itself lets its clients come back.
        return None;
    }
    let mut begin = Begin::of(app, &route, settings, peer, parts);
    let span = SharedSpan::new(admitted.span.take());
    let returns = |way| Return {
        conn: &peer.conn,
        context: &admitted.context,
        client: Client::of(&parts.method, &parts.headers),
        version: parts.version,
        way,
        span: &span,
    };
    let asking = Asking {
        app,
        peer,
        begin: &begin,
        parts,
    };
    if let Some(response) = asking.by_last_event_id(&returns).await {
        return Some(response);
    }
    if let Some(response) = asking.by_chat(settings, &returns).await {
        return Some(response);
    }
    if let Some(response) = asking.by_response(&returns).await {
        return Some(response);
    }
    if settings.idempotency {
        match by_key((app, peer, parts), &mut begin, admitted, incoming, &returns).await {
            Ok(None) => {}
            Ok(Some(response)) => return Some(response),
            Err(rejection) => {
                admitted.span = span.take();
                return Some(admitted.reject(app, &rejection));
            }
        }
    }
    // It is an ordinary request.
    admitted.span = span.take();
    // On the heap, because most requests have none.
    *resuming = Some(Box::new(begin));
    None
}

/// Among how many of the newest streams an upstream's own event id is looked for.
const NEWEST: usize = 16;

/// A request that may come back to a stream.
struct Asking<'a> {
    app: &'a App,
    peer: &'a Peer,
    begin: &'a Begin,
    parts: &'a request::Parts,
}

impl Asking<'_> {
    /// `EventSource` asks for the same URL again, fetch-event-source sends the same body again, both with the last id.
    async fn by_last_event_id<'a>(
        &self,
        returns: &impl Fn(ResumeWay) -> Return<'a>,
    ) -> Option<Response<Body>> {
        let own = returns(ResumeWay::LastEventId);
        match Position::of_header(&self.parts.headers) {
            Ok(None | Some(Position::Start)) => None,
            Err(malformed) => Some(own.refuse(&Problem::Malformed(malformed))),
            Ok(Some(Position::After { stream, seq })) => {
                let Some(id) = stream else {
                    return Some(own.refuse(&Problem::Unknown));
                };
                let here = self.app.resumables.find(id);
                if let Some(stream) = &here
                    && admits(stream, &self.begin.caller)
                {
                    return Some(own.attach(stream, seq));
                }
                // The agent may be another Weir, whose ids are kept.
                let given = event_id(id, seq);
                let of_agent = returns(ResumeWay::UpstreamId);
                if let [(stream, seq)] = &*self.with_id(&given) {
                    return Some(of_agent.attach(stream, *seq));
                }
                let far = match here {
                    Some(_) => Err(far::denied(self.app, id).await),
                    None => self.far(id).await,
                };
                let problem = match far {
                    Ok(far) => return Some(far.attach(&own, self.peer, self.app, seq).await),
                    Err(problem) => problem,
                };
                if problem == Problem::Unknown
                    && let Some(response) = self.by_far_id(&of_agent, &given).await
                {
                    return Some(response);
                }
                Some(self.deny(&own, &problem).await)
            }
            Ok(Some(Position::Foreign(id))) => {
                let own = returns(ResumeWay::UpstreamId);
                match &*self.with_id(&id) {
                    [] => self.by_far_id(&own, &id).await,
                    [(stream, seq)] => Some(own.attach(stream, *seq)),
                    // Nobody can tell which one is meant.
                    _ => None,
                }
            }
        }
    }

    /// Returns the streams here that answered the same request, and in which the agent gave this id to an event, with
    /// the number of that. At most two: one of several is never meant.
    fn with_id(&self, id: &str) -> Vec<(Arc<Resumable>, u64)> {
        let streams = self.app.resumables.named(self.begin.path());
        let found = streams.into_iter().take(NEWEST).filter_map(|stream| {
            let seq = stream.hub.find_id(id.as_bytes())?;
            Some((stream, seq))
        });
        found.take(2).collect()
    }

    /// Does the same with the newest such stream of all instances. The agent may know the id, so a failure of the store
    /// is no answer.
    async fn by_far_id(&self, own: &Return<'_>, given: &str) -> Option<Response<Body>> {
        let id = far::recall(self.app, self.begin.shared_path()).await.ok()?;
        let here = self.app.resumables.find(id);
        if here.is_some_and(|stream| stream.hub.extent().first <= 1) {
            // All of its events are here, and none of them has this id.
            return None;
        }
        let far = self.far(id).await.ok()?;
        let seq = far.position_of_id(self.peer, self.app, given).await?;
        Some(far.attach(own, self.peer, self.app, seq).await)
    }

    /// The AI SDK asks for the newest stream of a chat, and wants all of it.
    async fn by_chat<'a>(
        &self,
        settings: &config::Resume,
        returns: &impl Fn(ResumeWay) -> Return<'a>,
    ) -> Option<Response<Body>> {
        let chats = settings.chats.as_ref()?;
        let id = chats::asked_for(chats, &self.parts.method, self.parts.uri.path())?;
        let own = returns(ResumeWay::Chat);
        let name = self.begin.name(Kind::Chat, id.as_str());
        let shared = self.begin.shared_name(Kind::Chat, id.as_str());
        // The newest one may run on another instance.
        let is_down = match far::recall(self.app, shared).await {
            Ok(id) if self.app.resumables.find(id).is_none() => {
                return Some(match self.far(id).await {
                    Ok(far) if !far.is_over() => far.attach(&own, self.peer, self.app, 0).await,
                    Ok(_) | Err(Problem::Unknown) => own.nothing(),
                    Err(problem) => own.refuse(&problem),
                });
            }
            Err(Problem::StoreDown) => true,
            Ok(_) | Err(_) => false,
        };
        let streams = self.app.resumables.named(&name);
        let newest = streams.first();
        let runs = newest.filter(|stream| stream.hub.extent().closed_at.is_none());
        Some(match runs {
            Some(stream) => own.attach(stream, 0),
            // Another instance may run it.
            None if is_down && newest.is_none() => own.refuse(&Problem::StoreDown),
            None => own.nothing(),
        })
    }

    /// The OpenAI SDKs ask for the events of a response after a sequence number.
    async fn by_response<'a>(
        &self,
        returns: &impl Fn(ResumeWay) -> Return<'a>,
    ) -> Option<Response<Body>> {
        let uri = &self.parts.uri;
        let Retrieval { id, after } =
            responses::asked_for(&self.parts.method, uri.path(), uri.query())?;
        let own = returns(ResumeWay::Responses);
        let streams = (self.app.resumables).named(&self.begin.name(Kind::Responses, ""));
        let here = streams
            .iter()
            .find(|stream| stream.is_response(&id, responses::id_in));
        if let Some(stream) = here {
            let position = match after {
                Err(malformed) => Err(Problem::Malformed(malformed)),
                Ok(None) => Ok(0),
                Ok(Some(after)) => responses::position(&stream.hub, after),
            };
            return Some(match position {
                Ok(position) => own.attach(stream, position),
                Err(problem) => own.refuse(&problem),
            });
        }
        // The agent may know the response, so a failure of the store is no answer.
        let shared = self.begin.shared_name(Kind::Responses, &id);
        let far = self.far_named(shared).await.ok()?;
        let position = match after {
            Err(malformed) => Err(Problem::Malformed(malformed)),
            Ok(None) => Ok(0),
            Ok(Some(after)) => far.position_of_number(self.peer, self.app, after).await,
        };
        Some(match position {
            Ok(position) => far.attach(&own, self.peer, self.app, position).await,
            Err(problem) => own.refuse(&problem),
        })
    }

    /// Refuses to say anything of a stream: whether it is there cannot be seen from how long that takes.
    async fn deny(&self, own: &Return<'_>, problem: &Problem) -> Response<Body> {
        if *problem == Problem::Unknown {
            far::level(self.app, own.context.started).await;
        }
        own.refuse(problem)
    }

    /// Finds a stream of another instance that the caller may have.
    async fn far(&self, id: StreamId) -> Result<Far, Problem> {
        let far = far::find(self.app, id).await?;
        let is_callers = far.is_callers(self.app, self.peer, &self.parts.headers);
        is_callers.then_some(far).ok_or(Problem::Unknown)
    }

    async fn far_named(&self, name: Option<Name>) -> Result<Far, Problem> {
        let id = far::recall(self.app, name).await?;
        self.far(id).await
    }
}

/// A client sends a request again under the same key because it does not know what became of the first.
async fn by_key<'a>(
    (app, peer, parts): (&App, &Peer, &request::Parts),
    begin: &mut Begin,
    admitted: &Admitted,
    incoming: &mut Option<Payload>,
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
    let shared = begin.shared_name(Kind::Idempotency, key.as_str());
    let here = app.resumables.named(&name).into_iter().next();
    let far = match here {
        Some(_) => None,
        None => {
            let asking = Asking {
                app,
                peer,
                begin,
                parts,
            };
            match asking.far_named(shared).await {
                Ok(far) => Some(far),
                Err(Problem::Unknown) => None,
                // Its journal in memory is all that there is.
                Err(Problem::StoreDown) => None,
                Err(problem) => return Ok(Some(own.refuse(&problem))),
            }
        }
    };
    if here.is_some() || far.is_some() {
        let limits = RequestLimits {
            max_bytes: policy.max_request_bytes,
            idle: admitted.loaded.config.limits.request_body,
        };
        let Some(incoming) = incoming.take() else {
            return Ok(None);
        };
        let body = RequestBody::new(incoming, limits).heard_by(Some(fingerprinting.listener()));
        read_all(body, total_at).await?;
        let fingerprint = *fingerprinting.fingerprint().as_bytes();
        return Ok(Some(match (here, far) {
            (Some(stream), _) if stream.body.get() == Some(&fingerprint) => own.attach(&stream, 0),
            (None, Some(far)) if far.body() == Some(stored_name(&fingerprint)) => {
                far.attach(&own, peer, app, 0).await
            }
            _ => own.refuse(&Problem::KeyReused),
        }));
    }
    let claim = match far::claim(app, peer.worker, shared).await {
        Ok(claim) => claim,
        Err(problem) => return Ok(Some(own.refuse(&problem))),
    };
    begin.key = Some(Key {
        name,
        claim,
        shared,
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
