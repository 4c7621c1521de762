//! Whole answers of Hugging Face's text-generation-inference: of `/generate`, and of `/`, which has them in an array.

use super::Sign;
use super::json::Value;
use super::out::{Object, Out};

pub(super) fn sign(answer: Value<'_>) -> Sign {
    Sign::certain_if(text(answer).is_some())
}

pub(super) fn write(answer: Value<'_>, out: &mut Out) -> Option<()> {
    let (answer, text) = text(answer)?;
    let mut index = 1;
    if !text.is_empty() {
        let token = token(index, text, "false")
            .raw("generated_text", "null")
            .raw("details", "null");
        out.block("", &token.end())?;
        index += 1;
    }
    // The text of a control token is not part of the answer: the whole text has been told.
    let details = answer.member("details").map_or("null", Value::raw);
    let last = token(index, "", "true")
        .text("generated_text", text)
        .raw("details", details)
        .others(answer, &["generated_text", "details"]);
    out.block("", &last.end())
}

/// Returns the only object of the answer, and its text.
fn text(answer: Value<'_>) -> Option<(Value<'_>, &str)> {
    let mut several = answer.elements();
    let only = if answer.is_array() {
        several.next()?
    } else {
        answer
    };
    if several.next().is_some() {
        return None;
    }
    Some((only, only.member("generated_text")?.text()?))
}

/// Begins an event. The clients read the token's number and probability, which the answer does not say.
fn token(index: usize, text: &str, special: &str) -> Object {
    let token = Object::new()
        .number("id", 0)
        .text("text", text)
        .number("logprob", 0)
        .raw("special", special);
    Object::new()
        .number("index", index)
        .raw("token", &token.end())
}

#[cfg(test)]
mod tests {
    use crate::unstream::synthesize;
    use crate::unstream::testing::events;

    #[test]
    fn the_text_is_one_token() {
        let answer = r#"{"generated_text":"Rain.\n","details":{"finish_reason":"length","generated_tokens":2}}"#;
        let expected = [
            r#"{"index":1,"token":{"id":0,"text":"Rain.\n","logprob":0,"special":false},"generated_text":null,"details":null}"#,
            r#"{"index":2,"token":{"id":0,"text":"","logprob":0,"special":true},"generated_text":"Rain.\n","details":{"finish_reason":"length","generated_tokens":2}}"#,
        ];
        assert_eq!(events(None, answer), expected);
        assert_eq!(events(None, &format!("[{answer}]")), expected);
        assert!(synthesize(None, format!("[{answer},{answer}]").as_bytes()).is_none());
        assert!(synthesize(None, b"[]").is_none());
    }
}
