//! Chats: which one a request belongs to, and which one a client asks for that lost the stream of its last request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Method;

use super::member::MemberReader;
use super::percent::{Part, decoded};
use crate::config::Chats;

/// The longest id. Those of the AI SDK have 16 characters.
const MAX_ID_BYTES: usize = 512;

/// The id of a chat: text that the client chose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ChatId(String);

impl ChatId {
    fn new(text: String) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= MAX_ID_BYTES;
        fits.then_some(Self(text))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the chat whose newest stream a request asks for: a GET of the route's path for chats.
pub(super) fn asked_for(chats: &Chats, method: &Method, path: &str) -> Option<ChatId> {
    if method != Method::GET {
        return None;
    }
    let rest = path.strip_prefix(chats.prefix.as_str())?;
    let segment = rest.strip_suffix(chats.suffix.as_str())?;
    if segment.contains('/') {
        return None;
    }
    decoded(segment, Part::Path, MAX_ID_BYTES).and_then(ChatId::new)
}

/// Reads the id of its chat from the body of a request, while the body is forwarded.
#[derive(Clone, Debug)]
pub(super) struct ChatSniff(Arc<Mutex<MemberReader>>);

impl ChatSniff {
    pub(super) fn new(chats: &Chats) -> Self {
        Self(Arc::new(Mutex::new(MemberReader::new(&chats.member))))
    }

    /// Returns a listener for the pieces of the body, as the client sent it.
    pub(super) fn listener(&self) -> impl FnMut(&[u8]) + Send + 'static {
        let sniff = self.clone();
        move |piece| sniff.lock().feed(piece)
    }

    /// Returns the id, as far as the body has been read; `None` also if it is empty or too long.
    pub(super) fn id(&self) -> Option<ChatId> {
        let found = self.lock().found().map(str::to_owned);
        found.and_then(ChatId::new)
    }

    fn lock(&self) -> MutexGuard<'_, MemberReader> {
        // The reader is left as it was after some byte, which is harmless.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chats(prefix: &str, suffix: &str) -> Chats {
        Chats {
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
            member: "data.id".to_owned(),
        }
    }

    #[test]
    fn the_path_names_the_chat() {
        let sdk = chats("/api/chat/", "/stream");
        let short = chats("/c/", "");
        let longest = "x".repeat(MAX_ID_BYTES);
        let (fits, long) = (
            format!("/c/{longest}"),
            format!("/api/chat/{longest}x/stream"),
        );
        for (chats, path, want) in [
            (&sdk, "/api/chat/c1/stream", Some("c1")),
            (&sdk, "/api/chat/a%2Fb%20+/stream", Some("a/b +")),
            (&sdk, "/api/chat/%C3%A9/stream", Some("\u{e9}")),
            (&short, "/c/c1", Some("c1")),
            (&short, fits.as_str(), Some(longest.as_str())),
            (&sdk, "/api/chat//stream", None),
            (&sdk, "/api/chat/stream", None),
            (&sdk, "/api/chat/a/b/stream", None),
            (&sdk, "/api/chat/c1/stream/", None),
            (&sdk, "/api/chat/c1", None),
            (&sdk, "/API/chat/c1/stream", None),
            (&sdk, "/api/chat/%ff/stream", None),
            (&sdk, "/api/chat/%/stream", None),
            (&sdk, long.as_str(), None),
            (&short, "/c/", None),
            (&short, "/c/a/", None),
        ] {
            let got = asked_for(chats, &Method::GET, path);
            assert_eq!(got.as_ref().map(ChatId::as_str), want, "{path}");
            assert_eq!(asked_for(chats, &Method::POST, path), None);
        }
    }

    #[test]
    fn the_body_names_the_same_chat() {
        let sniff = |body: &str| {
            let sniff = ChatSniff::new(&chats("/c/", ""));
            body.as_bytes().chunks(3).for_each(sniff.listener());
            sniff.id()
        };
        let asked = |path| asked_for(&chats("/c/", ""), &Method::GET, path);
        let body = r#"{"messages":[{"id":"m"}],"data":{"x":1,"id":"a\/b"}}"#;
        assert!(sniff(body).is_some());
        assert_eq!(sniff(body), asked("/c/a%2fb"));
        assert_eq!(sniff(r#"{"data":{"id":7}}"#), asked("/c/7"));
        let long = "x".repeat(MAX_ID_BYTES + 1);
        for id in ["\"\"", "null", &format!("\"{long}\"")] {
            assert_eq!(sniff(&format!("{{\"data\":{{\"id\":{id}}}}}")), None);
        }
    }
}
