//! Reads from the events of a stream whether it has said that it is complete, or that it has failed.

use serde_json::Value;

/// The longest code that is shown.
const MAX_CODE: usize = 40;
/// Names and types of the last event of a stream, in the formats of agents and models.
const ENDS: [&str; 10] = [
    "message_stop",
    "message_end",
    "message-end",
    "response.completed",
    "response.incomplete",
    "RUN_FINISHED",
    "workflow_finished",
    "finish",
    "done",
    "end",
];
/// Names and types of events that say that the stream has failed.
const FAILURES: [&str; 3] = ["error", "RUN_ERROR", "response.failed"];

/// What the last events of a stream say about its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing that is known here.
    #[default]
    Open,
    /// The stream is complete.
    Said,
    /// The stream has failed, with this code if it names one.
    Failed(Option<String>),
}

impl Ending {
    /// Takes the next event.
    pub(crate) fn take(&mut self, name: &[u8], data: &[u8]) {
        let next = Self::of(name, data);
        // Some formats end a stream that has failed as any other: after the error comes `[DONE]`.
        if next != Self::Said || !matches!(self, Self::Failed(_)) {
            *self = next;
        }
    }

    fn of(name: &[u8], data: &[u8]) -> Self {
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            return Self::Said;
        }
        let value: Value = if data.starts_with(b"{") {
            serde_json::from_slice(data).unwrap_or_default()
        } else {
            Value::Null
        };
        let kind = text(&value, "/type").or_else(|| text(&value, "/event"));
        let is_named = |word: &&str| name == word.as_bytes() || kind == Some(*word);
        // Steps and results of tools may have an `error` of their own.
        let is_plain = kind.is_none() && (name.is_empty() || name == b"message");
        // `null`, an empty text or an empty object say that there is none.
        let says = |error: &Value| match error {
            Value::String(text) => !text.is_empty(),
            Value::Object(members) => !members.is_empty(),
            _ => false,
        };
        let has_error = is_plain && value.get("error").is_some_and(says);
        if has_error || FAILURES.iter().any(is_named) {
            return Self::Failed(code(&value));
        }
        let is_done = value.get("done").and_then(Value::as_bool) == Some(true);
        if is_done || ENDS.iter().any(is_named) {
            return Self::Said;
        }
        Self::Open
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Returns the code of an error. Its message is never shown.
fn code(value: &Value) -> Option<String> {
    let is_code = |text: &&str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        (1..=MAX_CODE).contains(&text.len()) && text.bytes().all(is_plain)
    };
    let mut codes = [
        "/error/code",
        "/code",
        "/payload/error/code",
        "/response/error/code",
        "/error",
        "/error_type",
    ]
    .into_iter()
    .filter_map(|pointer| text(value, pointer));
    // Where a format has no place for Weir's code, the message begins with it.
    let mut messages = ["/error/message", "/message", "/errorText", "/error"]
        .into_iter()
        .filter_map(|pointer| text(value, pointer)?.split_once(": "))
        .map(|(first, _)| first)
        .filter(|first| {
            first
                .bytes()
                .all(|byte| byte == b'_' || byte.is_ascii_lowercase())
        });
    let found = codes.find(is_code).or_else(|| messages.find(is_code));
    let found = found.or_else(|| text(value, "/error/type").filter(is_code));
    found.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(events: &[(&str, &str)]) -> Ending {
        let mut ending = Ending::default();
        for (name, data) in events {
            ending.take(name.as_bytes(), data.as_bytes());
        }
        ending
    }

    fn failed(code: &str) -> Ending {
        Ending::Failed(Some(code.to_owned()))
    }

    #[test]
    fn the_end_is_in_the_words_of_the_format() {
        for last in [
            ("", " [DONE]"),
            ("message_stop", "{}"),
            ("", r#"{"type":"RUN_FINISHED"}"#),
            ("", r#"{"event":"message_end"}"#),
            ("", r#"{"model":"m","done":true}"#),
        ] {
            assert_eq!(after(&[("", "{}"), last]), Ending::Said, "{last:?}");
        }
        for last in [
            "",
            "1",
            r#"{"done":false}"#,
            r#"{"error":null}"#,
            r#"{"error":"","text":"t"}"#,
            r#"{"error":{}}"#,
        ] {
            assert_eq!(after(&[("", "[DONE]"), ("", last)]), Ending::Open, "{last}");
        }
    }

    #[test]
    fn a_failure_has_its_code_and_no_message() {
        for (name, data, expected) in [
            (
                "",
                r#"{"error":{"message":"idle: x y","type":"t","code":"idle"}}"#,
                failed("idle"),
            ),
            (
                "error",
                r#"{"type":"error","error":{"type":"api_error","message":"truncated: the"}}"#,
                failed("truncated"),
            ),
            (
                "",
                r#"{"type":"error","errorText":"total: x"}"#,
                failed("total"),
            ),
            (
                "",
                r#"{"type":"RUN_ERROR","message":"m","code":"idle"}"#,
                failed("idle"),
            ),
            (
                "response.failed",
                r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}"#,
                failed("server_error"),
            ),
            (
                "",
                r#"{"error":"no such user: s3cret"}"#,
                Ending::Failed(None),
            ),
            ("error", "it broke", Ending::Failed(None)),
        ] {
            assert_eq!(after(&[(name, data)]), expected, "{data}");
            assert_eq!(after(&[(name, data), ("", "[DONE]")]), expected, "{data}");
            assert_eq!(after(&[(name, data), ("", "{}")]), Ending::Open, "{data}");
        }
        let tool = r#"{"type":"tool_result","error":"none"}"#;
        assert_eq!(after(&[("", tool)]), Ending::Open);
        assert_eq!(after(&[("tool", r#"{"error":"none"}"#)]), Ending::Open);
    }
}
