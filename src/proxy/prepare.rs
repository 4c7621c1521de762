//! Phase 2, prepare: the request as it is forwarded, and the upstream call that is to be made.

use http::{Request, header, request};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::admitted::Admitted;
use super::body_sniff::{self, BodySniff};
use super::reject::Rejection;
use super::{Peer, interim};
use crate::app::App;
use crate::upstream::request::Origin;
use crate::upstream::{Calling, Error, Received, RequestBody, RequestLimits};

/// A request that is ready to be sent.
pub(super) struct Prepared {
    /// The upstream call. Nothing is sent before it is polled.
    pub(super) calling: Calling,
    /// When the whole of it must be over.
    pub(super) total_at: Instant,
    /// Whether all of the request has been read.
    pub(super) received: Received,
    /// Whether the head of the request asks for a stream.
    pub(super) accepts_stream: bool,
}

/// Prepares the call of a request.
///
/// # Errors
/// When it cannot be forwarded: too many streams, too large, no upstream.
pub(super) async fn prepare(
    app: &App,
    peer: &Peer,
    admitted: &Admitted,
    parts: request::Parts,
    incoming: Incoming,
) -> Result<Prepared, Rejection> {
    let loaded = &admitted.loaded;
    let route = &admitted.context.route;
    let max_streams = loaded.config.limits.max_streams;
    if admitted.hint.is_some() && app.streams.len() >= max_streams {
        // This will most likely be one stream too many: better said before an agent works for it.
        return Err(Rejection::too_many_streams(max_streams));
    }
    let policy = &route.policy;
    let limits = RequestLimits {
        max_bytes: policy.max_request_bytes,
        idle: loaded.config.limits.request_body,
    };
    let listener = admitted.sniff.as_ref().map(BodySniff::listener);
    let mut body = RequestBody::new(incoming, limits).heard_by(listener);
    let received = body.received();
    if body.is_too_large() {
        return Err(Rejection::from(&Error::RequestTooLarge));
    }
    // To ask for the body is to answer `Expect: 100-continue`, which is the upstream's to do.
    if admitted.sniff.is_some() && !parts.headers.contains_key(header::EXPECT) {
        body.listen().await;
    }
    let Some(client) = loaded.client(peer.worker, route) else {
        return Err(Rejection::upstream(
            "upstream_connect",
            "the route has no upstream",
        ));
    };
    let deadlines = policy.deadlines;
    peer.conn.allow_stall(deadlines.client_stall);
    let origin = Origin {
        forwarded: policy.forwarded,
        ..peer.origin.clone()
    };
    let interim = interim::forwarder(&parts, &peer.conn);
    let accepts_stream = body_sniff::accepts_stream(&parts);
    let request = Request::from_parts(parts, body);
    let total_at = admitted.context.started + deadlines.total;
    let calling = async move {
        match timeout_at(total_at, client.call(request, &origin, &deadlines, interim)).await {
            Ok(result) => result,
            Err(_) => Err(Error::TotalTimeout {
                limit: deadlines.total,
            }),
        }
    };
    Ok(Prepared {
        calling: Box::pin(calling),
        total_at,
        received,
        accepts_stream,
    })
}
