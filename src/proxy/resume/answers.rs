//! What Weir answers to a request for a stream that it cannot continue, in a form that the client understands.
//!
//! Most clients read the status. Two kinds of clients accept nothing but events, and do not:
//!
//! - A browser's `EventSource` gives up for good at any status but 200. A stream with nothing but `retry` makes it come
//!   back, so that is what it gets when another attempt may succeed. At 204 it stops without an error.
//! - Libraries like fetch-event-source only look at the content type. They take JSON for a broken connection, and send
//!   the request again for ever. Events they deliver whatever the status is: they get an error event, and stop.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::client::{Client, EVENTS};
use super::malformed::Malformed;
use crate::proxy::own_answer::Answer;
use crate::proxy::reject::Rejection;

const PROBLEM: &str = "application/problem+json";
/// Makes an `EventSource` come back after 3 s: an outage of the store, or a full stream, often lasts longer than one.
const COME_BACK: &[u8] = b"retry: 3000\n\n";
/// When other clients may try again, in seconds. They back off by themselves.
const RETRY_AFTER: &str = "1";

/// Why a client does not get a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The position is beyond the last event of a stream that is still running.
    Ahead {
        last: u64,
    },
    /// The journal does not go back to the position. It begins with the event `first`.
    Evicted {
        first: u64,
    },
    /// Events after the position were lost when the store failed.
    Gap,
    /// The first request with this idempotency key has not been read yet.
    KeyInUse,
    /// Another request had this idempotency key.
    KeyReused,
    Malformed(Malformed),
    /// The method means nothing for a stream.
    MethodNotAllowed,
    /// The store of the journals does not answer.
    StoreDown,
    /// No such stream, or one of another caller: nobody may learn which.
    Unknown,
    /// `resume.max_viewers` is reached.
    ViewersFull {
        max: usize,
    },
}

impl Problem {
    /// Returns the error code: in the answer, in metrics and in the log.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Ahead { .. } => "resume_ahead",
            Self::Evicted { .. } => "resume_evicted",
            Self::Gap => "resume_gap",
            Self::KeyInUse => "idempotency_key_in_use",
            Self::KeyReused => "idempotency_key_reused",
            Self::Malformed(_) => "resume_malformed",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::StoreDown => "resume_unavailable",
            Self::Unknown => "resume_unknown",
            Self::ViewersFull { .. } => "resume_viewers_full",
        }
    }

    /// Returns the status. Too many viewers are 503: this client may be the only one who did nothing wrong.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Ahead { .. } | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Evicted { .. } | Self::Gap => StatusCode::GONE,
            Self::KeyInUse => StatusCode::CONFLICT,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::StoreDown | Self::ViewersFull { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown => StatusCode::NOT_FOUND,
        }
    }

    /// Reports whether the same request may succeed a moment later.
    const fn passes(&self) -> bool {
        matches!(
            self,
            Self::KeyInUse | Self::StoreDown | Self::ViewersFull { .. }
        )
    }

    /// Returns the message for the client, one sentence.
    pub(super) fn message(&self) -> Cow<'static, str> {
        match self {
            Self::Ahead { last } => {
                format!("the position is beyond the last event of the stream ({last})").into()
            }
            Self::Evicted { first } => format!(
                "events after this position are not kept any more: expected to go on with event {first} or a later one"
            )
            .into(),
            Self::Gap => "events after this position were lost when their store failed".into(),
            Self::KeyInUse => {
                "the first request with this Idempotency-Key is still being read, ask again".into()
            }
            Self::KeyReused => "another request had this Idempotency-Key: expected a new key".into(),
            Self::Malformed(malformed) => malformed.to_string().into(),
            Self::MethodNotAllowed => "a stream can be read (GET) and stopped (DELETE)".into(),
            Self::StoreDown => "the store of the streams does not answer, ask again".into(),
            Self::Unknown => "there is no such stream, or it is not kept any more".into(),
            Self::ViewersFull { max } => format!(
                "resume.max_viewers ({max}) clients follow this stream already, ask again"
            )
            .into(),
        }
    }

    /// Returns the position from which on the stream can be had.
    const fn first(&self) -> Option<u64> {
        match self {
            Self::Evicted { first } => Some(*first),
            _ => None,
        }
    }
}

impl From<&Problem> for Rejection {
    fn from(problem: &Problem) -> Self {
        Self {
            message: problem.message(),
            ..Self::new(problem.status(), problem.code(), "")
        }
    }
}

/// Returns an answer that is not stored: caches may keep 204, 404 and 410 unless they are told not to.
fn unstored(status: StatusCode, kind: Option<HeaderValue>, body: impl Into<Bytes>) -> Answer {
    let mut headers = HeaderMap::new();
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    let no_store = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, no_store);
    Answer {
        status,
        headers,
        body: body.into(),
    }
}

/// Creates an answer of this content type that nobody stores.
fn typed(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    unstored(status, Some(HeaderValue::from_static(kind)), body)
}

/// Answers that a stream cannot be had.
pub(super) fn refuse(problem: &Problem, client: Client) -> Answer {
    if problem.passes() && client == Client::EventSource {
        return typed(StatusCode::OK, EVENTS, COME_BACK);
    }
    let status = problem.status();
    let mut answer = match client {
        Client::Any => typed(status, PROBLEM, document(problem)),
        Client::Events | Client::EventSource => typed(status, EVENTS, event(problem)),
    };
    if problem.passes() {
        let seconds = HeaderValue::from_static(RETRY_AFTER);
        answer.headers.insert(header::RETRY_AFTER, seconds);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = HeaderValue::from_static("GET, DELETE");
        answer.headers.insert(header::ALLOW, allowed);
    }
    answer
}

/// Answers that a stream is over and the client has all of it. An `EventSource` would come back to an empty stream for
/// ever; others take 204 for an answer of another kind, and get an empty stream of this `kind`.
pub(super) fn over(kind: HeaderValue, client: Client) -> Answer {
    match client {
        Client::EventSource => nothing(),
        Client::Any | Client::Events => unstored(StatusCode::OK, Some(kind), Bytes::new()),
    }
}

/// Answers that a chat has no stream to continue.
pub(super) fn nothing() -> Answer {
    unstored(StatusCode::NO_CONTENT, None, Bytes::new())
}

/// Returns a problem details object (RFC 9457).
fn document(problem: &Problem) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        r#type: &'static str,
        title: &'static str,
        status: u16,
        detail: &'a str,
        code: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<u64>,
    }
    json(&Document {
        r#type: "about:blank",
        title: problem.status().canonical_reason().unwrap_or("Error"),
        status: problem.status().as_u16(),
        detail: &problem.message(),
        code: problem.code(),
        first: problem.first(),
    })
}

/// Returns an error event without an id, so that the client's position stays what it was.
fn event(problem: &Problem) -> String {
    #[derive(Serialize)]
    struct ErrorEvent<'a> {
        r#type: &'static str,
        error: &'a str,
        message: &'a str,
        code: &'static str,
        status: u16,
        retryable: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<u64>,
    }
    let message = problem.message();
    let data = json(&ErrorEvent {
        r#type: "error",
        error: &message,
        message: &message,
        code: problem.code(),
        status: problem.status().as_u16(),
        retryable: problem.passes(),
        first: problem.first(),
    });
    format!("event: error\ndata: {data}\n\n")
}

fn json(value: &impl Serialize) -> String {
    // Texts and numbers can always be written.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn problems() -> [(Problem, u16, &'static str); 10] {
        let malformed = Malformed {
            what: "after",
            expected: "a number",
            came: "nothing",
        };
        [
            (Problem::Ahead { last: 3 }, 400, "resume_ahead"),
            (Problem::Evicted { first: 9 }, 410, "resume_evicted"),
            (Problem::Gap, 410, "resume_gap"),
            (Problem::KeyInUse, 409, "idempotency_key_in_use"),
            (Problem::KeyReused, 422, "idempotency_key_reused"),
            (Problem::Malformed(malformed), 400, "resume_malformed"),
            (Problem::MethodNotAllowed, 405, "method_not_allowed"),
            (Problem::StoreDown, 503, "resume_unavailable"),
            (Problem::Unknown, 404, "resume_unknown"),
            (Problem::ViewersFull { max: 16 }, 503, "resume_viewers_full"),
        ]
    }

    #[test]
    fn each_problem_has_an_answer_for_each_client() {
        for (problem, status, code) in problems() {
            for client in [Client::Any, Client::Events, Client::EventSource] {
                let Answer {
                    status: got,
                    headers,
                    body,
                } = refuse(&problem, client);
                assert_eq!(headers[header::CACHE_CONTROL], "no-store");
                let is_temporary = matches!(status, 409 | 503);
                if client == Client::EventSource && is_temporary {
                    assert_eq!(got, 200, "{problem:?}");
                    assert_eq!(headers[header::CONTENT_TYPE], "text/event-stream");
                    assert_eq!(body, &b"retry: 3000\n\n"[..]);
                    assert!(!headers.contains_key(header::RETRY_AFTER));
                    continue;
                }
                assert_eq!(got, status, "{problem:?} {client:?}");
                assert_eq!(headers.contains_key(header::RETRY_AFTER), is_temporary);
                let text = std::str::from_utf8(&body).unwrap();
                let (json, kind, message) = if client == Client::Any {
                    (text, "application/problem+json", "detail")
                } else {
                    let data = text.strip_prefix("event: error\ndata: ").unwrap();
                    let data = data.strip_suffix("\n\n").unwrap();
                    (data, "text/event-stream", "message")
                };
                assert_eq!(headers[header::CONTENT_TYPE], kind);
                assert!(!json.contains('\n'));
                let told: Value = serde_json::from_str(json).unwrap();
                assert_eq!(told["code"], code);
                assert_eq!(told["status"], status);
                assert_eq!(told[message], *problem.message());
                let first = told.get("first").and_then(Value::as_u64);
                assert_eq!(first, (code == "resume_evicted").then_some(9));
                if client == Client::Events {
                    assert_eq!(told["retryable"], is_temporary);
                }
            }
        }
    }

    #[test]
    fn messages_say_what_can_be_done() {
        let said = |problem: Problem| problem.message().into_owned();
        for (problem, word) in [
            (Problem::Ahead { last: 3 }, "(3)"),
            (Problem::Evicted { first: 9 }, "event 9 or"),
            (Problem::ViewersFull { max: 16 }, "resume.max_viewers (16)"),
            (Problem::StoreDown, "ask again"),
        ] {
            let message = said(problem);
            assert!(message.contains(word), "{message}");
        }
        let malformed = Malformed {
            what: "after",
            expected: "a number",
            came: "nothing",
        };
        let message = said(Problem::Malformed(malformed));
        assert_eq!(message, "after: expected a number, nothing came");
    }

    #[test]
    fn other_methods_are_named() {
        let answer = refuse(&Problem::MethodNotAllowed, Client::Any);
        assert_eq!(answer.headers[header::ALLOW], "GET, DELETE");
    }

    #[test]
    fn an_event_source_stops_when_it_has_everything() {
        let kind = || HeaderValue::from_static("application/x-ndjson");
        assert_eq!(over(kind(), Client::EventSource), nothing());
        let Answer {
            status,
            headers,
            body,
        } = nothing();
        assert_eq!((status, body.len()), (StatusCode::NO_CONTENT, 0));
        assert!(!headers.contains_key(header::CONTENT_TYPE));
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        for client in [Client::Any, Client::Events] {
            let answer = over(kind(), client);
            assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
            assert_eq!(answer.headers[header::CONTENT_TYPE], kind());
        }
    }
}
