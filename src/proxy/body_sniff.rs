//! What a request's body says as it passes: which dialect it asks for, and whether it asks for a stream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, header, request};

use crate::dialect::{Dialect, Members};
use crate::wire::members::Scanner;

/// The members of a body that matter, as far as it has passed.
#[derive(Clone, Debug, Default)]
pub(super) struct BodySniff(Arc<Mutex<Members>>);

impl BodySniff {
    /// Looks at each piece of the body; keeps no more of it than those members.
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
        // Notes are whole whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the body must be listened to: it decides where the head does not, and JSON-RPC calls have an id that the
/// answer repeats.
pub(super) fn matters(hint: Option<Dialect>, commits: bool, parts: &request::Parts) -> bool {
    let is_json = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
        kind.contains("json")
    });
    let decides = hint.is_none_or(Dialect::reads_request_body);
    commits || (decides && is_json && parts.method == Method::POST)
}

/// What the head of a request says.
pub(super) fn accepts_stream(parts: &request::Parts) -> bool {
    let mut accepted = parts.headers.get_all(header::ACCEPT).iter();
    accepted.any(|value| {
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        // Who takes either waits for neither.
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
