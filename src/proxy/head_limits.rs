//! The limits of a request head: `limits.max_header_bytes` and `limits.max_headers`.
//!
//! The HTTP/1.1 engine refuses larger heads itself, and `server::refusal` sees to their id and their log line. The
//! HTTP/2 engine does so without either. It therefore passes on heads up to
//! [`http2_head_bytes`](crate::config::http2_head_bytes), and they are refused here, before anything else looks at the
//! request.

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Response, StatusCode, Version, request};
use hyper::ext::Protocol;
use tokio::time::Instant;

use super::bridged::Bridged;
use super::reject::{Counted, Refused, Rejected, reject};
use super::{Peer, admit};
use crate::app::App;
use crate::config::Limits;
use crate::dialect::{Members, RequestHead, detect};
use crate::metrics::Refusal;
use crate::reply::body::Body;
use crate::session::identity::{Identity, REQUEST_ID, TRACEPARENT};

/// What HTTP/2 counts for a field in addition to its name and value (RFC 9113, 6.5.2).
const FIELD_BYTES: usize = 32;

/// Refuses a request whose head is too large. Returns `None` if it is not.
pub(super) fn refuse(
    app: &App,
    peer: &Peer,
    parts: &request::Parts,
    started: Instant,
) -> Option<Response<Body>> {
    let refused = check(parts, &app.loaded().config.limits).err()?;
    let path = parts.uri.path();
    let head = RequestHead::new(path, parts.uri.query().unwrap_or_default(), &parts.headers);
    let dialect = detect::from_request(&head);
    let identity = Identity::of(&mut naming(&parts.headers));
    let path = admit::shown(path);
    let request = Rejected {
        identity: &identity,
        method: &parts.method,
        path: &path,
        client: peer.origin.client,
        started,
        version: parts.version,
        dialect,
        members: Members::default(),
        counted: Counted::Refused(&app.metrics, refused.code),
        answer: None,
        span: None,
    };
    Some(reject(request, &refused.into()))
}

fn check(parts: &request::Parts, limits: &Limits) -> Result<(), Refused> {
    // The head of a bridge's request was measured when its WebSocket was opened.
    let is_measured =
        parts.version == Version::HTTP_2 && parts.extensions.get::<Bridged>().is_none();
    if is_measured {
        let bytes = size(parts);
        if bytes > limits.max_header_bytes {
            return Err(too_large(bytes, limits.max_header_bytes));
        }
    }
    if parts.headers.len() > limits.max_headers {
        return Err(too_many(limits.max_headers));
    }
    Ok(())
}

/// Returns the size of a head as HTTP/2 counts it. Without an authority, the scheme is missing: it was not kept.
fn size(parts: &request::Parts) -> usize {
    let uri = &parts.uri;
    let pseudo = [
        (":method", Some(parts.method.as_str())),
        (":scheme", uri.scheme_str()),
        (":authority", uri.authority().map(Authority::as_str)),
        (":path", uri.path_and_query().map(PathAndQuery::as_str)),
        (
            ":protocol",
            parts.extensions.get::<Protocol>().map(Protocol::as_str),
        ),
    ];
    let pseudo = pseudo
        .into_iter()
        .filter_map(|(name, value)| Some(name.len() + value?.len()));
    let fields = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    pseudo.chain(fields).map(|bytes| bytes + FIELD_BYTES).sum()
}

/// Returns the headers that identify a request. Its own map may be full, so that not even an id can be added to it.
fn naming(headers: &HeaderMap) -> HeaderMap {
    let mut naming = HeaderMap::new();
    for name in [REQUEST_ID, TRACEPARENT] {
        // Of several values none counts, and the second one shows that there are several.
        for value in headers.get_all(&name).iter().take(2) {
            naming.append(&name, value.clone());
        }
    }
    naming
}

/// Creates the rejection of a head of `bytes`. Its code is what such a head has over HTTP/1.1.
fn too_large(bytes: usize, max: usize) -> Refused {
    Refused {
        message: format!(
            "the request head has {bytes} bytes, more than limits.max_header_bytes ({max})"
        )
        .into(),
        ..Refused::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::Malformed,
            "",
        )
    }
}

/// Creates the rejection of a head with more headers than allowed.
fn too_many(max: usize) -> Refused {
    Refused {
        message: format!("the request has more than limits.max_headers ({max}) headers").into(),
        ..Refused::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::TooManyHeaders,
            "",
        )
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;
    use crate::config::{self, Overrides};

    fn limits() -> Limits {
        let overrides = Overrides {
            upstream: Some("http://127.0.0.1:8000".to_owned()),
            ..Overrides::default()
        };
        config::load(None, &overrides).unwrap().limits
    }

    fn head(version: Version, name: &str, value: &str) -> request::Parts {
        let request = Request::get("http://h/x?y")
            .version(version)
            .header(name, value);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_head_is_measured_as_http2_counts_it() {
        let pseudo = (7 + 3) + (7 + 4) + (10 + 1) + (5 + 4) + 4 * FIELD_BYTES;
        let parts = head(Version::HTTP_2, "x-a", "1234");
        assert_eq!(size(&parts), pseudo + 3 + 4 + FIELD_BYTES);
        let mut websocket = head(Version::HTTP_2, "x-a", "1234");
        websocket
            .extensions
            .insert(Protocol::from_static("websocket"));
        assert_eq!(
            size(&websocket) - size(&parts),
            ":protocolwebsocket".len() + FIELD_BYTES
        );
    }

    #[test]
    fn only_http2_heads_are_measured_here() {
        let limits = limits();
        let fits = limits.max_header_bytes - size(&head(Version::HTTP_2, "x", ""));
        let code = |version, bytes| {
            let parts = head(version, "x", &"y".repeat(bytes));
            check(&parts, &limits).err().map(|refused| refused.code)
        };
        assert_eq!(code(Version::HTTP_2, fits), None);
        assert_eq!(code(Version::HTTP_2, fits + 1), Some(Refusal::Malformed));
        assert_eq!(code(Version::HTTP_11, fits + 1), None);
    }

    #[test]
    fn a_full_map_does_not_hinder_the_id() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("mine"));
        for number in 0..24_000 {
            let name = http::HeaderName::from_bytes(format!("x{number}").as_bytes()).unwrap();
            headers.insert(name, HeaderValue::from_static(""));
        }
        assert_eq!(Identity::of(&mut naming(&headers)).request_id, "mine");
        headers.append(REQUEST_ID, HeaderValue::from_static("another"));
        assert_eq!(naming(&headers).len(), 2);
    }
}
