//! Does a request ask for a stream? Only asked where the head may be sent before the upstream's is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use http::{Method, header, request};
use memchr::memmem;

use super::call::Call;
use crate::dialect::{Choice, Dialect};

const UNSAID: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

/// What the body of a request says, as it passes: `"stream": true`, or `false`.
#[derive(Clone, Debug, Default)]
pub(super) struct Said(Arc<AtomicU8>);

impl Said {
    /// Looks at each piece of the body; keeps no more of it than a key and its value take.
    pub(super) fn listener(&self) -> impl FnMut(&[u8]) + Send + 'static {
        const KEY: &[u8] = b"\"stream\"";
        /// Of the piece before: the key, its colon, its value and some white space.
        const KEPT: usize = 64;
        let said = Arc::clone(&self.0);
        let mut window = Vec::new();
        move |piece| {
            if said.load(Ordering::Relaxed) != UNSAID {
                return;
            }
            window.extend_from_slice(piece);
            for at in memmem::find_iter(&window, KEY) {
                let rest = window.get(at + KEY.len()..).unwrap_or_default();
                let value = rest.trim_ascii_start().strip_prefix(b":");
                match value.map(<[u8]>::trim_ascii_start) {
                    Some(value) if value.starts_with(b"true") => said.store(YES, Ordering::Relaxed),
                    Some(value) if value.starts_with(b"false") => said.store(NO, Ordering::Relaxed),
                    _ => {}
                }
            }
            window.drain(..window.len().saturating_sub(KEPT));
        }
    }

    fn get(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            YES => Some(true),
            NO => Some(false),
            _ => None,
        }
    }
}

/// What the head of a request says.
pub(super) fn accepts_stream(parts: &request::Parts) -> bool {
    let mut accepted = parts.headers.get_all(header::ACCEPT).iter();
    accepted.any(|value| {
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        ["text/event-stream", "ndjson", "jsonl"]
            .iter()
            .any(|kind| text.contains(kind))
    })
}

/// Whether the client waits for a stream: it says so, or nothing else comes from where it asks.
pub(super) fn is_stream(call: &Call, accepts: bool, said: &Said) -> bool {
    let always = |dialect| {
        matches!(
            dialect,
            Dialect::LangGraph | Dialect::LangServe | Dialect::Ollama
        )
    };
    match (call.route.policy.dialect, said.get()) {
        _ if accepts => true,
        (_, Some(said)) => said,
        (Choice::Fixed(Dialect::OpenAiChat | Dialect::Anthropic), None) => false,
        (Choice::Fixed(_), None) => call.method == Method::POST,
        (Choice::Auto, None) => call.hint.is_some_and(always) && call.method == Method::POST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &[u8], cut: usize) -> Option<bool> {
        let said = Said::default();
        let mut listener = said.listener();
        body.chunks(cut).for_each(&mut listener);
        said.get()
    }

    #[test]
    fn the_body_says_it_however_it_is_cut() {
        let long = format!("{{\"text\":\"{}\",\"stream\" : true}}", "x".repeat(500));
        for cut in 1..40 {
            assert_eq!(said(br#"{"stream":true,"n":1}"#, cut), Some(true));
            assert_eq!(said(b"{\"stream\" :\n false}", cut), Some(false));
            assert_eq!(said(long.as_bytes(), cut), Some(true));
            assert_eq!(said(br#"{"text":"\"stream\": true"}"#, cut), None);
            assert_eq!(
                said(br#"{"stream":{"type":"boolean"},"streams":true}"#, cut),
                None
            );
            assert_eq!(said(b"{}", cut), None);
        }
    }
}
