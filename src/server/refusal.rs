//! Requests that are refused before the HTTP engine has their head: those that are not HTTP, and those whose head comes
//! too slowly. Each has an id, in its answer and in the log.
//!
//! The engine answers what is not HTTP by itself, without asking the service. Its answer is recognized by the state of
//! the connection: bytes have come from the client since the last request, and none of them was a request.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;

use crate::client_conn::ClientConn;
use crate::log::access::Line;
use crate::metrics::Refusal;
use crate::session::identity::{Identity, REQUEST_ID};
use crate::session::request_line::{Grade, RequestLine};

/// The engine's own answers are shorter than this.
const MAX_ANSWER: usize = 256;
const END: &[u8] = b"\r\n\r\n";
/// Sent to a client that does not complete its request head in time (RFC 9110, 15.5.9), before an id.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\nx-request-id: ";

/// Returns what is written in place of `answer`, if that is the engine's own answer to something that is not HTTP: the
/// same, with an id. Must be called only when all that was written before was flushed.
pub(super) fn named(conn: &ClientConn, answer: &[u8]) -> Option<Bytes> {
    if answer.len() > MAX_ANSWER || conn.awaits_head().is_none() {
        return None;
    }
    let status = status(answer)?;
    let head = answer.strip_suffix(END)?;
    let id = new_id();
    let named = [head, b"\r\nx-request-id: ", id.as_bytes(), END].concat();
    conn.refused.set(id, status).then(|| named.into())
}

/// Returns the status of an engine's answer, if it is one.
fn status(answer: &[u8]) -> Option<StatusCode> {
    let code = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let status = StatusCode::from_bytes(code).ok()?;
    status.is_client_error().then_some(status)
}

/// Returns the answer to a client that does not complete its request head in time.
pub(super) fn too_slow(conn: &ClientConn) -> Vec<u8> {
    let id = new_id();
    let answer = [TOO_SLOW, id.as_bytes(), END].concat();
    conn.refused.set(id, StatusCode::REQUEST_TIMEOUT);
    answer
}

fn new_id() -> HeaderValue {
    Identity::of(&mut HeaderMap::new()).request_id
}

/// Writes the log line of the request that the connection has refused. `status` is that of its answer, unless the
/// answer was seen and is known better.
pub(super) fn log(conn: &ClientConn, client: Option<IpAddr>, reason: Refusal, status: StatusCode) {
    let refused = conn.refused.get();
    let mut headers = HeaderMap::new();
    if let Some((id, _)) = refused {
        headers.insert(REQUEST_ID, id.clone());
    }
    let line = RequestLine {
        identity: &Identity::of(&mut headers),
        route: None,
        client,
        method: None,
        path: None,
        started: conn.awaits_head().unwrap_or_else(Instant::now),
        outcome: "refused",
        code: Some(reason.as_str()),
        status: Some(refused.map_or(status, |(_, status)| *status)),
        bytes: None,
        cause: None,
        grade: Grade::Info,
    };
    line.write(Line::Failure, "request refused");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    fn conn() -> Arc<ClientConn> {
        Arc::new(ClientConn::new(
            Duration::from_secs(1),
            Duration::from_secs(1),
        ))
    }

    #[tokio::test]
    async fn the_engines_own_answer_gets_an_id() {
        let conn = conn();
        let named = named(&conn, ANSWER).unwrap();
        let (id, status) = conn.refused.get().unwrap();
        assert_eq!(*status, StatusCode::BAD_REQUEST);
        let text = String::from_utf8(named.to_vec()).unwrap();
        let end = format!(
            "content-length: 0\r\nx-request-id: {}\r\n\r\n",
            id.to_str().unwrap()
        );
        assert!(
            text.starts_with("HTTP/1.1 400 ") && text.ends_with(&end),
            "{text}"
        );
    }

    #[tokio::test]
    async fn nothing_else_is_changed() {
        let conn = conn();
        for other in [
            &b"HTTP/1.1 200 OK\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\n",
            b"x",
            b"",
        ] {
            assert_eq!(named(&conn, other), None);
        }
        let request = conn.request(false);
        assert_eq!(named(&conn, ANSWER), None, "a request is in progress");
        drop(request);
        assert_eq!(named(&conn, ANSWER), None, "it is the end of its body");
        conn.note_read();
        assert!(named(&conn, ANSWER).is_some());
    }
}
