//! Builds the request head for an upstream: the client's headers without the hop-by-hop ones, plus `X-Forwarded-*` and
//! `Forwarded`, which say who asked, and `CDN-Loop`, which ends loops.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Uri, Version, request};

use super::fields::strip_hop_by_hop;
use super::hops::Hop;
use crate::config::Endpoint;
use crate::log::address::Address;

/// Where a request came from, for the `X-Forwarded-*` and `Forwarded` headers.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Address of the client; `None` for Unix sockets.
    pub client: Option<IpAddr>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Whether to add `Forwarded`, too.
    pub forwarded: bool,
    /// What says that the request has come through this process.
    pub hop: Hop,
}

/// Turns a client's request head into the one for `endpoint`.
///
/// # Errors
/// If the path with the endpoint's prefix is not a valid request target.
pub fn forwarded(
    mut parts: request::Parts,
    endpoint: &Endpoint,
    origin: &Origin,
) -> Result<request::Parts, http::Error> {
    let trailers = accepts_trailers(&parts.headers);
    strip_hop_by_hop(&mut parts.headers);
    if trailers {
        parts
            .headers
            .insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    let host = host(&parts, endpoint);
    // Compressed events would have to be decompressed to be seen; the agent should not spend time on compression.
    parts.headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    forwarded_fields(&mut parts.headers, &host, origin);
    origin.hop.append(&mut parts.headers);
    parts.headers.insert(header::HOST, host);
    parts.uri = Uri::builder()
        .path_and_query(target(&parts.uri, endpoint))
        .build()?;
    parts.version = Version::HTTP_11;
    parts.extensions = http::Extensions::new();
    Ok(parts)
}

/// Returns the request target at `endpoint`.
fn target(asked: &Uri, endpoint: &Endpoint) -> String {
    let prefix = &*endpoint.path_prefix;
    if endpoint.websocket && !prefix.is_empty() {
        // An agent that speaks only WebSocket has one place for it.
        return (asked.query())
            .map_or_else(|| prefix.to_owned(), |query| format!("{prefix}?{query}"));
    }
    let path = asked.path_and_query().map_or("/", |path| path.as_str());
    // The path of `http://host?query` is empty and means the root.
    let root = if path.starts_with('?') { "/" } else { "" };
    format!("{prefix}{root}{path}")
}

/// Asks for a WebSocket. The fields of the client's own connection have been removed, and these are of this one.
pub fn upgrades(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Joins cookies (RFC 9113, 8.2.3): HTTP/2 splits them so that they compress better; HTTP/1.1 allows one header only.
fn join_cookies(headers: &mut HeaderMap) {
    let pieces: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if pieces.len() < 2 {
        return;
    }
    if let Ok(mut whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        whole.set_sensitive(true);
        headers.insert(header::COOKIE, whole);
    }
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',')
                .any(|item| item.trim().eq_ignore_ascii_case("trailers"))
        })
    })
}

/// Returns the authority that the client asked for: from an absolute target or an HTTP/2 request, else from `Host`.
/// Returns the endpoint's own authority if the request has none.
fn host(parts: &request::Parts, endpoint: &Endpoint) -> HeaderValue {
    let asked = parts
        .uri
        .authority()
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let own = || {
        HeaderValue::from_str(&endpoint.authority).unwrap_or(HeaderValue::from_static("localhost"))
    };
    asked
        .or_else(|| parts.headers.get(header::HOST).cloned())
        .unwrap_or_else(own)
}

fn forwarded_fields(headers: &mut HeaderMap, host: &HeaderValue, origin: &Origin) {
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    if let Some(client) = origin.client.map(Address) {
        let earlier: Vec<&str> = headers
            .get_all(FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let chain = if earlier.is_empty() {
            client.to_string()
        } else {
            format!("{}, {client}", earlier.join(", "))
        };
        if let Ok(value) = HeaderValue::from_str(&chain) {
            headers.insert(FOR, value);
        }
    }
    if origin.forwarded {
        forwarded_field(headers, host, origin);
    }
    headers
        .entry(PROTO)
        .or_insert(HeaderValue::from_static(origin.scheme));
    headers.entry(HOST).or_insert_with(|| host.clone());
}

/// Appends this hop to the list in `Forwarded` (RFC 7239).
fn forwarded_field(headers: &mut HeaderMap, host: &HeaderValue, origin: &Origin) {
    let client = match origin.client {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
        None => "unknown".to_owned(),
    };
    let host = host.to_str().unwrap_or_default();
    let hop = format!("for={client};host=\"{host}\";proto={}", origin.scheme);
    let earlier = headers.get_all(header::FORWARDED).iter();
    let mut list: Vec<&str> = earlier.filter_map(|value| value.to_str().ok()).collect();
    list.push(&hop);
    if let Ok(value) = HeaderValue::from_str(&list.join(", ")) {
        headers.insert(header::FORWARDED, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Target;

    fn forward(fields: &[(&str, &str)]) -> HeaderMap {
        let mut builder = http::Request::builder().uri("/x?y=1").method("POST");
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let endpoint = Endpoint {
            target: Target::Tcp("agent".into(), 80),
            tls: false,
            authority: "agent".into(),
            path_prefix: "/base".into(),
            websocket: false,
        };
        let origin = Origin {
            client: Some([192, 0, 2, 1].into()),
            scheme: "http",
            forwarded: true,
            hop: Hop::random(),
        };
        let parts =
            forwarded(builder.body(()).unwrap().into_parts().0, &endpoint, &origin).unwrap();
        assert_eq!(parts.uri, "/base/x?y=1");
        parts.headers
    }

    #[test]
    fn fields_of_one_hop_end_here() {
        let sent = forward(&[
            ("connection", "close, X-Secret, Host, content-length"),
            ("x-secret", "1"),
            ("host", "h"),
            ("content-length", "3"),
            ("keep-alive", "1"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("authorization", "Bearer k"),
        ]);
        for gone in [
            "connection",
            "x-secret",
            "keep-alive",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
        ] {
            assert!(!sent.contains_key(gone), "{gone}");
        }
        assert_eq!(sent["host"], "h");
        assert_eq!(sent["content-length"], "3");
        assert_eq!(sent["te"], "trailers");
        assert_eq!(sent["authorization"], "Bearer k");
    }

    #[test]
    fn the_path_of_a_websocket_takes_the_place_of_the_requests() {
        let endpoint = |prefix: &str, websocket| Endpoint {
            target: Target::Tcp("agent".into(), 80),
            tls: false,
            authority: "agent".into(),
            path_prefix: prefix.into(),
            websocket,
        };
        for (asked, prefix, websocket, want) in [
            ("/chat?x=1", "/ws", true, "/ws?x=1"),
            ("/chat", "/ws/", true, "/ws/"),
            ("/chat?x=1", "", true, "/chat?x=1"),
            ("/chat?x=1", "/ws", false, "/ws/chat?x=1"),
            ("http://host?x=1", "", false, "/?x=1"),
        ] {
            let asked: Uri = asked.parse().unwrap();
            assert_eq!(target(&asked, &endpoint(prefix, websocket)), want);
        }
    }

    #[test]
    fn who_asked_is_told_and_earlier_hops_are_kept() {
        let sent = forward(&[
            ("host", "h"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(sent["forwarded"], "for=192.0.2.1;host=\"h\";proto=http");
        assert_eq!(sent["x-forwarded-for"], "10.0.0.1, 192.0.2.1");
        assert_eq!(sent["x-forwarded-proto"], "https");
        assert_eq!(sent["x-forwarded-host"], "h");
        assert_eq!(sent["accept-encoding"], "identity");
    }
}
