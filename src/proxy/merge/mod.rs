//! Requests of routes with several agents: each is sent to all of them, and their streams make up one response.

mod calls;
mod client_request;

use std::sync::Arc;

use http::{Request, Response, request};
use tokio::time::timeout_at;

use super::accounting::Phase;
use super::admitted::Admitted;
use super::answer::pass_on;
use super::reject::{Blame, Rejection};
use super::resume::Begin;
use super::{Peer, accounting};
use crate::app::App;
use crate::client_conn::ClientConn;
use crate::config::REWRITTEN_BYTES;
use crate::merge::finish::Rules;
use crate::merge::{Board, Head, Heads, Merged, Opening, Settings, first};
use crate::reply::body::Body;
use crate::reply::head;
use crate::session::identity::REQUEST_ID;
use crate::session::{self, Merging, Start, Started};
use crate::stream::pump::Reader;
use crate::translate::{Ensemble, Target};
use crate::upstream::{Error, Payload, RequestBody, RequestLimits};
use crate::wire::Framing;
use crate::wire::encoding::Coding;
use calls::Calls;
use client_request::{ClientRequest, read};

/// Sends an admitted request to all agents of its route, and returns the response. `resuming` is what is needed to come
/// back to its stream; `None` if nobody can.
pub(super) async fn forward(
    app: &Arc<App>,
    peer: &Peer,
    mut admitted: Admitted,
    resuming: Option<Box<Begin>>,
    parts: request::Parts,
    incoming: Payload,
) -> Response<Body> {
    let leaving = accounting::leaving(app, &admitted, Phase::Call);
    let entered = Arc::clone(&admitted.entered);
    let policy = &admitted.context.route.policy;
    let limits = RequestLimits {
        max_bytes: policy.max_request_bytes.min(REWRITTEN_BYTES),
        idle: admitted.loaded.config.limits.request_body,
    };
    let body = RequestBody::new(incoming, limits);
    let received = body.received();
    let request = Request::from_parts(parts, body);
    let answered = answer(app, peer, &mut admitted, resuming, request, limits).await;
    // From here on, the stream's own task accounts for a client that leaves.
    leaving.forget();
    let response = answered.unwrap_or_else(|rejection| admitted.reject(app, &rejection));
    response.map(|body| body.after(received).holding(entered))
}

async fn answer(
    app: &Arc<App>,
    peer: &Peer,
    admitted: &mut Admitted,
    resuming: Option<Box<Begin>>,
    request: Request<RequestBody>,
    limits: RequestLimits,
) -> Result<Response<Body>, Rejection> {
    let context = Arc::clone(&admitted.context);
    let (Some(merge), Some(target)) = (&context.route.merge, admitted.target) else {
        return Err(Rejection::upstream(
            "upstream_error",
            "the route has no common reply for its agents",
        ));
    };
    let max_streams = admitted.loaded.config.limits.max_streams;
    if let Err(full) = app.streams.check(max_streams, &peer.conn.share) {
        // It is rejected before any agent does any work for it.
        return Err(Rejection::too_many_streams(max_streams, full));
    }
    let policy = &context.route.policy;
    let total_at = context.started + policy.deadlines.total;
    let request = tokio::select! {
        request = timeout_at(total_at, read(admitted, resuming, request)) => request.unwrap_or_else(|_| {
            let limit = policy.deadlines.total;
            Err(Rejection::from(&Error::TotalTimeout { limit }))
        })?,
        () = app.cut_off() => return Err(Rejection::cut_off()),
    };
    peer.conn.allow_stall(policy.deadlines.client_stall);
    let calls = Calls {
        peer,
        admitted,
        request: &request,
        limits,
        total_at,
    };
    let openings: Result<Vec<Opening>, Rejection> =
        merge.agents.iter().map(|agent| calls.open(agent)).collect();
    let openings = openings?;
    let rules = Rules {
        finish: merge.finish,
        fail: merge.fail,
    };
    let until = policy.commit_after.map(|after| context.started + after);
    let heads = tokio::select! {
        heads = first(openings, rules, until) => heads,
        () = app.cut_off() => return Err(Rejection::cut_off()),
    };
    match heads {
        Heads::Begin(heads) => start(app, &peer.conn, admitted, (target, rules), heads, request),
        Heads::Refused(refused) => match refused.answer {
            Some(answer) => Ok(pass_on(app, &peer.conn, admitted, answer.head, answer.body)),
            None => Err(Rejection {
                message: refused.failure.message.into(),
                blame: Blame::Agents,
                ..Rejection::new(refused.status, refused.failure.code, "")
            }),
        },
    }
}

/// Starts the stream.
fn start(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    admitted: &mut Admitted,
    (target, rules): (Target, Rules),
    agents: Vec<Head>,
    request: ClientRequest,
) -> Result<Response<Body>, Rejection> {
    let context = Arc::clone(&admitted.context);
    let max = admitted.loaded.config.limits.max_streams;
    let registration = app.streams.register(&context, max, &conn.share);
    let registration = registration.map_err(|full| Rejection::too_many_streams(max, full))?;
    let id = registration.live.id.to_string();
    let (mut head, ()) = Response::new(()).into_parts();
    head::stream(&mut head.headers, &id);
    head::chosen(&mut head.headers);
    head::translated(&mut head.headers, target);
    (head.headers).insert(REQUEST_ID, context.identity.request_id.clone());
    let mut begin = request.resuming;
    let resuming = (begin.as_mut()).map(|begin| begin.resuming(app, &head.headers));
    context.metrics.request("stream", head.status);
    let names = (context.route.merge.as_ref()).map_or_else(Vec::new, |merge| merge.names());
    let or_id = |name: &str| {
        if name.is_empty() {
            id.clone()
        } else {
            name.to_owned()
        }
    };
    let merging = Merging {
        ensemble: Arc::new(Ensemble::new(
            &or_id(&request.run),
            &or_id(&request.thread),
            &names,
        )),
        board: Arc::new(Board::new(&names)),
    };
    let policy = &context.route.policy;
    let settings = Settings {
        target,
        began: session::unix_time(),
        statuses: policy.reply.statuses,
        ensemble: Arc::clone(&merging.ensemble),
        board: Arc::clone(&merging.board),
        lengths: session::lengths(&context),
        choice: policy.dialect,
        members: admitted.members(),
        max_event_bytes: policy.max_event_bytes,
        hide: Arc::clone(&policy.hide),
    };
    let start = Start {
        framing: Framing::Sse,
        coding: Coding::Identity,
        source: Box::new(Merged::new(agents, rules, settings)),
        sent: context.started,
        dialect: None,
        target: Some(target),
        whole: false,
        late_head: false,
        heartbeat: policy.heartbeat,
        members: admitted.members(),
        status: head.status,
        detaches: None,
        subscribes: false,
        reader: Arc::clone(conn) as Arc<dyn Reader>,
        span: admitted.span.take(),
        asked_model: admitted.asked_model.take(),
        recording: None,
        resuming,
        merging: Some(merging),
    };
    let Started {
        receiver,
        task,
        preamble,
    } = session::start(&app.metrics, registration, start);
    // Only now can the stream be found: a second request with the same idempotency key has waited for it.
    drop(begin);
    let body = Body::stream(receiver, task, Arc::clone(&context.metrics), preamble);
    Ok(Response::from_parts(head, body))
}
