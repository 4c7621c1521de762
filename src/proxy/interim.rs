//! Forwards interim (1xx) responses of an upstream to clients that can receive them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, StatusCode, Version, request};

use crate::client_conn::ClientConn;
use crate::upstream::Interim;
use crate::upstream::fields::strip_hop_by_hop;

/// How many interim responses to one request are forwarded. More are dropped as a flood.
const MAX_TOLD: usize = 32;

/// Returns a callback that forwards interim responses to `conn`. Returns `None` if the client cannot receive them:
/// HTTP/1.0 has no interim responses, and the HTTP/2 engine cannot send them.
pub(super) fn forwarder(parts: &request::Parts, conn: &Arc<ClientConn>) -> Option<Interim> {
    if parts.version != Version::HTTP_11 {
        return None;
    }
    let conn = Arc::clone(conn);
    let told = AtomicUsize::new(0);
    Some(Arc::new(move |status, headers| {
        // Weir itself sends 100 when it begins to read the body, and a 101 was not requested.
        let is_own = status == StatusCode::CONTINUE || status == StatusCode::SWITCHING_PROTOCOLS;
        if !is_own && told.fetch_add(1, Ordering::Relaxed) < MAX_TOLD {
            conn.interim(&encode(status, headers.clone()));
        }
    }))
}

fn encode(status: StatusCode, mut headers: HeaderMap) -> Vec<u8> {
    strip_hop_by_hop(&mut headers);
    let reason = status.canonical_reason().unwrap_or("Informational");
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in &headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_without_the_fields_of_its_hop() {
        let mut headers = HeaderMap::new();
        headers.insert("link", "</a.css>; rel=preload".parse().unwrap());
        headers.insert("connection", "x-hop".parse().unwrap());
        headers.insert("x-hop", "1".parse().unwrap());
        let head = encode(StatusCode::EARLY_HINTS, headers);
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
        );
    }
}
