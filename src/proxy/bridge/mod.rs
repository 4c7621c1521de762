//! Bridges: Weir accepts the WebSocket itself, and what its client asks for becomes requests on the usual way.
//!
//! ```text
//! upgrade_request ── admit ──► open ──► 101, and a Socket behind it
//!                                          │ for each message
//!                    admit ◄── Opened ◄────┘
//!                      └──► prepare ──► call ──► answer ──► Answer
//! ```

mod response;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request,
};
use tokio::time::Instant;

use super::admitted::Admitted;
use super::bridged::Bridged;
use super::reject::Rejection;
use super::resume;
use super::upgrade_request::only;
use super::{Peer, ask};
use crate::app::App;
use crate::bridge::{
    Accepted, Answer, Asking, BridgeRequest, Form, PROTOCOL, Requests, Start, is_allowed,
};
use crate::client_conn::ClientConn;
use crate::config::{REWRITTEN_BYTES, Route, WebSocket};
use crate::end::End;
use crate::metrics::RouteMetrics;
use crate::reply::body::Body;
use crate::reply::head::STREAM_ID;
use crate::session::identity::REQUEST_ID;
use crate::session::stream_id::StreamId;
use crate::translate::Target;
use crate::tunnel::{Account, Opened as Accounted};
use crate::upstream;
use crate::upstream::accept::{accepting, lists};
use crate::upstream::fields::strip_hop_by_hop;
use crate::upstream::request::Origin;
use response::{Read, answered, no_stream, read, refusal, unknown};

/// The one version of the protocol (RFC 6455, 4.1).
const VERSION: &[u8] = b"13";
/// What the agent is asked for.
const ACCEPT: &str = "text/event-stream, */*;q=0.1";

/// Reports whether the request opens a bridge.
pub(super) fn takes(admitted: &Admitted) -> bool {
    admitted.websocket.is_some() && admitted.context.route.policy.websocket == WebSocket::Bridge
}

/// Accepts the upgrade, or answers why not.
pub(super) fn open(
    app: &Arc<App>,
    peer: &Peer,
    mut admitted: Admitted,
    parts: &request::Parts,
) -> Response<Body> {
    match accept(app, peer, &mut admitted, parts) {
        Ok(response) => response.map(|body| body.holding(admitted.entered)),
        Err(rejection) => {
            let mut response = admitted.reject(app, &rejection);
            if rejection.status == StatusCode::UPGRADE_REQUIRED {
                let version = HeaderValue::from_static("13");
                let headers = response.headers_mut();
                headers.insert(header::SEC_WEBSOCKET_VERSION, version);
            }
            response
        }
    }
}

fn accept(
    app: &Arc<App>,
    peer: &Peer,
    admitted: &mut Admitted,
    parts: &request::Parts,
) -> Result<Response<Body>, Rejection> {
    let Some(upgrade) = admitted.websocket.take() else {
        return Err(bad("expected an upgrade to a WebSocket"));
    };
    let context = Arc::clone(&admitted.context);
    let policy = &context.route.policy;
    check(parts, &upgrade.key)?;
    let host = parts.headers.get(header::HOST);
    let host = (parts.uri.authority().map(http::uri::Authority::as_str))
        .or_else(|| host.and_then(|host| host.to_str().ok()));
    if !is_allowed(&parts.headers, host, &policy.bridge.origins) {
        return Err(Rejection::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "pages of this origin may not open a WebSocket here (websocket.origins)",
        ));
    }
    let max = admitted.loaded.config.limits.max_streams;
    let registration = app.streams.register(&context, max, &peer.conn.share);
    let registration = registration.map_err(|full| Rejection::too_many_streams(max, full))?;
    let live = Arc::clone(&registration.live);
    let mut response = Response::new(Body::upgraded());
    if upgrade.is_http2 {
        *response.status_mut() = StatusCode::OK;
    } else {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        upstream::request::upgrades(response.headers_mut());
        if let Ok(accept) = HeaderValue::from_str(&accepting(&upgrade.key)) {
            (response.headers_mut()).insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
    }
    let headers = response.headers_mut();
    if lists(
        &parts.headers,
        &header::SEC_WEBSOCKET_PROTOCOL,
        PROTOCOL.as_bytes(),
    ) {
        let protocol = HeaderValue::from_static(PROTOCOL);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    headers.insert(REQUEST_ID, context.identity.request_id.clone());
    if let Ok(id) = HeaderValue::from_str(&live.id.to_string()) {
        headers.insert(STREAM_ID, id);
    }
    let status = response.status();
    context.metrics.request("websocket", status);
    let mut span = admitted.span.take();
    if let Some(span) = &mut span {
        span.passing(None, status);
    }
    // The connection ends a client that takes nothing for longer.
    peer.conn.allow_stall(policy.deadlines.client_stall);
    let account = Account::new(Accounted {
        registration,
        status,
        span,
        metrics: Arc::clone(&app.metrics),
    });
    if app.refusing.load(Ordering::Relaxed) {
        // The drain has asked the other bridges to end already.
        live.stop(End::Drained);
    }
    let start = Start {
        requests: Arc::new(Opened::new(app, peer, admitted, parts)),
        settings: Arc::clone(&policy.bridge),
        // A client that has vanished must be noticed without heartbeats, too.
        heartbeat: if policy.heartbeat.is_zero() {
            policy.deadlines.idle
        } else {
            policy.heartbeat
        },
        stall: policy.deadlines.client_stall,
        max_message_bytes: usize::try_from(policy.max_request_bytes.min(REWRITTEN_BYTES))
            .unwrap_or(usize::MAX),
        message_pause: admitted.loaded.config.limits.request_body,
        metrics: Arc::clone(&context.metrics),
        account,
    };
    response.extensions_mut().insert(Accepted::new(start));
    Ok(response)
}

const fn bad(message: &'static str) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "bad_request", message)
}

/// Checks what an agent would check (RFC 6455, 4.2.1).
fn check(parts: &request::Parts, key: &HeaderValue) -> Result<(), Rejection> {
    let version = only(&parts.headers, &header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version.as_bytes().trim_ascii() != VERSION) {
        return Err(Rejection::new(
            StatusCode::UPGRADE_REQUIRED,
            "websocket_version",
            "expected Sec-WebSocket-Version: 13",
        ));
    }
    let key = BASE64_STANDARD.decode(key.as_bytes().trim_ascii());
    if key.is_ok_and(|key| key.len() == 16) {
        Ok(())
    } else {
        Err(bad("expected Sec-WebSocket-Key to be 16 bytes in base64"))
    }
}

/// What each request of a bridge begins with.
struct Opened {
    app: Arc<App>,
    origin: Origin,
    worker: usize,
    /// The fingerprint of the client's certificate.
    certificate: Option<[u8; 32]>,
    uri: Uri,
    version: Version,
    /// The headers of the upgrade, without those that belong to it.
    headers: HeaderMap,
    route: Arc<Route>,
    metrics: Arc<RouteMetrics>,
}

impl Opened {
    fn new(app: &Arc<App>, peer: &Peer, admitted: &Admitted, parts: &request::Parts) -> Self {
        let mut headers = parts.headers.clone();
        strip_hop_by_hop(&mut headers);
        for name in [
            header::ACCEPT,
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::EXPECT,
            header::SEC_WEBSOCKET_EXTENSIONS,
            header::SEC_WEBSOCKET_KEY,
            header::SEC_WEBSOCKET_PROTOCOL,
            header::SEC_WEBSOCKET_VERSION,
            header::UPGRADE,
            // Each run has its own.
            REQUEST_ID,
        ] {
            headers.remove(name);
        }
        // These would name one request.
        for name in ["idempotency-key", "last-event-id", "weir-reply"] {
            headers.remove(name);
        }
        let context = &admitted.context;
        let metadata = context.metadata.as_deref().map(str::as_bytes);
        if let Some(metadata) = metadata.and_then(|text| HeaderValue::from_bytes(text).ok()) {
            headers.insert(&admitted.loaded.config.complete.metadata, metadata);
        }
        Self {
            app: Arc::clone(app),
            origin: peer.origin.clone(),
            worker: peer.worker,
            certificate: peer.certificate,
            uri: parts.uri.clone(),
            version: parts.version,
            headers,
            route: Arc::clone(&context.route),
            metrics: Arc::clone(&context.metrics),
        }
    }

    /// Returns the head of a request. `target` is its path and query, if they are not those of the upgrade.
    fn head(
        &self,
        method: Method,
        target: Option<&str>,
        more: HeaderMap,
    ) -> Option<request::Parts> {
        let uri = match target {
            None => self.uri.clone(),
            Some(target) => {
                let mut uri = self.uri.clone().into_parts();
                uri.path_and_query = Some(target.parse::<PathAndQuery>().ok()?);
                Uri::from_parts(uri).ok()?
            }
        };
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = method;
        parts.uri = uri;
        parts.version = self.version;
        parts.headers = self.headers.clone();
        for (name, value) in more {
            if let Some(name) = name {
                parts.headers.insert(name, value);
            }
        }
        Some(parts)
    }

    /// Returns the request of a run.
    fn run(&self, form: Form, body: &Bytes, more: HeaderMap) -> Option<request::Parts> {
        let mut parts = self.head(Method::POST, None, more)?;
        let headers = &mut parts.headers;
        headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        parts.extensions.insert(self.bridged(form));
        Some(parts)
    }

    /// Returns the request for the stream of a chat, if the route has such requests.
    fn chat(&self, id: &str, more: HeaderMap) -> Option<request::Parts> {
        let chats = self.route.policy.resume.as_ref()?.chats.as_ref()?;
        let target = format!("{}{}{}", chats.prefix, encoded(id)?, chats.suffix);
        let mut parts = self.head(Method::GET, Some(&target), more)?;
        parts.extensions.insert(self.bridged(Form::AiSdk));
        Some(parts)
    }

    fn bridged(&self, form: Form) -> Bridged {
        Bridged {
            route: Arc::clone(&self.route),
            metrics: Arc::clone(&self.metrics),
            target: match form {
                Form::AiSdk => Target::AiSdk,
                Form::Native => Target::Ndjson,
            },
        }
    }
}

/// Returns text as one segment of a path; `None` if it would name another path, whatever its spelling (RFC 3986,
/// 5.2.4).
fn encoded(text: &str) -> Option<String> {
    if matches!(text, "" | "." | "..") {
        return None;
    }
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Some(out)
}

impl Requests for Opened {
    fn ask(&self, request: BridgeRequest, conn: Arc<ClientConn>) -> Asking {
        let app = Arc::clone(&self.app);
        let peer = Peer {
            origin: self.origin.clone(),
            worker: self.worker,
            certificate: self.certificate,
            conn,
        };
        match request {
            BridgeRequest::Run {
                form,
                body,
                headers,
            } => {
                let parts = self.run(form, &body, headers);
                Box::pin(async move {
                    let Some(parts) = parts else {
                        return Answer::Refused(unknown());
                    };
                    match read(ask(&app, &peer, parts, body).await).await {
                        Read::Stream(answer) => answer,
                        Read::Whole { status, .. } if status.is_success() => {
                            Answer::Refused(no_stream(status))
                        }
                        Read::Whole {
                            status,
                            body,
                            is_own,
                        } => Answer::Refused(refusal(status, &body, !is_own)),
                    }
                })
            }
            BridgeRequest::Chat { id, headers } => {
                let parts = self.chat(&id, headers);
                Box::pin(async move {
                    let Some(parts) = parts else {
                        return Answer::Nothing;
                    };
                    match read(ask(&app, &peer, parts, Bytes::new()).await).await {
                        Read::Stream(answer) => answer,
                        Read::Whole { status, .. } if status.is_success() => Answer::Nothing,
                        Read::Whole {
                            status,
                            body,
                            is_own,
                        } => Answer::Refused(refusal(status, &body, !is_own)),
                    }
                })
            }
            BridgeRequest::Resume { id, after } => {
                let target = format!("{}?after={after}", resume::path(id));
                let parts = self.head(Method::GET, Some(&target), HeaderMap::new());
                Box::pin(async move {
                    match at_endpoint(&app, &peer, parts).await {
                        Some(Read::Whole { status, .. }) if status.is_success() => Answer::Complete,
                        other => answered(other),
                    }
                })
            }
            BridgeRequest::Stop { id } => {
                let target = resume::path(id);
                let parts = self.head(Method::DELETE, Some(&target), HeaderMap::new());
                Box::pin(async move {
                    match at_endpoint(&app, &peer, parts).await {
                        Some(Read::Whole { status, .. }) if status.is_success() => Answer::Nothing,
                        other => answered(other),
                    }
                })
            }
        }
    }

    fn stop(&self, id: StreamId) -> bool {
        let live = self.app.streams.find(id);
        live.is_some_and(|live| {
            live.stop(End::Stopped);
            true
        })
    }
}

/// Asks for a stream by its id. Returns `None` if there are no such requests.
async fn at_endpoint(app: &Arc<App>, peer: &Peer, parts: Option<request::Parts>) -> Option<Read> {
    let mut parts = parts?;
    let guards = (app.request(peer.worker), peer.conn.request(false));
    let started = Instant::now();
    let response = resume::endpoint::answer(app, peer, &mut parts, started).await?;
    Some(read(response.map(|body| body.holding(guards))).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment() {
        assert_eq!(encoded("chat-1_~.").as_deref(), Some("chat-1_~."));
        let other = encoded("a/b?c d\u{e9}");
        assert_eq!(other.as_deref(), Some("a%2Fb%3Fc%20d%C3%A9"));
        assert_eq!(encoded("../x").as_deref(), Some("..%2Fx"));
        for elsewhere in ["", ".", ".."] {
            assert_eq!(encoded(elsewhere), None, "{elsewhere:?}");
        }
    }

    #[test]
    fn a_handshake_is_checked() {
        let parts = |version: &str| {
            let request = Request::builder().header("sec-websocket-version", version);
            request.body(()).unwrap().into_parts().0
        };
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(check(&parts("13"), &key), Ok(()));
        let old = check(&parts("8"), &key).unwrap_err();
        assert_eq!(old.status, StatusCode::UPGRADE_REQUIRED);
        for key in ["", "abc", "dGhlIHNhbXBsZQ=="] {
            let refused = check(&parts("13"), &HeaderValue::from_static(key)).unwrap_err();
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{key}");
        }
    }
}
