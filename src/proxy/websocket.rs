//! The answer to a request for a WebSocket: a 101 is checked, and a tunnel begins behind it.
//!
//! ```text
//! upgrade_request ── admit ── prepare ── call ──► 101? ── yes ──► checked ──► tunnel
//!                                                   └── no ───► an ordinary answer
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header, response};

use super::admitted::Admitted;
use super::reject::Rejection;
use super::upgrade_request::{UpgradeRequest, is_named_alone, only};
use crate::app::App;
use crate::client_conn::ClientConn;
use crate::end::End;
use crate::reply::body::Body;
use crate::reply::head::STREAM_ID;
use crate::tunnel::{Account, Limits, Opened, Start};
use crate::upstream;
use crate::upstream::accept::{accepting, lists};
use crate::upstream::fields::strip_hop_by_hop;

/// Begins the tunnel behind an agent's 101.
///
/// # Errors
/// If the 101 is no answer to this request, or there are too many streams.
pub(super) fn tunnel(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    admitted: &mut Admitted,
    upgrade: &UpgradeRequest,
    mut head: response::Parts,
    body: upstream::Body,
) -> Result<Response<Body>, Rejection> {
    check(&head.headers, upgrade)?;
    let agent = body.into_upgraded().ok_or_else(|| refused(NO_CONNECTION))?;
    let context = Arc::clone(&admitted.context);
    let max = admitted.loaded.config.limits.max_streams;
    let registration = app.streams.register(&context, max, &conn.share);
    let registration = registration.map_err(|full| Rejection::too_many_streams(max, full))?;
    let live = Arc::clone(&registration.live);
    answer_head(&mut head, upgrade, &live.id.to_string());
    context.identity.answered(&mut head.headers);
    context.metrics.request("websocket", head.status);
    let mut span = admitted.span.take();
    if let Some(span) = &mut span {
        span.passing(None, head.status);
    }
    let account = Account::new(Opened {
        registration,
        status: head.status,
        span,
        metrics: Arc::clone(&app.metrics),
    });
    if app.refusing.load(Ordering::Relaxed) {
        // The drain has asked the other tunnels to end already.
        live.stop(End::Drained);
    }
    let deadlines = context.route.policy.deadlines;
    let start = Start {
        agent,
        limits: Limits {
            idle: deadlines.idle,
            stall: deadlines.client_stall,
            total_at: context.started + deadlines.total,
        },
        account,
    };
    Ok(Response::from_parts(head, Body::tunnel(start)))
}

const NO_CONNECTION: &str = "the upstream's 101 came without a connection";

fn refused(message: &'static str) -> Rejection {
    Rejection::upstream("upstream_error", message)
}

/// Refuses a success that is no 101, such as a plain 200. To a client over HTTP/2 it would accept the WebSocket (RFC
/// 8441, 5), although there is none. Over HTTP/1.1 it accepts nothing, and passes.
///
/// # Errors
/// If the client would be told what the agent did not say.
pub(super) fn refuse_success(upgrade: &UpgradeRequest) -> Result<(), Rejection> {
    if upgrade.is_http2 {
        return Err(refused(
            "the upstream answered the request for a WebSocket, but did not switch protocols",
        ));
    }
    Ok(())
}

/// Checks a 101 as a client does (RFC 6455, 4.1). The rest of it is between the two ends.
fn check(headers: &HeaderMap, upgrade: &UpgradeRequest) -> Result<(), Rejection> {
    if !is_named_alone(headers) || !lists(headers, &header::CONNECTION, b"upgrade") {
        return Err(refused(
            "the upstream's 101 does not say `Upgrade: websocket` and `Connection: Upgrade`",
        ));
    }
    let accept = only(headers, &header::SEC_WEBSOCKET_ACCEPT);
    if accept.is_none_or(|accept| accept.as_bytes() != accepting(&upgrade.key).as_bytes()) {
        return Err(refused(
            "the upstream's 101 does not accept this request (Sec-WebSocket-Accept)",
        ));
    }
    Ok(())
}

/// Turns the head of the agent's 101 into the one for the client.
fn answer_head(head: &mut response::Parts, upgrade: &UpgradeRequest, id: &str) {
    strip_hop_by_hop(&mut head.headers);
    head.headers.remove(header::CONTENT_LENGTH);
    head.extensions = http::Extensions::new();
    head.version = Version::HTTP_11;
    if let Ok(id) = HeaderValue::from_str(id) {
        head.headers.insert(STREAM_ID, id);
    }
    if upgrade.is_http2 {
        head.status = StatusCode::OK;
        head.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    } else {
        upstream::request::upgrades(&mut head.headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, 1.3.
    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    const CONNECTION: (&str, &str) = ("connection", "keep-alive, Upgrade");
    const UPGRADE: (&str, &str) = ("upgrade", "WebSocket");

    fn upgrade(is_http2: bool) -> UpgradeRequest {
        UpgradeRequest {
            key: HeaderValue::from_static(KEY.1),
            is_http2,
        }
    }

    fn head(fields: &[(&str, &str)]) -> response::Parts {
        let mut response = Response::builder().status(101);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_101_must_answer_this_request() {
        let accept = ("sec-websocket-accept", ACCEPT);
        let checked = |fields: &[(&str, &str)]| check(&head(fields).headers, &upgrade(false));
        let (connection, upgrade) = (CONNECTION, UPGRADE);
        assert_eq!(checked(&[connection, upgrade, accept]), Ok(()));
        for fields in [
            &[upgrade, accept][..],
            &[connection, accept],
            &[connection, upgrade],
            &[connection, upgrade, accept, accept],
            &[connection, ("upgrade", "foo"), accept],
            &[connection, upgrade, ("sec-websocket-accept", KEY.1)],
        ] {
            let rejection = checked(fields).unwrap_err();
            assert_eq!(rejection.status, StatusCode::BAD_GATEWAY, "{fields:?}");
            assert_eq!(rejection.code, "upstream_error");
        }
    }

    #[test]
    fn a_success_accepts_nothing_over_http2() {
        assert_eq!(refuse_success(&upgrade(false)), Ok(()));
        let rejection = refuse_success(&upgrade(true)).unwrap_err();
        assert_eq!(rejection.status, StatusCode::BAD_GATEWAY);
        assert_eq!(rejection.code, "upstream_error");
    }

    #[test]
    fn the_client_gets_what_the_ends_have_agreed_on() {
        let fields = [
            ("connection", "upgrade, x-hop"),
            ("upgrade", "websocket"),
            ("x-hop", "1"),
            ("sec-websocket-accept", ACCEPT),
            ("sec-websocket-protocol", "chat"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ];
        let mut http1 = head(&fields);
        answer_head(&mut http1, &upgrade(false), "id");
        assert_eq!(http1.status, StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(http1.headers["sec-websocket-accept"], ACCEPT);
        assert_eq!(http1.headers["connection"], "Upgrade");
        assert!(!http1.headers.contains_key("x-hop"));
        let mut http2 = head(&fields);
        answer_head(&mut http2, &upgrade(true), "id");
        assert_eq!(http2.status, StatusCode::OK);
        for gone in ["connection", "upgrade", "sec-websocket-accept"] {
            assert!(!http2.headers.contains_key(gone), "{gone}");
        }
        for both in [&http1, &http2] {
            assert_eq!(both.headers["sec-websocket-protocol"], "chat");
            assert_eq!(
                both.headers["sec-websocket-extensions"],
                "permessage-deflate"
            );
            assert_eq!(both.headers["weir-stream-id"], "id");
        }
    }
}
