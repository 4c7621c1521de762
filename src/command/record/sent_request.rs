//! A request that was sent: its head, and which dialect it asks for.

use crate::dialect::{Members, RequestHead as Described, detect};
use crate::recording::header_map;
use crate::recording::message::RequestHead;
use crate::wire::members::Scanner;

/// A request. Of its body, only the members that show its dialect are kept.
#[derive(Debug)]
pub(super) struct SentRequest {
    pub(super) head: RequestHead,
    scanner: Scanner,
    members: Members,
}

impl SentRequest {
    pub(super) fn new(head: RequestHead) -> Self {
        Self {
            head,
            scanner: Scanner::default(),
            members: Members::default(),
        }
    }

    /// Looks at the next piece of the body.
    pub(super) fn read(&mut self, piece: &[u8]) {
        let members = &mut self.members;
        self.scanner
            .feed(piece, &mut |key, value| members.note(key, value));
    }

    /// Returns the name of the dialect that the request asks for, as far as the body has been heard.
    pub(super) fn dialect(&self) -> Option<String> {
        let headers = header_map(&self.head.fields);
        let (path, query) = self
            .head
            .target
            .split_once('?')
            .unwrap_or((self.head.target.as_str(), ""));
        let by_head = detect::from_request(&Described::new(path, query, &headers));
        detect::from_body(&self.members, by_head).map(|dialect| dialect.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_and_the_body_show_the_dialect() {
        let request = |target: &str, body: &[u8]| {
            let mut request = SentRequest::new(RequestHead {
                method: "POST".into(),
                target: target.into(),
                is_old: false,
                fields: vec![("content-type".into(), "application/json".into())],
            });
            for piece in body.chunks(3) {
                request.read(piece);
            }
            request.dialect()
        };
        let openai = Some("openai_chat".to_owned());
        assert_eq!(request("/v1/chat/completions?a=b", b"{}"), openai);
        assert_eq!(request("/", b"{}"), None);
    }
}
