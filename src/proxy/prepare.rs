//! Phase 2, prepare: builds the request that is forwarded, and the upstream call.

use http::{Method, Request, StatusCode, header, request};
use tokio::time::{Instant, timeout_at};

use super::admitted::Admitted;
use super::body_sniff::{self, BodySniff};
use super::reject::Rejection;
use super::resume::Begin;
use super::rewrite::Rewriting;
use super::{Peer, interim};
use crate::app::App;
use crate::config::REWRITTEN_BYTES;
use crate::session::AskedModel;
use crate::upstream::request::Origin;
use crate::upstream::{Calling, Error, Payload, Received, RequestBody, RequestLimits, Terms};

/// A request that is ready to be sent.
pub(super) struct Prepared {
    /// The upstream call. Nothing is sent before it is polled.
    pub(super) calling: Calling,
    /// The deadline of the whole call.
    pub(super) total_at: Instant,
    /// Shows whether all of the request has been read.
    pub(super) received: Received,
}

/// Prepares the upstream call of a request. `resuming` hears its body, if its client may come back to its stream.
///
/// # Errors
/// If the request cannot be forwarded: too many streams, too large, no upstream.
pub(super) async fn prepare(
    app: &App,
    peer: &Peer,
    admitted: &mut Admitted,
    resuming: Option<&Begin>,
    mut parts: request::Parts,
    incoming: Payload,
) -> Result<Prepared, Rejection> {
    let loaded = &admitted.loaded;
    let route = &admitted.context.route;
    let max_streams = loaded.config.limits.max_streams;
    let upgrades = admitted.websocket.is_some();
    let talks = route.upstream.is_websocket() && !upgrades;
    if talks && !matches!(parts.method, Method::GET | Method::POST) {
        return Err(Rejection {
            allow: Some("GET, POST"),
            ..Rejection::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "the agent speaks only WebSocket, and is asked with GET or POST",
            )
        });
    }
    if (admitted.hint.is_some() || upgrades)
        && let Err(full) = app.streams.check(max_streams, &peer.conn.share)
    {
        // This will most likely be one stream too many. It is rejected before an agent does any work for it.
        return Err(Rejection::too_many_streams(max_streams, full));
    }
    let policy = &route.policy;
    let deadlines = policy.deadlines;
    let total_at = admitted.context.started + deadlines.total;
    let rewriting = Rewriting::of(admitted, &parts);
    let limits = RequestLimits {
        max_bytes: if rewriting.is_on() || talks {
            policy.max_request_bytes.min(REWRITTEN_BYTES)
        } else {
            policy.max_request_bytes
        },
        idle: loaded.config.limits.request_body,
    };
    let mut sniff = admitted.sniff.as_ref().map(BodySniff::listener);
    let mut model = (admitted.asked_model.as_ref())
        .filter(|_| body_sniff::is_json(&parts))
        .map(AskedModel::listener);
    let mut names = resuming.and_then(Begin::listener);
    // A rewritten body is heard there as the client sent it.
    let mut original = rewriting.is_on().then(|| names.take()).flatten();
    let hears = sniff.is_some() || model.is_some() || names.is_some();
    let listener = hears.then_some(move |piece: &[u8]| {
        if let Some(listener) = &mut sniff {
            listener(piece);
        }
        if let Some(listener) = &mut model {
            listener(piece);
        }
        if let Some(listener) = &mut names {
            listener(piece);
        }
    });
    let mut body = RequestBody::new(incoming, limits).heard_by(listener);
    let received = body.received();
    if body.is_too_large() {
        return Err(Rejection::from(&Error::RequestTooLarge));
    }
    if rewriting.is_on() {
        let rewritten = timeout_at(
            total_at,
            rewriting.rewrite(&mut parts, &mut body, |sent| {
                if let Some(listener) = &mut original {
                    listener(sent);
                }
            }),
        );
        admitted.aggregates = tokio::select! {
            rewritten = rewritten => rewritten.unwrap_or_else(|_| {
                let limit = deadlines.total;
                Err(Rejection::from(&Error::TotalTimeout { limit }))
            })?,
            () = app.cut_off() => return Err(Rejection::cut_off()),
        };
    }
    // Reading the body would send `100 Continue` to the client, but only the upstream may decide that.
    if !rewriting.is_on() && admitted.sniff.is_some() && !parts.headers.contains_key(header::EXPECT)
    {
        body.listen().await;
    }
    let Some(client) = loaded.client(peer.worker, route) else {
        return Err(Rejection::upstream(
            "upstream_connect",
            "the route has no upstream",
        ));
    };
    peer.conn.allow_stall(deadlines.client_stall);
    let origin = Origin {
        forwarded: policy.forwarded,
        ..peer.origin.clone()
    };
    let interim = interim::forwarder(&parts, &peer.conn);
    let request = Request::from_parts(parts, body);
    let terms = Terms {
        ping: policy.heartbeat,
        max_message: policy.max_event_bytes,
    };
    let calling = async move {
        let answer = async {
            if upgrades {
                client.upgrade(request, &origin, &deadlines, interim).await
            } else if talks {
                let talk = client.converse(request, &origin, &deadlines, interim, terms);
                talk.await
            } else {
                client.call(request, &origin, &deadlines, interim).await
            }
        };
        match timeout_at(total_at, answer).await {
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
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::app::Loaded;
    use crate::client_conn::ClientConn;
    use crate::config::{self, Overrides};
    use crate::metrics::Metrics;
    use crate::proxy::admit;
    use crate::upstream::Sockets;
    use crate::upstream::hops::Hop;

    /// Loads a configuration whose only route leads to the upstream of this name.
    fn loaded(upstream: &str, metrics: &Metrics, sockets: &Arc<Sockets>) -> Loaded {
        let text = format!(
            "upstreams: {{ {upstream}: {{ endpoints: [\"http://127.0.0.1:1\"] }} }}\n\
            routes: [{{ name: r, upstream: {upstream} }}]\n"
        );
        let config = config::load(Some(("f", &text)), &Overrides::default()).unwrap();
        Loaded::new(config, metrics, sockets).unwrap()
    }

    #[tokio::test]
    async fn a_route_whose_upstream_is_gone_has_failed() {
        let (metrics, sockets) = (Arc::new(Metrics::new()), Arc::new(Sockets::default()));
        let app = App::new(
            loaded("a", &metrics, &sockets),
            Arc::clone(&sockets),
            Arc::clone(&metrics),
            None,
            Vec::new(),
        );
        let peer = Peer {
            origin: Origin {
                client: None,
                scheme: "http",
                forwarded: false,
                hop: Hop::random(),
            },
            worker: 0,
            conn: Arc::new(ClientConn::new(
                Duration::from_secs(1),
                Duration::from_secs(1),
            )),
            certificate: None,
        };
        let request = Request::builder().uri("/").header(header::HOST, "h");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let (now, under_way) = (Instant::now(), Arc::new(app.request(peer.worker)));
        let admitted = admit::admit(&app, &peer, &mut parts, now, &under_way, |_, _| None);
        let mut admitted = admitted.unwrap();
        admitted.loaded = Arc::new(loaded("b", &metrics, &sockets));
        let body = Payload::Whole(Bytes::new());
        let prepared = prepare(&app, &peer, &mut admitted, None, parts, body).await;
        let rejection = prepared.err().unwrap();
        assert_eq!(rejection.code, "upstream_connect");
        let response = admitted.reject(&app, &rejection);
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let text = metrics.encode();
        for counted in [
            "weir_requests_total{code=\"502\",kind=\"unary\",route=\"r\"} 1\n",
            "weir_upstream_errors_total{reason=\"upstream_connect\",route=\"r\"} 1\n",
        ] {
            assert!(text.contains(counted), "{counted} in {text}");
        }
    }
}
