//! Reads from a request's body, while it is forwarded, which dialect it asks for and whether it asks for a stream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, header, request};

use crate::dialect::{Dialect, Members};
use crate::wire::members::Scanner;

/// The members of a body that matter, as far as the body has been forwarded.
#[derive(Clone, Debug, Default)]
pub(super) struct BodySniff(Arc<Mutex<Members>>);

impl BodySniff {
    /// Returns a listener for the pieces of the body. It keeps only the members that matter.
    pub(super) fn listener(&self) -> impl FnMut(&[u8]) + Send + 'static {
        let sniff = self.clone();
        let mut scanner = Scanner::default();
        move |piece| {
            let mut members = sniff.lock();
            scanner.feed(piece, &mut |key, value| members.note(key, value));
        }
    }

    pub(super) fn members(&self) -> Members {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        // Each change is complete when the lock is released, so a poisoned lock is harmless.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports whether the body must be read: it identifies the dialect if the head does not, and an error response to a
/// JSON-RPC call repeats the id of the call. `decides` is set if the route treats requests for a stream differently.
pub(super) fn matters(hint: Option<Dialect>, decides: bool, parts: &request::Parts) -> bool {
    let identifies = hint.is_none_or(Dialect::reads_request_body);
    decides || (identifies && parts.method == Method::POST && is_json(parts))
}

/// Reports whether the head of a request announces JSON.
pub(super) fn is_json(parts: &request::Parts) -> bool {
    parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
        kind.contains("json")
    })
}

/// Reports whether the head of a request asks for a stream.
pub(super) fn accepts_stream(parts: &request::Parts) -> bool {
    let mut accepted = parts.headers.get_all(header::ACCEPT).iter();
    accepted.any(|value| {
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        // A client that accepts JSON as well does not rely on a stream.
        let is_stream = |kind: &&str| text.contains(kind);
        ["text/event-stream", "ndjson", "jsonl"]
            .iter()
            .any(is_stream)
            && !text.contains("application/json")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sniff(body: &[u8], cut: usize) -> Members {
        let sniff = BodySniff::default();
        let mut listener = sniff.listener();
        body.chunks(cut).for_each(&mut listener);
        sniff.members()
    }

    #[test]
    fn the_body_says_it_however_it_is_cut() {
        let long = format!("{{\"text\":\"{}\",\"stream\" : true}}", "x".repeat(500));
        let stream = |body: &[u8], cut| sniff(body, cut).raw("stream").to_vec();
        for cut in 1..40 {
            assert_eq!(stream(br#"{"stream":true,"n":1}"#, cut), b"true");
            assert_eq!(stream(b"{\"stream\" :\n false}", cut), b"false");
            assert_eq!(stream(long.as_bytes(), cut), b"true");
            assert_eq!(stream(br#"{"text":"\"stream\": true"}"#, cut), b"");
            assert_eq!(
                stream(br#"{"stream":{"type":"boolean"},"streams":true}"#, cut),
                b"{"
            );
            assert_eq!(stream(b"{}", cut), b"");
        }
    }
}
