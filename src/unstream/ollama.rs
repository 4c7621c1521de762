//! Whole answers of Ollama's chat and generate, as lines.

use super::Sign;
use super::json::Value;
use super::out::{Change, Object, Out};

/// Members that every line has.
const ENVELOPE: [&str; 4] = ["model", "remote_model", "remote_host", "created_at"];

pub(super) fn sign(answer: Value<'_>) -> Sign {
    let is_done = answer
        .member("done")
        .is_some_and(|done| done.raw() == "true");
    let is_text = answer.member("response").and_then(Value::text).is_some();
    Sign::certain_if(is_done && (is_text || answer.object("message").is_some()))
}

pub(super) fn write(answer: Value<'_>, out: &mut Out) -> Option<()> {
    match answer.object("message") {
        Some(message) => write_chat(answer, message, out),
        None => write_text(answer, out),
    }
}

/// Writes a line of thoughts, one of text, one of calls, and the last line.
fn write_chat(answer: Value<'_>, message: Value<'_>, out: &mut Out) -> Option<()> {
    let role = match message.word("role") {
        "" => "assistant",
        role => role,
    };
    let empty = || Object::new().text("role", role).text("content", "");
    for name in ["thinking", "content", "tool_calls"] {
        let Some(value) = message.member(name).filter(|value| value.says_something()) else {
            continue;
        };
        let said = match name {
            "content" => Object::new().text("role", role).raw(name, value.raw()),
            _ => empty().raw(name, value.raw()),
        };
        let mut line = envelope(answer).raw("message", &said.end());
        if name == "content" {
            line = line.same("logprobs", answer);
        }
        out.line(&line.raw("done", "false").end())?;
    }
    let rest = empty().others(message, &["role", "content", "thinking", "tool_calls"]);
    let rest = rest.end();
    let is_listed = !message.word("content").is_empty();
    let last = answer
        .members()
        .fold(Object::new(), |line, (name, value)| match name {
            "message" => line.raw(name, &rest),
            "logprobs" if is_listed => line,
            _ => line.raw(name, value.raw()),
        });
    out.line(&last.end())
}

/// Writes the answer of `generate`, whose members are beside the rest.
fn write_text(answer: Value<'_>, out: &mut Out) -> Option<()> {
    let thought = answer.word("thinking");
    if !thought.is_empty() {
        let line = envelope(answer)
            .text("response", "")
            .text("thinking", thought);
        out.line(&line.raw("done", "false").end())?;
    }
    let text = answer.word("response");
    if !text.is_empty() {
        let line = envelope(answer)
            .text("response", text)
            .same("logprobs", answer);
        out.line(&line.raw("done", "false").end())?;
    }
    let last = Object::new().changed(answer, |name| match name {
        "response" => Change::To("\"\""),
        "thinking" => Change::Drop,
        "logprobs" if !text.is_empty() => Change::Drop,
        _ => Change::Keep,
    });
    out.line(&last.end())
}

fn envelope(answer: Value<'_>) -> Object {
    ENVELOPE
        .iter()
        .fold(Object::new(), |line, name| line.same(name, answer))
}

#[cfg(test)]
mod tests {
    use crate::unstream::synthesize;

    fn lines(body: &str) -> String {
        let synthesized = synthesize(None, body.as_bytes()).unwrap();
        String::from_utf8(synthesized.body).unwrap()
    }

    #[test]
    fn a_chat() {
        let body = r#"{"model":"m","created_at":"t","message":{"role":"assistant","content":"Rain\n","thinking":"Hm",
            "tool_calls":[{"function":{"name":"wx","arguments":{}}}]},"done":true,"done_reason":"stop","eval_count":4}"#;
        let expected = [
            r#"{"model":"m","created_at":"t","message":{"role":"assistant","content":"","thinking":"Hm"},"done":false}"#,
            r#"{"model":"m","created_at":"t","message":{"role":"assistant","content":"Rain\n"},"done":false}"#,
            r#"{"model":"m","created_at":"t","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"wx","arguments":{}}}]},"done":false}"#,
            r#"{"model":"m","created_at":"t","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":4}"#,
            "",
        ];
        assert_eq!(lines(body), expected.join("\n"));
    }

    #[test]
    fn a_text() {
        let body = r#"{"model":"m","created_at":"t","response":"Rain","thinking":"Hm","done":true,"context":[1],"logprobs":[2]}"#;
        let expected = [
            r#"{"model":"m","created_at":"t","response":"","thinking":"Hm","done":false}"#,
            r#"{"model":"m","created_at":"t","response":"Rain","logprobs":[2],"done":false}"#,
            r#"{"model":"m","created_at":"t","response":"","done":true,"context":[1]}"#,
            "",
        ];
        assert_eq!(lines(body), expected.join("\n"));
        assert!(synthesize(None, br#"{"response":"Rain","done":false}"#).is_none());
    }
}
