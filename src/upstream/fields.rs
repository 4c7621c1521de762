//! Rules for headers: which are hop-by-hop, which may not be trailers, and what Content-Length says.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::error::Malformed;
use super::hops::CDN_LOOP;

/// Maximum number of headers of one response head, or of one trailer section.
pub(super) const MAX_FIELDS: usize = 256;

/// Headers that are always hop-by-hop (RFC 9110, 7.6.1), whatever `Connection` says.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Headers that stay even if `Connection` lists them. They frame, address or identify the message, and Weir has set
/// their values itself by then; or they end loops.
const NEVER_NOMINATED: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
    CDN_LOOP,
];

const CONTENT_LENGTH: Malformed = Malformed("Content-Length");

/// Headers that say how a message is framed, routed, authenticated or interpreted. As trailers they arrive too late
/// to be obeyed, and a recipient that merges them into the head is misled (RFC 9110, 6.5.1).
const NEVER_TRAILERS: [HeaderName; 14] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::LOCATION,
    header::PROXY_AUTHORIZATION,
    header::SET_COOKIE,
    header::TRAILER,
    HeaderName::from_static("x-forwarded-for"),
];

/// Removes the hop-by-hop headers of a request or response head.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let mut nominated = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        let names = value.to_str().unwrap_or_default().split(',');
        nominated
            .extend(names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()));
    }
    for name in nominated
        .iter()
        .filter(|name| !NEVER_NOMINATED.contains(name))
    {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Returns the announced length of the body. Replaces several equal values by one.
///
/// # Errors
/// If a value is not a length, or two values differ.
pub(super) fn content_length(headers: &mut HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    let mut count = 0;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for one in value.as_bytes().split(|byte| *byte == b',') {
            let one = one.trim_ascii();
            if one.is_empty() || !one.iter().all(u8::is_ascii_digit) {
                return Err(CONTENT_LENGTH);
            }
            let text = std::str::from_utf8(one).map_err(|_| CONTENT_LENGTH)?;
            let one: u64 = text.parse().map_err(|_| CONTENT_LENGTH)?;
            if length.is_some_and(|length| length != one) {
                return Err(Malformed("two different values of Content-Length"));
            }
            length = Some(one);
            count += 1;
        }
    }
    if let Some(length) = length.filter(|_| count > 1) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(length)
}

/// Returns those of a message's trailers that may be forwarded.
pub fn forwardable(mut trailers: HeaderMap) -> HeaderMap {
    for name in HOP_BY_HOP.iter().chain(&NEVER_TRAILERS) {
        trailers.remove(name);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_weir_says_itself_cannot_be_nominated_away() {
        let mut headers = HeaderMap::new();
        for name in ["traceparent", "x-request-id", "x-mine"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        let named = "traceparent, x-request-id, x-mine";
        headers.insert("connection", HeaderValue::from_static(named));
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["traceparent", "x-request-id"]);
    }

    #[test]
    fn trailers_frame_and_authorise_nothing() {
        let mut trailers = HeaderMap::new();
        for name in [
            "content-length",
            "transfer-encoding",
            "host",
            "authorization",
            "x-sum",
        ] {
            trailers.insert(HeaderName::from_static(name), "1".parse().unwrap());
        }
        let sent = forwardable(trailers);
        assert_eq!(sent.len(), 1);
        assert!(sent.contains_key("x-sum"));
    }
}
