//! Recognises strings that hold JSON again, whose texts cannot be searched as they are written.

use std::ops::Range;

/// Escapes of white space in the raw body of a JSON string.
const BLANKS: [&[u8]; 3] = [b"\\n", b"\\r", b"\\t"];
/// What a Python value written as text begins with.
const PYTHON: [&[u8]; 4] = [b"{'", b"['", b"[{'", b"('"];

/// What the marks of a thought or a call begin with, in small letters.
const MARKS: [&[u8]; 6] = [
    b"<",
    b"u003c",
    b"\xe2\x97\x81",
    b"u25c1",
    b"[tool_calls",
    b"[unused",
];
/// What the names and types of thoughts have in them, and the labels of ReAct, in small letters.
const WORDS: [&[u8]; 5] = [
    b"think",
    b"thought",
    b"reasoning",
    b"action:",
    b"observation:",
];

/// Reports whether JSON within a string has nothing in it that may be a thought or a call of the model.
pub(super) fn is_plain(text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    let has_mark = (MARKS.iter()).any(|mark| memchr::memmem::find(&text, mark).is_some());
    let says = |word: &&[u8]| {
        memchr::memmem::find_iter(&text, word).any(|at| {
            let (before, after) = text.split_at_checked(at).unwrap_or_default();
            let after = after.get(word.len()..).unwrap_or_default();
            begins(before) && (word.ends_with(b":") || ends(after))
        })
    };
    !has_mark && !WORDS.iter().any(says)
}

/// Reports whether the name or label that goes on after this begins a string or a line. A word of a sentence does not:
/// `Do you think so?`
fn begins(before: &[u8]) -> bool {
    let rest = without_end(without_end(before, is_part), is_around);
    rest.last().is_none_or(|byte| is_border(*byte)) || rest.ends_with(b"\\n")
}

/// Returns what is before the bytes of this kind at the end.
fn without_end(bytes: &[u8], is_such: fn(u8) -> bool) -> &[u8] {
    let last = bytes.iter().rposition(|byte| !is_such(*byte));
    let end = last.map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}

/// Reports whether the name or label that this goes on with is followed by a quote or a colon.
fn ends(after: &[u8]) -> bool {
    let mut after = after.iter().skip_while(|byte| is_part(**byte));
    let next = after.find(|byte| !is_around(**byte));
    next.is_none_or(|byte| is_border(*byte) || *byte == b':')
}

const fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

const fn is_around(byte: u8) -> bool {
    matches!(byte, b' ' | b'*' | b'#')
}

/// Reports whether the byte is a quote, or belongs to the escape of one or of a line break.
const fn is_border(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'\\')
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
    fn a_question_is_plain_also_if_it_asks_what_the_user_thinks() {
        for (text, plain) in [
            (r#"{\"question\":\"Do you think so?\"}"#, true),
            (r#"{\"question\":\"What do you think\"}"#, true),
            (r#"{\"a\":\"On second thought:\\nthink twice.\"}"#, true),
            (r#"{\"a\":\"Reasoning effort?\"}"#, true),
            (r#"{\"a\":\"Proposed action: send it\"}"#, true),
            (r#"{\"think\":\"x\"}"#, false),
            (r#"{\"innerThoughts\" : \"x\"}"#, false),
            (r#"{\"type\":\"reasoning.text\",\"t\":\"x\"}"#, false),
            (r"{'model_reasoning': 'x'}", false),
            (r#"{\"a\":\"Thought: x\"}"#, false),
            (r#"{\"a\":\"Well.\\n**Action:** x\"}"#, false),
            (r#"{\"a\":\"Well.\\nAction: x\"}"#, false),
            (r#"{\"a\":\"<b>\"}"#, false),
        ] {
            assert_eq!(is_plain(text.as_bytes()), plain, "{text}");
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
