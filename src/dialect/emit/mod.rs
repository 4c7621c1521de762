//! Failures in the shape that a dialect's clients raise on.

use std::fmt::Write as _;

use bytes::Bytes;
use http::StatusCode;

use super::Dialect;
use crate::wire::Framing;

/// The event that ends a stream as failed. `None` if the dialect has no such event in this framing: then
/// only a broken body tells the client.
///
/// To be written between two blocks only, and never after a terminal.
pub fn error_event(dialect: Dialect, framing: Framing, code: &str, message: &str) -> Option<Bytes> {
    let (name, body) = match dialect {
        Dialect::Anthropic => ("error", anthropic(streamed_type(code), code, message)),
        Dialect::Convention | Dialect::Opaque => (
            "error",
            Object::new()
                .text("type", "error")
                .text("error", message)
                .text("message", message)
                .text("code", code)
                .end(),
        ),
        Dialect::Gemini => {
            let status = if is_timeout(code) { 504 } else { 503 };
            ("", gemini(status, code, message))
        }
        Dialect::LangGraph => (
            "error",
            Object::new()
                .text("error", code)
                .text("message", message)
                .end(),
        ),
        Dialect::LangServe => {
            let status = if is_timeout(code) { 504 } else { 502 };
            let object = Object::new().number("status_code", status);
            ("error", object.text("message", message).end())
        }
        Dialect::Ollama => ("", ollama(code, message)),
        Dialect::OpenAiChat => ("", openai(code, message)),
    };
    let text = match (framing, dialect) {
        (Framing::Ndjson, Dialect::Ollama) => format!("{body}\n"),
        (Framing::Ndjson | Framing::Raw, _) => return None,
        (Framing::Sse, _) if name.is_empty() => format!("data: {body}\n\n"),
        (Framing::Sse, _) => format!("event: {name}\ndata: {body}\n\n"),
    };
    Some(Bytes::from(text))
}

/// Content type and body of a failure that is known before the head is sent.
pub fn error_body(
    dialect: Option<Dialect>,
    status: u16,
    code: &str,
    message: &str,
) -> (&'static str, Bytes) {
    let body = match dialect {
        Some(Dialect::Anthropic) => anthropic(status_type(status, code), code, message),
        Some(Dialect::Gemini) => gemini(status, code, message),
        Some(Dialect::Ollama) => ollama(code, message),
        Some(Dialect::OpenAiChat) => openai(code, message),
        Some(Dialect::Convention | Dialect::LangGraph | Dialect::LangServe | Dialect::Opaque)
        | None => return ("application/problem+json", problem(status, code, message)),
    };
    ("application/json", Bytes::from(body))
}

fn openai(code: &str, message: &str) -> String {
    let error = Object::new()
        .text("message", message)
        .text("type", code)
        .raw("param", "null")
        .text("code", code)
        .end();
    Object::new().raw("error", &error).end()
}

/// The type is a closed set there, so the code stands in the message.
fn anthropic(kind: &str, code: &str, message: &str) -> String {
    let error = Object::new()
        .text("type", kind)
        .text("message", &with_code(code, message))
        .end();
    Object::new()
        .text("type", "error")
        .raw("error", &error)
        .end()
}

/// `error` comes first: the Python client compares the start of the object. The status is a closed set.
fn gemini(status: u16, code: &str, message: &str) -> String {
    let word = match status {
        400 | 413 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        504 => "DEADLINE_EXCEEDED",
        _ => "UNAVAILABLE",
    };
    let error = Object::new()
        .number("code", status)
        .text("message", &with_code(code, message))
        .text("status", word)
        .end();
    Object::new().raw("error", &error).end()
}

fn ollama(code: &str, message: &str) -> String {
    Object::new().text("error", &with_code(code, message)).end()
}

/// RFC 9457.
fn problem(status: u16, code: &str, message: &str) -> Bytes {
    let title = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error");
    let object = Object::new()
        .text("type", "about:blank")
        .text("title", title)
        .number("status", status)
        .text("detail", message)
        .text("code", code);
    Bytes::from(object.end())
}

fn streamed_type(code: &str) -> &'static str {
    if is_timeout(code) {
        "timeout_error"
    } else {
        "api_error"
    }
}

fn status_type(status: u16, code: &str) -> &'static str {
    match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => streamed_type(code),
    }
}

fn is_timeout(code: &str) -> bool {
    code.ends_with("timeout")
}

/// `message` with `code` in front of it, once.
fn with_code(code: &str, message: &str) -> String {
    if message.starts_with(code) {
        message.to_owned()
    } else {
        format!("{code}: {message}")
    }
}

/// A JSON object in the making, on one line.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self(String::from("{"))
    }

    fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        self.string(value);
        self
    }

    fn number(self, key: &str, value: u16) -> Self {
        self.raw(key, &value.to_string())
    }

    /// `value` is JSON already.
    fn raw(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        self.0.push_str(value);
        self
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.string(key);
        self.0.push(':');
    }

    /// U+0085, U+2028 and U+2029 are legal in JSON, but Python clients split lines at them.
    fn string(&mut self, text: &str) {
        self.0.push('"');
        for character in text.chars() {
            match character {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                '\0'..='\x1f' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    // Writing to a string cannot fail.
                    let _ = write!(self.0, "\\u{:04x}", u32::from(character));
                }
                _ => self.0.push(character),
            }
        }
        self.0.push('"');
    }
}

#[cfg(test)]
mod tests;
