//! How the client of a request reads the answer, which decides in what form Weir answers.

use http::{HeaderMap, Method, header};

/// The content type of server-sent events.
pub(super) const EVENTS: &str = "text/event-stream";

/// How a client reads an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// The client reads the status, and JSON.
    Any,
    /// The client reads events, whatever the status is.
    Events,
    /// The client is an `EventSource`: it comes back until its server tells it not to.
    EventSource,
}

impl Client {
    /// Reads from the head of a request how its client reads the answer.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter();
        let accepted = accepted.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let mut kinds = accepted
            .map(|kind| kind.split(|byte| *byte == b';').next().unwrap_or_default())
            .map(<[u8]>::trim_ascii)
            .filter(|kind| !kind.is_empty())
            .map(|kind| kind.eq_ignore_ascii_case(EVENTS.as_bytes()))
            .peekable();
        if kinds.peek().is_none() || kinds.any(|is_events| !is_events) {
            return Self::Any;
        }
        // LangGraph's SDK for Python sends this, and retries at 503. An `EventSource` sends `no-cache`.
        let mut cache = headers.get_all(header::CACHE_CONTROL).iter();
        let is_sdk = cache.any(|value| value.as_bytes().eq_ignore_ascii_case(b"no-store"));
        if method == Method::GET && !is_sdk {
            Self::EventSource
        } else {
            Self::Events
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(method: &Method, fields: &[(&'static str, &'static str)]) -> Client {
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().copied() {
            headers.append(name, HeaderValue::from_static(value));
        }
        Client::of(method, &headers)
    }

    #[test]
    fn who_accepts_only_events_is_told_apart() {
        let (get, post) = (Method::GET, Method::POST);
        for (method, fields, want) in [
            (&get, &[("accept", "*/*")][..], Client::Any),
            (&get, &[("accept", "")], Client::Any),
            (&get, &[], Client::Any),
            (&get, &[("accept", "application/json")], Client::Any),
            (
                &get,
                &[("accept", "text/event-stream, application/json")],
                Client::Any,
            ),
            (
                &get,
                &[("accept", "text/event-stream"), ("accept", "*/*")],
                Client::Any,
            ),
            (
                &get,
                &[("accept", "text/event-stream")],
                Client::EventSource,
            ),
            (
                &get,
                &[
                    ("accept", "Text/Event-Stream; q=1"),
                    ("cache-control", "no-cache"),
                ],
                Client::EventSource,
            ),
            (
                &get,
                &[
                    ("accept", "text/event-stream"),
                    ("cache-control", "no-store"),
                ],
                Client::Events,
            ),
            (&post, &[("accept", "text/event-stream")], Client::Events),
            (
                &post,
                &[("accept", "text/event-stream,*/*;q=0.1")],
                Client::Any,
            ),
            (&post, &[("accept", "text/event-streams")], Client::Any),
        ] {
            assert_eq!(client(method, fields), want, "{method} {fields:?}");
        }
    }
}
