//! Recognizes requests for WebSockets, and decides who takes them.
//!
//! A request over HTTP/2 (extended CONNECT, RFC 8441) becomes the GET that it stands for, so that routes, limits and
//! headers are the same. Its key, which HTTP/2 has none of, is made up.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request};
use hyper::ext::Protocol;

use super::reject::Refused;
use crate::config::{Route, WebSocket};
use crate::metrics::Refusal;
use crate::upstream::accept::lists;
use crate::upstream::takes_upgrades;

const WEBSOCKET: &[u8] = b"websocket";

/// What the client of a WebSocket has asked for. It is an extension of its request.
#[derive(Clone, Debug)]
pub(super) struct UpgradeRequest {
    pub(super) key: HeaderValue,
    /// The client speaks HTTP/2, so the answer is a 200.
    pub(super) is_http2: bool,
}

/// Notes in the extensions of a request that it asks for a WebSocket, if it does so in a valid way. `is_empty`: it has
/// no body.
pub(super) fn recognize(parts: &mut request::Parts, is_empty: bool) {
    let upgrade = if parts.version == Version::HTTP_2 {
        over_http2(parts)
    } else {
        over_http1(parts, is_empty)
    };
    if let Some(upgrade) = upgrade {
        parts.extensions.insert(upgrade);
    }
}

fn over_http1(parts: &request::Parts, is_empty: bool) -> Option<UpgradeRequest> {
    let is_valid = is_named_alone(&parts.headers)
        && lists(&parts.headers, &header::CONNECTION, b"upgrade")
        && parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && is_empty
        && !parts.headers.contains_key(header::TRANSFER_ENCODING);
    let key = only(&parts.headers, &header::SEC_WEBSOCKET_KEY).filter(|_| is_valid)?;
    // 16 bytes (RFC 6455, 4.2.1).
    let is_key = (BASE64_STANDARD.decode(key)).is_ok_and(|random| random.len() == 16);
    if !is_key {
        return None;
    }
    Some(UpgradeRequest {
        key: key.clone(),
        is_http2: false,
    })
}

/// Turns an extended CONNECT into the GET that it stands for.
fn over_http2(parts: &mut request::Parts) -> Option<UpgradeRequest> {
    let protocol = parts.extensions.get::<Protocol>()?;
    if parts.method != Method::CONNECT || !protocol.as_ref().eq_ignore_ascii_case(WEBSOCKET) {
        return None;
    }
    let mut random = [0; 16];
    // It guards against answers of caches. No secret depends on it.
    let _ = getrandom::fill(&mut random);
    let key = HeaderValue::from_str(&BASE64_STANDARD.encode(random)).ok()?;
    parts.method = Method::GET;
    parts.headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
    parts
        .headers
        .entry(header::SEC_WEBSOCKET_VERSION)
        .or_insert(HeaderValue::from_static("13"));
    Some(UpgradeRequest {
        key,
        is_http2: true,
    })
}

/// Reports whether `Upgrade` names WebSockets, and nothing else.
pub(super) fn is_named_alone(headers: &HeaderMap) -> bool {
    only(headers, &header::UPGRADE).is_some_and(|value| {
        value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(WEBSOCKET)
    })
}

/// Returns the value of a field that is there once.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Reports whether a request was recognized.
pub(super) fn is_asked(parts: &request::Parts) -> bool {
    parts.extensions.get::<UpgradeRequest>().is_some()
}

/// Checks that the route takes WebSockets.
pub(super) fn allowed(route: &Route, parts: &request::Parts) -> Result<(), Refused> {
    if !is_asked(parts) {
        return Ok(());
    }
    let message = match route.policy.websocket {
        WebSocket::Bridge => return Ok(()),
        WebSocket::Off => "WebSockets are switched off for this route (websocket: off)",
        WebSocket::Tunnel if route.merge.is_some() => {
            "several agents serve this route (merge), and none of them alone could take a WebSocket"
        }
        WebSocket::Tunnel if takes_upgrades(&route.upstream) => return Ok(()),
        WebSocket::Tunnel => {
            "the agent is spoken to in HTTP/2 without TLS (http2: true), which carries no WebSockets"
        }
    };
    Err(not_supported(message))
}

/// Creates the rejection of an upgrade that nobody here serves.
pub(super) const fn not_supported(message: &'static str) -> Refused {
    Refused::new(
        StatusCode::NOT_IMPLEMENTED,
        Refusal::UpgradeNotSupported,
        message,
    )
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::config::{self, Overrides};

    const FIELDS: [(&str, &str); 3] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn parts(method: &str, version: Version, fields: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder()
            .method(method)
            .version(version)
            .uri("/ws");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn is_recognized(
        method: &str,
        version: Version,
        fields: &[(&str, &str)],
        is_empty: bool,
    ) -> bool {
        let mut parts = parts(method, version, fields);
        recognize(&mut parts, is_empty);
        is_asked(&parts)
    }

    #[test]
    fn only_a_whole_request_is_recognized() {
        let [connection, upgrade, key] = FIELDS;
        let http1 = |fields: &[(&str, &str)]| is_recognized("GET", Version::HTTP_11, fields, true);
        assert!(http1(&FIELDS));
        for fields in [
            &[upgrade, key][..],
            &[connection, key],
            &[connection, upgrade],
            &[connection, upgrade, key, key],
            &[connection, upgrade, ("sec-websocket-key", "AAAA")],
            &[
                connection,
                upgrade,
                ("sec-websocket-key", "!!!!!!!!!!!!!!!!!!!!!!!!"),
            ],
            &[connection, upgrade, upgrade, key],
            &[connection, ("upgrade", "websocket, foo"), key],
            &[connection, ("upgrade", "h2c"), key],
            &[("connection", "close"), upgrade, key],
        ] {
            assert!(!http1(fields), "{fields:?}");
        }
        assert!(
            !is_recognized("GET", Version::HTTP_11, &FIELDS, false),
            "a body"
        );
        assert!(!is_recognized("POST", Version::HTTP_11, &FIELDS, true));
        assert!(!is_recognized("GET", Version::HTTP_10, &FIELDS, true));
        assert!(!is_recognized("GET", Version::HTTP_2, &FIELDS, true));
    }

    #[test]
    fn a_websocket_has_one_agent() {
        let asks = |route: &str| {
            let text = format!(
                "upstreams: {{agent: {{endpoints: [\"http://127.0.0.1:8000\"]}}}}\n\
                routes: [{{name: chat, {route}}}]\n"
            );
            let config = config::load(Some(("f", &text)), &Overrides::default());
            let config = config.map_err(|problems| problems.to_string()).unwrap();
            let mut parts = parts("GET", Version::HTTP_11, &FIELDS);
            recognize(&mut parts, true);
            allowed(&config.routes[0], &parts).map_err(|rejection| rejection.status)
        };
        let agents = "{name: a, upstream: agent}, {name: b, upstream: agent}";
        let merge = format!("reply: {{as: events}}, merge: {{agents: [{agents}]}}");
        assert_eq!(asks("websocket: tunnel"), Ok(()));
        assert_eq!(asks(&merge), Err(StatusCode::NOT_IMPLEMENTED));
        assert_eq!(asks(&format!("{merge}, websocket: bridge")), Ok(()));
    }

    #[test]
    fn an_extended_connect_is_the_get_that_it_stands_for() {
        let mut connect = parts(
            "CONNECT",
            Version::HTTP_2,
            &[("sec-websocket-protocol", "a")],
        );
        connect
            .extensions
            .insert(Protocol::from_static("websocket"));
        recognize(&mut connect, true);
        assert!(is_asked(&connect));
        assert_eq!(connect.method, Method::GET);
        assert_eq!(connect.headers["sec-websocket-version"], "13");
        assert_eq!(connect.headers["sec-websocket-key"].len(), 24);
        let mut other = parts("CONNECT", Version::HTTP_2, &[]);
        other
            .extensions
            .insert(Protocol::from_static("connect-udp"));
        recognize(&mut other, true);
        assert!(!is_asked(&other));
        assert_eq!(other.method, Method::CONNECT);
    }
}
