//! Makes a request ask for a stream.

use serde_json::value::RawValue;

use super::read::{self, Path};

/// Returns the body of a request with `"stream": true`, and with token counts if it asks for a chat completion of
/// OpenAI (`is_openai_chat`). `None` if it asks for a stream anyway, or is no JSON object.
pub fn asking_for_stream(body: &[u8], is_openai_chat: bool) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let json = serde_json::from_str::<&RawValue>(text).ok()?;
    let request = read::object(json, Path::Top).ok()?;
    if request
        .raw("stream")
        .is_some_and(|value| value.get() == "true")
    {
        return None;
    }
    let mut changed = Vec::with_capacity(body.len() + 64);
    changed.extend_from_slice(b"{");
    for (name, value) in request.members_without(&["stream"]) {
        serde_json::to_writer(&mut changed, &name).ok()?;
        changed.extend_from_slice(b":");
        changed.extend_from_slice(value.get().as_bytes());
        changed.extend_from_slice(b",");
    }
    // Other APIs refuse members that they do not know.
    if is_openai_chat && request.raw("stream_options").is_none() {
        changed.extend_from_slice(b"\"stream_options\":{\"include_usage\":true},");
    }
    changed.extend_from_slice(b"\"stream\":true}");
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_asks_for_a_stream() {
        let table = [
            (r#"{}"#, Some(r#"{"stream":true}"#)),
            (
                r#"{"a":1.50,"stream":false}"#,
                Some(r#"{"a":1.50,"stream":true}"#),
            ),
            (
                r#"{"stream":null,"x":[ 1 ]}"#,
                Some(r#"{"x":[ 1 ],"stream":true}"#),
            ),
            (r#"{"stream":true}"#, None),
            ("[]", None),
            ("{", None),
            ("", None),
        ];
        for (body, expected) in table {
            let changed = asking_for_stream(body.as_bytes(), false);
            let changed = changed.map(|body| String::from_utf8(body).unwrap());
            assert_eq!(changed.as_deref(), expected, "{body}");
        }
        let counted = asking_for_stream(b"{}", true).unwrap();
        assert_eq!(
            counted,
            br#"{"stream_options":{"include_usage":true},"stream":true}"#
        );
        let chosen = asking_for_stream(br#"{"stream_options":null}"#, true).unwrap();
        assert_eq!(chosen, br#"{"stream_options":null,"stream":true}"#);
    }
}
