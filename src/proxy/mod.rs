//! One request: find its route, call the upstream, answer with a stream or pass the answer through.

mod account;
mod admit;
mod body_sniff;
mod call;
mod detach;
mod errors;
pub mod identity;
mod interim;
mod live;
mod request_span;
mod response_kind;
mod source;
mod validate;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header, request};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, timeout_at};

use crate::app::App;
use crate::client_conn::ClientConn;
use crate::reply::body::Body;
use crate::upstream::request::Origin;
use crate::upstream::{Error, RequestBody, RequestLimits};
use body_sniff::BodySniff;
use call::Call;
use detach::DetachableCall;
use identity::{Identity, REQUEST_ID};
use source::CallSource;

/// Who asks, and on which worker.
#[derive(Clone, Debug)]
pub struct Peer {
    /// For the forwarded fields.
    pub origin: Origin,
    /// The worker that serves the connection.
    pub worker: usize,
    /// The connection.
    pub conn: Arc<ClientConn>,
}

/// Answers one request.
pub async fn serve(app: &Arc<App>, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let under_way = app.request(peer.worker);
    let open = peer
        .conn
        .request(request.version() == http::Version::HTTP_2);
    let (mut parts, incoming) = request.into_parts();
    let identity = Identity::of(&mut parts.headers);
    let mut response = match admit::admit(app, peer, &parts, identity.clone(), started) {
        Ok(mut call) => {
            if let Some(traces) = &app.traces {
                call.record(traces, &mut parts.headers, peer.origin.scheme);
            }
            answer(app, peer, call, parts, incoming).await
        }
        Err(refusal) => named(*refusal, &identity),
    };
    let body = std::mem::replace(response.body_mut(), Body::fixed(Bytes::new()));
    response.map(|_| body.over(Arc::clone(&peer.conn)).holding((under_way, open)))
}

/// Answers of Weir's own say which request they belong to.
fn named(mut response: Response<Body>, identity: &Identity) -> Response<Body> {
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(REQUEST_ID, identity.request_id.clone());
    response
}

async fn answer(
    app: &Arc<App>,
    peer: &Peer,
    mut call: Call,
    parts: request::Parts,
    incoming: Incoming,
) -> Response<Body> {
    if call.is_too_many(app) {
        return call.overloaded(call.loaded.config.limits.max_streams);
    }
    let policy = &call.route.policy;
    let limits = RequestLimits {
        max_bytes: policy.max_request_bytes,
        idle: call.loaded.config.limits.request_body,
    };
    let listener = call.sniff.as_ref().map(BodySniff::listener);
    let mut body = RequestBody::new(incoming, limits).heard_by(listener);
    let received = body.received();
    if body.is_too_large() {
        return call.failed(&Error::RequestTooLarge);
    }
    // To ask for the body is to answer `Expect: 100-continue`, which is the upstream's to do.
    if call.sniff.is_some() && !parts.headers.contains_key(header::EXPECT) {
        body.listen().await;
    }
    let Some(client) = call.loaded.client(peer.worker, &call.route) else {
        let message = "the route has no upstream";
        let code = StatusCode::BAD_GATEWAY;
        call.ended("upstream_connect", code);
        return errors::response(
            call.hint,
            &call.members(),
            code,
            "upstream_connect",
            message,
        );
    };
    peer.conn.allow_stall(policy.deadlines.client_stall);
    let deadlines = policy.deadlines;
    let origin = Origin {
        forwarded: policy.forwarded,
        ..peer.origin.clone()
    };
    let interim = interim::forwarder(&parts, &peer.conn);
    let accepts = body_sniff::accepts_stream(&parts);
    let request = Request::from_parts(parts, body);
    let total = call.started + deadlines.total;
    let calling = async move {
        match timeout_at(total, client.call(request, &origin, &deadlines, interim)).await {
            Ok(result) => result,
            Err(_) => Err(Error::TotalTimeout {
                limit: deadlines.total,
            }),
        }
    };
    let leaving = call.leaving();
    let mut calling = DetachableCall::new(Box::pin(calling), total, call.detaches);
    let first = tokio::select! {
        result = &mut calling => Some(result),
        () = app.cut_off() => {
            leaving.forget();
            calling.cancel();
            return call.drained();
        }
        () = patience(policy.commit_after) => None,
    };
    let response = match first {
        Some(result) => call.answered(app, result).await,
        None if body_sniff::is_stream(&call, accepts) => match calling.into_inner() {
            Some(calling) => call.commit(app, CallSource::new(calling)),
            None => call.drained(),
        },
        None => tokio::select! {
            result = &mut calling => call.answered(app, result).await,
            () = app.cut_off() => {
                calling.cancel();
                call.drained()
            }
        },
    };
    leaving.forget();
    response.map(|body| body.after(received))
}

/// Ready after `limit`; without one never.
async fn patience(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => pending().await,
    }
}
