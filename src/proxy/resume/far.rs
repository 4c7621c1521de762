//! Streams that another instance runs, or ran: found in the store that the instances share.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::answers::Problem;
use super::attach::{Attached, Return};
use super::caller::{Caller, CallerKey};
use super::responses;
use crate::app::App;
use crate::config;
use crate::end::End;
use crate::journal::own_id;
use crate::metrics::RouteMetrics;
use crate::proxy::Peer;
use crate::reply::body::Body;
use crate::session::elsewhere::{self, Elsewhere, Search};
use crate::session::resumable::Name;
use crate::session::stored::{Extra, stored_name};
use crate::session::stream_id::StreamId;
use crate::session::{Follow, Returned};
use crate::store::{Control, Meta, RemoteState, Store};
use crate::stream::pump::Reader;

/// How long a name is claimed for a request that has no response yet.
const CLAIMED_FOR: Duration = Duration::from_secs(60);
/// How often a stream is looked at again of which the client has more than the store.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How many times.
const LOOKS: u32 = 20;
/// How long an event with an id of the upstream is waited for: if it is not there then, the agent is asked.
const ID_TIMEOUT: Duration = Duration::from_millis(300);
/// How long it may take to read a stream in search of a position.
const READ_WITHIN: Duration = Duration::from_secs(3);

/// Requests for streams that their caller may not have, or that are not there, are answered at the end of such a step:
/// what the store knows of a stream takes some microseconds to read.
const STEP: Duration = Duration::from_millis(5);
/// Their wait begins at the end of such a step: a timer counts whole milliseconds from the moment at which its thread
/// begins to wait, so the answer would still tell that moment.
const SMALL_STEP: Duration = Duration::from_micros(250);

/// The outcome of a stream whose instance is gone.
const LOST: &str = End::UpstreamReset.as_str();

/// A stream of another instance.
pub(super) struct Far {
    store: Arc<Store>,
    id: StreamId,
    meta: Meta,
    pub(super) route: Arc<config::Route>,
    pub(super) metrics: Arc<RouteMetrics>,
}

/// Finds a stream by its id.
///
/// # Errors
/// If there is none, or the store does not answer.
pub(super) async fn find(app: &App, id: StreamId) -> Result<Far, Problem> {
    let store = app.store.as_ref().ok_or(Problem::Unknown)?;
    if !store.is_up() || app.resumables.shared_key().is_none() {
        // It may answer, but what it says may be old: it cannot be written to. Without the key no caller is known.
        return Err(Problem::StoreDown);
    }
    let meta = store.find(&id.to_string()).await;
    let meta = meta
        .map_err(|_| Problem::StoreDown)?
        .ok_or(Problem::Unknown)?;
    let loaded = app.loaded();
    let routes = loaded.config.routes.iter().zip(&loaded.metrics);
    let mut named = routes.filter(|(route, _)| *route.name == *meta.route);
    let found = named
        .next()
        .filter(|(route, _)| route.policy.resume.is_some());
    let (route, metrics) = found.ok_or(Problem::Unknown)?;
    Ok(Far {
        store: Arc::clone(store),
        id,
        route: Arc::clone(route),
        metrics: Arc::clone(metrics),
        meta,
    })
}

/// Returns what a caller is told who asks for a stream of another one here: the same as if it were not here.
pub(super) async fn denied(app: &App, id: StreamId) -> Problem {
    find(app, id).await.err().unwrap_or(Problem::Unknown)
}

/// Waits until an answer that there is no such stream tells nothing by its time. Without a store there is nothing to
/// wait for.
pub(super) async fn level(app: &App, started: Instant) {
    if app.store.is_none() {
        return;
    }
    let begin = end_of_step(started.elapsed(), SMALL_STEP);
    while started.elapsed() < begin {
        // No timer is exact enough. Other tasks run meanwhile.
        yield_now().await;
    }
    sleep_until(started + end_of_step(started.elapsed(), STEP)).await;
}

/// Returns the end of the step that `elapsed` is in, if steps of this length begin at zero.
fn end_of_step(elapsed: Duration, step: Duration) -> Duration {
    let steps = elapsed.as_micros() / step.as_micros();
    step * u32::try_from(steps).unwrap_or_default().saturating_add(1)
}

/// Finds the stream that has this name.
///
/// # Errors
/// If there is none, or the store does not answer.
pub(super) async fn recall(app: &App, name: Option<Name>) -> Result<StreamId, Problem> {
    let store = app.store.as_ref().ok_or(Problem::Unknown)?;
    // Without the key that all instances share there is no name.
    let name = name.ok_or(Problem::StoreDown)?;
    let id = store.recall(&stored_name(&name)).await;
    let id = id.map_err(|_| Problem::StoreDown)?;
    id.and_then(|id| StreamId::parse(&id))
        .ok_or(Problem::Unknown)
}

/// Claims a name for a request whose stream has not begun, unless another instance has.
///
/// # Errors
/// If another one has.
pub(super) async fn claim(app: &App, worker: usize, name: Option<Name>) -> Result<Claim, Problem> {
    let (store, name) = match (&app.store, name) {
        (Some(store), Some(name)) => (store, stored_name(&name)),
        // Nobody else can be asked.
        _ => return Ok(Claim(None)),
    };
    let own = StreamId::random().to_string();
    match store.remember_first(&name, &own, CLAIMED_FOR).await {
        Ok(None) => Ok(Claim(Some((Arc::clone(store), worker, name)))),
        Ok(Some(_)) => Err(Problem::KeyInUse),
        // Its journal in memory is all that there is.
        Err(_) => Ok(Claim(None)),
    }
}

/// The right to begin the stream with a name. Given back if no stream begins.
pub(super) struct Claim(Option<(Arc<Store>, usize, String)>);

impl Claim {
    /// Notes that the stream has begun, which has the name from here on.
    pub(super) fn keep(&mut self) {
        self.0 = None;
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Claim")
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((store, worker, name)) = self.0.take() {
            store.remember(worker, &name, "-", Duration::from_millis(1));
        }
    }
}

impl Far {
    /// Reports whether a request comes from the caller of the stream.
    pub(super) fn is_callers(&self, app: &App, peer: &Peer, headers: &HeaderMap) -> bool {
        let Some(key) = app.resumables.shared_key() else {
            return false;
        };
        let settings = self.route.policy.resume.as_ref();
        let bind = settings.map_or(&config::Bind::Auto, |settings| &settings.bind);
        let asking = CallerKey::new(&key).digest(headers, bind, peer.certificate.as_ref());
        Caller::from_bytes(self.meta.caller).admits(&asking)
    }

    pub(super) const fn id(&self) -> StreamId {
        self.id
    }

    /// Returns the number of the first event that is kept.
    pub(super) const fn first(&self) -> u64 {
        self.meta.first
    }

    /// Reports whether the stream has ended.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.meta.state, RemoteState::Ended { .. })
    }

    /// Returns the digest of the body of the request that began the stream.
    pub(super) fn body(&self) -> Option<String> {
        Extra::of(&self.meta).body
    }

    /// Asks the instance that runs the stream to stop it.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(super) async fn stop(&self) -> Result<(), Problem> {
        let asked = self.store.ask(&self.id.to_string(), Control::Stop).await;
        asked.map_err(|_| Problem::StoreDown)
    }

    /// Returns what a client is shown of the stream, which it may just have stopped.
    pub(super) fn state(&self, is_stopped: bool) -> serde_json::Value {
        let (state, outcome) = match &self.meta.state {
            RemoteState::Live if is_stopped => ("stopping", None),
            RemoteState::Live => ("live", None),
            RemoteState::Ended { outcome } => ("ended", Some(outcome.as_str())),
            RemoteState::Gap => ("gap", None),
        };
        serde_json::json!({
            "stream": self.id.to_string(),
            "state": state,
            "outcome": outcome,
            "first": self.meta.first,
            "last": self.meta.last,
            "viewers": serde_json::Value::Null,
        })
    }

    /// Returns the position after the event with this id of the upstream.
    pub(super) async fn position_of_id(&self, peer: &Peer, app: &App, id: &str) -> Option<u64> {
        let elsewhere = self.elsewhere(peer, app)?;
        let search = Search {
            timeout: ID_TIMEOUT,
            is_exact: true,
        };
        // The newest one counts, so the search goes on.
        let is_it = |block: &[u8]| (own_id(block) == Some(id.as_bytes())).then_some(Ordering::Less);
        timeout(READ_WITHIN, elsewhere::position(&elsewhere, search, is_it))
            .await
            .unwrap_or_default()
    }

    /// Returns the position after the event with this `sequence_number`.
    ///
    /// # Errors
    /// If the events behind it are not kept any more, or it is beyond the last event of a stream that runs.
    pub(super) async fn position_of_number(
        &self,
        peer: &Peer,
        app: &App,
        number: u64,
    ) -> Result<u64, Problem> {
        let first = self.meta.first;
        let evicted = Problem::Evicted { first };
        let Some(elsewhere) = self.elsewhere(peer, app) else {
            return Err(Problem::Unknown);
        };
        // Without the event itself, the client would get again what it has beyond the store.
        let search = Search {
            timeout: LOOK_AGAIN * LOOKS,
            is_exact: false,
        };
        let mut newest = None;
        let compare = |block: &[u8]| {
            let own = responses::sequence_number(block)?;
            newest = Some(own);
            Some(own.cmp(&number))
        };
        let searching = elsewhere::position(&elsewhere, search, compare);
        let found = timeout(READ_WITHIN, searching).await;
        let is_live = self.meta.state == RemoteState::Live;
        let behind = newest.filter(|newest| is_live && *newest < number);
        match (found, behind) {
            (Err(_), _) => Err(Problem::StoreDown),
            (Ok(_), Some(last)) => Err(Problem::Ahead { last }),
            (Ok(Some(position)), None) => Ok(position),
            (Ok(None), None) if first <= 1 => Ok(0),
            (Ok(None), None) => Err(evicted),
        }
    }

    /// Answers with the events after the position.
    pub(super) async fn attach(
        mut self,
        own: &Return<'_>,
        peer: &Peer,
        app: &App,
        after: u64,
    ) -> Response<Body> {
        // What the client got last may still be on its way to the store.
        for _ in 0..LOOKS {
            if after <= self.meta.last || !matches!(self.meta.state, RemoteState::Live) {
                break;
            }
            sleep(LOOK_AGAIN).await;
            match find(app, self.id).await {
                Ok(again) => self = again,
                Err(problem) => return own.refuse(&problem),
            }
        }
        let (first, last) = (self.meta.first, self.meta.last);
        let has_all = after >= last;
        match self.meta.state {
            // No event says that the run was lost with its instance.
            RemoteState::Ended { ref outcome } if has_all && outcome == LOST => {
                return own.refuse(&Problem::Gap);
            }
            RemoteState::Ended { .. } if has_all => {
                let kind = HeaderValue::from_str(&self.meta.content_type);
                let kind = kind.unwrap_or(HeaderValue::from_static("text/event-stream"));
                return own.complete(kind, last);
            }
            RemoteState::Gap if has_all => return own.refuse(&Problem::Gap),
            RemoteState::Live if after > last => return own.refuse(&Problem::Ahead { last }),
            _ if after.saturating_add(1) < first => {
                return own.refuse(&Problem::Evicted { first });
            }
            _ => {}
        }
        let Some(elsewhere) = self.elsewhere(peer, app) else {
            return own.refuse(&Problem::Unknown);
        };
        let max = elsewhere.settings.max_viewers;
        let Some(counted) = app.resumables.enter_far(self.id, max) else {
            return own.refuse(&Problem::ViewersFull { max });
        };
        let follow = Follow {
            returned: Returned {
                context: Arc::clone(own.context),
                after,
                span: own.span.clone(),
            },
            reader: Arc::clone(own.conn) as Arc<dyn Reader>,
        };
        let mut headers = elsewhere.headers();
        headers.remove(header::LOCATION);
        own.respond(Attached {
            started: elsewhere.follow(follow, counted),
            status: StatusCode::OK,
            headers,
            after,
            replay: last - after,
        })
    }

    fn elsewhere<'a>(&'a self, peer: &Peer, app: &'a App) -> Option<Elsewhere<'a>> {
        Some(Elsewhere {
            store: &self.store,
            worker: peer.worker,
            id: self.id,
            meta: &self.meta,
            budget: app.resumables.budget(),
            settings: self.route.policy.resume.as_ref()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_one_end() {
        let of = |micros| end_of_step(Duration::from_micros(micros), SMALL_STEP).as_micros();
        assert_eq!(
            [of(0), of(249), of(250), of(60_100)],
            [250, 250, 500, 60_250]
        );
        let late = end_of_step(Duration::MAX, STEP);
        assert_eq!(late, STEP, "a step at least");
    }
}
