//! The head of a stream: the upstream's, less what would buffer it, plus what keeps others from doing so.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::upstream::fields::strip_hop_by_hop;

/// Where a client finds the id of its stream.
pub const STREAM_ID: HeaderName = HeaderName::from_static("weir-stream-id");

/// Turns an upstream's response fields into those of a stream.
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
    // Caches must not keep it, and nobody on the way may recode it.
    let given: Vec<&str> = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
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
    if let Ok(value) = HeaderValue::from_str(&directives) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    // The one word that makes nginx and its relatives pass bytes on as they come.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(STREAM_ID, value);
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
    }
}
