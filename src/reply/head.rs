//! The head of a stream: the upstream's head, with headers that keep intermediaries from buffering the stream.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::encode::Encoder;
use crate::translate::Target;
use crate::upstream::fields::strip_hop_by_hop;

/// The header that carries the id of a stream.
pub const STREAM_ID: HeaderName = HeaderName::from_static("weir-stream-id");

const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Turns the headers of an upstream's response into those of a stream.
pub fn stream(headers: &mut HeaderMap, id: &str) {
    strip_hop_by_hop(headers);
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::ACCEPT_RANGES,
        header::TRAILER,
    ] {
        headers.remove(name);
    }
    // Caches must not store the stream, and intermediaries must not transform it.
    let given: Vec<&str> = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    if let Some(value) = cache_control(&given) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    // Turns off response buffering in nginx and proxies derived from it.
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(STREAM_ID, value);
    }
}

/// Returns the value of `Cache-Control` for a stream whose head has these. `None` if they cannot be joined.
fn cache_control(given: &[&str]) -> Option<HeaderValue> {
    if given.is_empty() {
        return Some(HeaderValue::from_static("no-cache, no-transform"));
    }
    let mut directives = given.join(", ");
    for needed in ["no-cache", "no-transform"] {
        if !directives
            .split(',')
            .any(|one| one.trim().eq_ignore_ascii_case(needed))
        {
            directives.push_str(if directives.is_empty() { "" } else { ", " });
            directives.push_str(needed);
        }
    }
    HeaderValue::from_str(&directives).ok()
}

/// Notes that the client has a choice of dialects, for caches.
pub fn chosen(headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("Weir-Reply"));
}

/// Turns the headers of a stream into those of one answer that is made of it.
pub fn whole(headers: &mut HeaderMap) {
    headers.remove("x-vercel-ai-ui-message-stream");
    headers.remove("x-vercel-ai-data-stream");
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
}

/// Turns the headers of a stream into those of its translation.
pub fn translated(headers: &mut HeaderMap, target: Target) {
    /// The clients of the AI SDK look for it.
    const UI_STREAM: HeaderName = HeaderName::from_static("x-vercel-ai-ui-message-stream");
    const DATA_STREAM: HeaderName = HeaderName::from_static("x-vercel-ai-data-stream");
    headers.remove(UI_STREAM);
    headers.remove(DATA_STREAM);
    let encoder = Encoder::translated(target.dialect(), target.framing());
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(encoder.content_type()),
    );
    if target == Target::AiSdk {
        headers.insert(UI_STREAM, HeaderValue::from_static("v1"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_on_the_way_may_hold_a_stream_back() {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", HeaderValue::from_static("5"));
        headers.insert("content-encoding", HeaderValue::from_static("gzip"));
        headers.insert("connection", HeaderValue::from_static("close"));
        headers.insert("cache-control", HeaderValue::from_static("no-store"));
        headers.insert("x-ratelimit", HeaderValue::from_static("7"));
        stream(&mut headers, "abc");
        assert!(
            ["content-length", "content-encoding", "connection"]
                .iter()
                .all(|name| !headers.contains_key(*name))
        );
        assert_eq!(headers["cache-control"], "no-store, no-cache, no-transform");
        assert_eq!(headers["x-accel-buffering"], "no");
        assert_eq!(headers["x-ratelimit"], "7");
        assert_eq!(headers["weir-stream-id"], "abc");
        let mut headers = HeaderMap::new();
        stream(&mut headers, "abc");
        assert_eq!(headers["cache-control"], "no-cache, no-transform");
    }
}
