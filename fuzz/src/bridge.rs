//! What clients of a bridge say: whatever it is, the requests that it becomes are JSON, and have no headers but those
//! of an application.

use serde_json::Value;
use weir::bridge::ai_sdk::FromAiSdk;
use weir::bridge::members::Mistake;
use weir::bridge::message::{Message, read};

/// The longest id, as JSON.
const MAX_ID: usize = 256;

/// Checks any text.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let message = match read(text) {
        Ok(message) => message,
        Err(Mistake::NotJson) => {
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
            return;
        }
        Err(Mistake::Meaningless { code, request, .. }) => {
            assert!(["bad_message", "unknown_type"].contains(&code));
            return id(request.as_deref());
        }
    };
    match message {
        Message::Ack { .. } | Message::AckAll => {}
        Message::Ping { id: request }
        | Message::Interrupt { request, .. }
        | Message::Resume { request, .. } => id(request.as_deref()),
        Message::Run { request, body } => {
            id(request.as_deref());
            json(&body);
        }
        Message::AiSdk(FromAiSdk::Abort { request } | FromAiSdk::Resume { request, .. }) => {
            id(Some(&request));
        }
        Message::AiSdk(FromAiSdk::Send {
            request,
            body,
            headers,
        }) => {
            id(Some(&request));
            json(&body);
            for name in headers.keys() {
                let name = name.as_str();
                assert!(
                    !["connection", "content-length", "cookie", "host", "origin"].contains(&name)
                );
                assert!(
                    !["proxy-", "sec-", "weir-", "x-forwarded-"]
                        .iter()
                        .any(|own| name.starts_with(own))
                );
            }
        }
    }
}

/// Checks an id, which is repeated in answers as it came.
fn id(id: Option<&str>) {
    if let Some(id) = id {
        assert!(id.len() <= MAX_ID && json(id));
        assert!(!id.contains(['\n', '\r']));
    }
}

/// Reports that a text is one value of JSON, whatever is in its strings and numbers.
fn json(text: &str) -> bool {
    let value = serde_json::from_str::<&serde_json::value::RawValue>(text);
    assert!(value.is_ok(), "{text}");
    true
}
