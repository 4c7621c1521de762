//! Recognises strings that hold JSON again, whose texts cannot be searched as they are written.

use std::ops::Range;

/// Escapes of white space in the raw body of a JSON string.
const BLANKS: [&[u8]; 3] = [b"\\n", b"\\r", b"\\t"];
/// What a Python value written as text begins with.
const PYTHON: [&[u8]; 4] = [b"{'", b"['", b"[{'", b"('"];

/// What JSON within a string may have in it if it says a thought or a call of the model, in small letters.
const DOUBTFUL: [&[u8]; 11] = [
    b"<",
    b"u003c",
    b"\xe2\x97\x81",
    b"u25c1",
    b"[tool_calls",
    b"[unused",
    b"think",
    b"thought",
    b"reasoning",
    b"action:",
    b"observation:",
];

/// Reports whether JSON within a string has nothing in it that may be a thought or a call of the model.
pub(super) fn is_plain(text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    !(DOUBTFUL.iter()).any(|word| memchr::memmem::find(&text, word).is_some())
}

/// Reports whether the raw body of a JSON string is a whole JSON value or Python value again, or lines of such values
/// or of SSE.
pub(super) fn holds_json(text: &[u8]) -> bool {
    let text = trimmed(text);
    // The name of an event alone says nothing.
    let is_named = text.starts_with(b"event:") && memchr::memmem::find(text, b"\\n").is_some();
    if text.starts_with(b"data:") || is_named || is_value(text) {
        return true;
    }
    let mut rest = text;
    while let Some(end) = memchr::memmem::find(rest, b"\\n") {
        if is_line(rest.get(..end).unwrap_or_default()) {
            return true;
        }
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    is_line(rest)
}

/// Returns the range without the quotes of a string in a string, if its text has no further escapes.
pub(super) fn within_quotes(text: &[u8], range: Range<usize>) -> Range<usize> {
    let inner = text
        .strip_prefix(b"\\\"")
        .and_then(|text| text.strip_suffix(b"\\\""));
    match inner {
        Some(inner) if !inner.contains(&b'\\') => range.start + 2..range.end - 2,
        _ => range,
    }
}

/// Reports whether a line is JSON, or has JSON behind the name of a field: `data: {...}`, or `0:"..."` of the AI SDK.
fn is_line(line: &[u8]) -> bool {
    let line = trimmed(line);
    let field = line
        .strip_prefix(b"data:")
        .or_else(|| match line {
            [code, b':', value @ ..] if code.is_ascii_alphanumeric() => Some(value),
            _ => None,
        })
        .map(trimmed);
    let is_string = |value: &[u8]| {
        let inner = value
            .strip_prefix(b"\\\"")
            .and_then(|value| value.strip_suffix(b"\\\""));
        inner.is_some()
    };
    is_value(line) || field.is_some_and(|value| is_value(value) || is_string(value))
}

/// Reports whether a text is a whole object or list with strings in it, as JSON or Python writes them.
fn is_value(text: &[u8]) -> bool {
    let is_whole = matches!(
        (text.first(), text.last()),
        (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')) | (Some(b'('), Some(b')'))
    );
    let is_json = text.first() != Some(&b'(') && text.windows(2).any(|pair| pair == b"\\\"");
    is_whole && (is_json || PYTHON.iter().any(|begin| text.starts_with(begin)))
}

/// Returns the text without white space around it, also where that is escaped.
fn trimmed(mut text: &[u8]) -> &[u8] {
    loop {
        let shorter = text.trim_ascii();
        let shorter = BLANKS
            .iter()
            .find_map(|blank| shorter.strip_prefix(*blank))
            .unwrap_or(shorter);
        let shorter = BLANKS
            .iter()
            .find_map(|blank| shorter.strip_suffix(*blank))
            .unwrap_or(shorter);
        if shorter.len() == text.len() {
            return text;
        }
        text = shorter;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_sse_in_a_string_are_recognised() {
        for (text, holds) in [
            (r#"{\"token\":\"x\"}"#, true),
            (r#"{\"a\":\"b\"}\n"#, true),
            (r#"{\"a\":1}\n{\"b\":\"c\"}\n"#, true),
            (r#"\n\ndata: {\"a\":\"b\"}\n\n"#, true),
            (r#": ping\n\ndata: {\"a\":\"b\"}"#, true),
            (r#"id: 1\ndata: [\"x\"]\n\n"#, true),
            (r#"0:\"Hello\"\n"#, true),
            (r#"{\n  \"a\": \"b\"\n}"#, true),
            (r"{'token': 'x'}", true),
            (r"['x', 'y']", true),
            ("data: x", true),
            (r"event: token\ndata: x\n\n", true),
            ("event: a concert", false),
            ("a < b", false),
            ("[1] and [2]", false),
            ("(see above)", false),
            (r#"He said \"no\"."#, false),
            (r#"{\""#, false),
            ("Rain.\\nSnow.", false),
            ("A note:\\ndata: none", false),
        ] {
            assert_eq!(holds_json(text.as_bytes()), holds, "{text}");
        }
    }

    #[test]
    fn the_quotes_of_a_string_in_a_string_are_no_part_of_it() {
        for (text, range) in [
            (r#"\"Rain\""#, 7..11),
            (r#"\"a\\nb\""#, 5..14),
            (r#"\""#, 5..7),
            ("Rain", 5..9),
        ] {
            let whole = 5..5 + text.len();
            assert_eq!(within_quotes(text.as_bytes(), whole), range, "{text}");
        }
    }
}
