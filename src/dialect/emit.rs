//! The bytes that tell a client of failure, in the shape its SDK raises.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Dialect;
use crate::wire::Framing;

/// A terminal error event; `None` where the framing has no place for one and the body must be aborted.
pub fn error_event(dialect: Dialect, framing: Framing, code: &str, message: &str) -> Option<Bytes> {
    let sse = |name: Option<&str>, data: &Value| {
        let name = name
            .map(|name| format!("event: {name}\n"))
            .unwrap_or_default();
        Some(Bytes::from(format!("{name}data: {}\n\n", text(data))))
    };
    match (framing, dialect) {
        (Framing::Ndjson, Dialect::Ollama) => Some(Bytes::from(format!(
            "{}\n",
            text(&json!({ "error": message }))
        ))),
        (Framing::Ndjson, _) => None,
        (Framing::Sse, Dialect::OpenAiChat) => sse(None, &openai(code, message)),
        (Framing::Sse, Dialect::Anthropic) => sse(Some("error"), &anthropic(code, message)),
        (Framing::Sse, Dialect::LangGraph) => {
            sse(Some("error"), &json!({ "error": code, "message": message }))
        }
        (Framing::Sse, Dialect::LangServe) => sse(
            Some("error"),
            &json!({ "status_code": 502, "message": message }),
        ),
        (Framing::Sse, Dialect::Convention | Dialect::Ollama | Dialect::Opaque) => sse(
            Some("error"),
            &json!({ "type": "error", "error": message, "message": message, "code": code }),
        ),
    }
}

/// The body of an error response before any stream: content type and bytes.
pub fn error_body(
    dialect: Option<Dialect>,
    status: u16,
    code: &str,
    message: &str,
) -> (&'static str, Bytes) {
    let body = match dialect {
        Some(Dialect::Anthropic) => anthropic(code, message),
        Some(Dialect::Ollama) => json!({ "error": message }),
        Some(Dialect::OpenAiChat) => openai(code, message),
        _ => {
            let title = http::StatusCode::from_u16(status)
                .ok()
                .and_then(|status| status.canonical_reason());
            let body = json!({ "type": "about:blank", "title": title, "status": status, "detail": message, "code": code });
            return ("application/problem+json", Bytes::from(text(&body)));
        }
    };
    ("application/json", Bytes::from(text(&body)))
}

fn openai(code: &str, message: &str) -> Value {
    json!({ "error": { "message": message, "type": code, "param": null, "code": code } })
}

/// Its types are a closed set, so Weir's own word stands in the message.
fn anthropic(code: &str, message: &str) -> Value {
    let kind = match code {
        _ if code.ends_with("timeout") => "timeout_error",
        "overloaded" | "draining" => "overloaded_error",
        "request_too_large" => "invalid_request_error",
        "not_found" => "not_found_error",
        _ => "api_error",
    };
    let message = if message.starts_with(code) {
        message.to_owned()
    } else {
        format!("{code}: {message}")
    };
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}

/// One line; the line separators that some clients split at are escaped.
fn text(value: &Value) -> String {
    let raw = value.to_string();
    raw.replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
        .replace('\u{85}', "\\u0085")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_has_its_own_shape() {
        let of = |dialect, framing| {
            error_event(dialect, framing, "truncated", "truncated: \"gone\"\u{2028}")
                .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        };
        for (dialect, framing, start) in [
            (Dialect::OpenAiChat, Framing::Sse, "data: {\"error\":{"),
            (
                Dialect::Anthropic,
                Framing::Sse,
                "event: error\ndata: {\"error\":{",
            ),
            (
                Dialect::LangGraph,
                Framing::Sse,
                "event: error\ndata: {\"error\":\"truncated\"",
            ),
            (
                Dialect::LangServe,
                Framing::Sse,
                "event: error\ndata: {\"message\"",
            ),
            (Dialect::Convention, Framing::Sse, "event: error\ndata: {"),
            (
                Dialect::Ollama,
                Framing::Ndjson,
                "{\"error\":\"truncated: \\\"gone\\\"\\u2028\"}\n",
            ),
        ] {
            let text = of(dialect, framing).unwrap();
            assert!(text.starts_with(start), "{dialect}: {text}");
            assert!(!text.contains('\u{2028}') && text.contains("truncated"));
        }
        assert_eq!(of(Dialect::Opaque, Framing::Ndjson), None);
    }
}
