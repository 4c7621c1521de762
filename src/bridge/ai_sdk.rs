//! The words of the AI SDK's `WebSocketChatTransport`: each request has a `requestId`, which every answer repeats, and
//! the chunks of an answer are counted from 0.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::members::{Members, Mistake, object};

/// Headers that a message cannot set: they belong to a connection or to Weir, or browsers let no page set them.
const OWN: [&str; 16] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Beginnings of the names of such headers.
const OWN_PREFIXES: [&str; 5] = ["proxy-", "sec-", "x-forwarded-", "forwarded", "weir-"];
/// Maximum number of headers in a message.
const MAX_HEADERS: usize = 64;

/// What the transport sends. `request` is JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromAiSdk {
    Abort {
        request: String,
    },
    Resume {
        request: String,
        chat: String,
        headers: HeaderMap,
    },
    Send {
        request: String,
        body: String,
        headers: HeaderMap,
    },
}

/// Reads a message that has a `requestId`.
///
/// # Errors
/// If it is not understood.
pub(super) fn read(members: &Members<'_>) -> Result<FromAiSdk, Mistake> {
    let request = members.id("requestId")?.unwrap_or_default();
    let wrong = |code, message: &str| Mistake::Meaningless {
        code,
        message: message.to_owned(),
        request: Some(request.clone()),
    };
    match members.text("type")?.as_deref() {
        Some("abort") => Ok(FromAiSdk::Abort { request }),
        Some("resume") => {
            let chat = members.text("id")?;
            let chat = chat.ok_or_else(|| wrong("bad_message", "The request has no `id`."))?;
            Ok(FromAiSdk::Resume {
                headers: headers(members),
                chat,
                request,
            })
        }
        Some("send") => Ok(FromAiSdk::Send {
            body: body(members)?,
            headers: headers(members),
            request,
        }),
        _ => Err(wrong(
            "unknown_type",
            "The type of the request is none of send, resume and abort.",
        )),
    }
}

/// Returns the body that the SDK's transport over HTTP would send.
fn body(members: &Members<'_>) -> Result<String, Mistake> {
    const NAMES: [&str; 4] = ["id", "messages", "trigger", "messageId"];
    let extra = Members::read(members.get("body").unwrap_or("{}"))?;
    let extra = extra.iter().filter(|(key, _)| !NAMES.contains(key));
    let mut all: Vec<(&str, &str)> = extra.collect();
    for name in NAMES {
        all.extend(members.get(name).map(|value| (name, value)));
    }
    Ok(object(&all))
}

/// Returns the headers that the message has for the request. What cannot be one is left out.
fn headers(members: &Members<'_>) -> HeaderMap {
    let given = members.get("headers");
    let given: Option<BTreeMap<String, Value>> =
        given.and_then(|given| serde_json::from_str(given).ok());
    let mut headers = HeaderMap::new();
    for (name, value) in given.into_iter().flatten().take(MAX_HEADERS) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        let name = name.filter(|name| {
            let is_own = |prefix: &&str| name.as_str().starts_with(prefix);
            !OWN.contains(&name.as_str()) && !OWN_PREFIXES.iter().any(is_own)
        });
        let value = value
            .as_str()
            .and_then(|value| HeaderValue::from_str(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// Writes an event of an answer.
pub(super) fn chunk(request: &str, sequence: u64, event: &str) -> String {
    format!(
        "{{\"requestId\":{request},\"type\":\"chunk\",\"sequence\":{sequence},\"chunk\":{event}}}"
    )
}

/// Writes what else can be said of an answer: `start`, `end`, or `no-active`.
pub(super) fn word(request: &str, word: &str) -> String {
    format!("{{\"requestId\":{request},\"type\":\"{word}\"}}")
}

/// Writes that there is no answer.
pub(super) fn error(request: &str, text: &str) -> String {
    // Texts can always be written.
    let text = serde_json::to_string(text).unwrap_or_default();
    format!("{{\"requestId\":{request},\"type\":\"error\",\"errorText\":{text}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::message::{self, Message};

    fn of(text: &str) -> FromAiSdk {
        match message::read(text) {
            Ok(Message::AiSdk(message)) => message,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_request_has_the_body_that_it_would_have_over_http() {
        let FromAiSdk::Send {
            request,
            body,
            headers,
        } = of(
            "{\"type\":\"send\",\"requestId\":\"q1\",\"id\":\"chat1\",\"trigger\":\"submit-message\",\"messages\":[{\"parts\":[{\"type\":\"text\",\"text\":\"hi\"}],\"id\":\"u1\",\"role\":\"user\"}],\"headers\":{\"authorization\":\"Bearer x\"},\"body\":{\"model\":\"m\",\"id\":\"other\"}}",
        )
        else {
            panic!("not a request");
        };
        assert_eq!(request, "\"q1\"");
        assert_eq!(
            body,
            "{\"model\":\"m\",\"id\":\"chat1\",\"messages\":[{\"parts\":[{\"type\":\"text\",\"text\":\"hi\"}],\"id\":\"u1\",\"role\":\"user\"}],\"trigger\":\"submit-message\"}"
        );
        assert_eq!(headers["authorization"], "Bearer x");
    }

    #[test]
    fn other_requests_name_the_chat_or_the_request() {
        let resume = of(
            "{\"type\":\"resume\",\"requestId\":\"q2\",\"id\":\"chat1\",\"headers\":{},\"body\":{}}",
        );
        let want = FromAiSdk::Resume {
            request: "\"q2\"".to_owned(),
            chat: "chat1".to_owned(),
            headers: HeaderMap::new(),
        };
        assert_eq!(resume, want);
        let abort = of("{\"type\":\"abort\",\"requestId\":\"q2\"}");
        let request = "\"q2\"".to_owned();
        assert_eq!(abort, FromAiSdk::Abort { request });
    }

    #[test]
    fn only_headers_of_the_application_are_taken() {
        let FromAiSdk::Send { headers, .. } = of(
            "{\"type\":\"send\",\"requestId\":\"q\",\"messages\":[],\"headers\":{\"X-Team\":\"a\",\"Host\":\"evil\",\"cookie\":\"a=b\",\"content-length\":\"1\",\"transfer-encoding\":\"chunked\",\"x-forwarded-for\":\"1.1.1.1\",\"weir-reply\":\"events\",\"sec-websocket-key\":\"k\",\"a b\":\"c\",\"x-n\":1,\"x-line\":\"a\\r\\nb\"}}",
        ) else {
            panic!("not a request");
        };
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(headers["x-team"], "a");
    }

    #[test]
    fn answers_repeat_the_request() {
        assert_eq!(
            chunk("\"q1\"", 3, "{\"type\":\"start\"}"),
            "{\"requestId\":\"q1\",\"type\":\"chunk\",\"sequence\":3,\"chunk\":{\"type\":\"start\"}}"
        );
        assert_eq!(
            word("\"q1\"", "end"),
            "{\"requestId\":\"q1\",\"type\":\"end\"}"
        );
        assert_eq!(
            error("\"q1\"", "a\"b"),
            "{\"requestId\":\"q1\",\"type\":\"error\",\"errorText\":\"a\\\"b\"}"
        );
    }
}
