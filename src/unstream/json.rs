//! The JSON text of an answer: checked once, brought to one line, and then looked into without decoding it.

use std::borrow::Cow;
use std::iter;

use memchr::memchr2;

use crate::wire::json::{Cursor, Kind};

/// Answers are nested a few levels deep. What is deeper than this is not read.
const MAX_DEPTH: usize = 128;

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Colon,
    Comma,
    /// The first element of an array, or its end.
    FirstElement,
    /// The first key of an object, or its end.
    FirstKey,
    Key,
    Value,
}

/// Returns a JSON text without the white space between its tokens, so that it fits on a line of a stream. Returns
/// `None` if it is not exactly one JSON value, or too deep.
///
/// U+0085, U+2028 and U+2029 are escaped, because Python clients split lines at them.
pub(super) fn compact(body: &[u8]) -> Option<String> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let text = std::str::from_utf8(body).ok()?;
    let mut out = String::with_capacity(text.len());
    // The brackets that are open.
    let mut open: Vec<u8> = Vec::new();
    let mut next = Next::Value;
    let mut pos = 0;
    while let Some(byte) = body.get(pos).copied() {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            pos += 1;
            continue;
        }
        let rest = body.get(pos..)?;
        let (length, after) = match (next, byte) {
            (Next::FirstElement | Next::Value, b'"') => (string_length(rest)?, Next::Comma),
            (Next::FirstKey | Next::Key, b'"') => (string_length(rest)?, Next::Colon),
            (Next::FirstElement | Next::Value, b'{' | b'[') => {
                if open.len() == MAX_DEPTH {
                    return None;
                }
                open.push(byte);
                match byte {
                    b'{' => (1, Next::FirstKey),
                    _ => (1, Next::FirstElement),
                }
            }
            (Next::FirstKey | Next::Comma, b'}') if open.last() == Some(&b'{') => {
                open.pop();
                (1, Next::Comma)
            }
            (Next::FirstElement | Next::Comma, b']') if open.last() == Some(&b'[') => {
                open.pop();
                (1, Next::Comma)
            }
            (Next::Colon, b':') => (1, Next::Value),
            (Next::Comma, b',') => match open.last()? {
                b'{' => (1, Next::Key),
                _ => (1, Next::Value),
            },
            (Next::FirstElement | Next::Value, _) => (word_length(rest)?, Next::Comma),
            _ => return None,
        };
        let token = text.get(pos..pos + length)?;
        if byte == b'"' {
            push_string(&mut out, token);
        } else {
            out.push_str(token);
        }
        pos += length;
        next = after;
    }
    (next == Next::Comma && open.is_empty()).then_some(out)
}

/// Returns the length of the string that `bytes` begin with, quotes included.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut pos = 1;
    loop {
        let rest = bytes.get(pos..)?;
        let plain = memchr2(b'"', b'\\', rest)?;
        if rest.get(..plain)?.iter().any(|byte| *byte < b' ') {
            return None;
        }
        pos += plain;
        if bytes.get(pos) == Some(&b'"') {
            return Some(pos + 1);
        }
        pos += match bytes.get(pos + 1)? {
            b'u' => {
                let digits = bytes.get(pos + 2..pos + 6)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(6)?
            }
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            _ => return None,
        };
    }
}

/// Returns the length of the number or literal that `bytes` begin with. `NaN` and infinity are numbers, as in Python.
fn word_length(bytes: &[u8]) -> Option<usize> {
    let is_end = |byte: &u8| {
        matches!(
            byte,
            b' ' | b'\t' | b'\n' | b'\r' | b',' | b'}' | b']' | b':' | b'"'
        )
    };
    let length = bytes.iter().position(is_end).unwrap_or(bytes.len());
    let word = std::str::from_utf8(bytes.get(..length)?).ok()?;
    let is_literal = matches!(
        word,
        "true" | "false" | "null" | "NaN" | "Infinity" | "-Infinity"
    );
    let is_number = || {
        let is_first = |byte: u8| byte == b'-' || byte.is_ascii_digit();
        word.bytes().next().is_some_and(is_first)
            && word.bytes().all(|byte| b"+-.eE0123456789".contains(&byte))
            && word.parse::<f64>().is_ok()
    };
    (is_literal || is_number()).then_some(length)
}

fn push_string(out: &mut String, token: &str) {
    let splits = |character: char| matches!(character, '\u{85}' | '\u{2028}' | '\u{2029}');
    for part in token.split_inclusive(splits) {
        match part.chars().next_back() {
            Some(last) if splits(last) => {
                out.push_str(part.strip_suffix(last).unwrap_or(part));
                out.push_str(match last {
                    '\u{85}' => "\\u0085",
                    '\u{2028}' => "\\u2028",
                    _ => "\\u2029",
                });
            }
            _ => out.push_str(part),
        }
    }
}

/// Returns the raw body of a JSON string that says `plain`, which is JSON on one line and therefore without control
/// characters.
pub(super) fn escaped(plain: &str) -> String {
    let mut body = String::with_capacity(plain.len() + 16);
    for part in plain.split_inclusive(['"', '\\']) {
        match part.chars().next_back() {
            Some(last @ ('"' | '\\')) => {
                body.push_str(part.strip_suffix(last).unwrap_or(part));
                body.push('\\');
                body.push(last);
            }
            _ => body.push_str(part),
        }
    }
    body
}

/// A JSON value in a text that [`compact`] has returned.
///
/// Each call searches from the beginning of the value: an answer is looked into a few times only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Returns the value as it is in the text.
    pub(super) const fn raw(self) -> &'a str {
        self.0
    }

    /// Returns the members of an object: the raw body of each name, and its value. There are none in another value.
    pub(super) fn members(self) -> impl Iterator<Item = (&'a str, Self)> {
        let mut cursor = Cursor::new(self.0.as_bytes());
        let entered = cursor.enter_object();
        iter::from_fn(move || {
            entered?;
            let name = std::str::from_utf8(cursor.next_key()??).ok()?;
            let value = self.0.get(cursor.skip()?)?;
            Some((name, Self(value)))
        })
        .fuse()
    }

    /// Returns the elements of an array. There are none in another value.
    pub(super) fn elements(self) -> impl Iterator<Item = Self> {
        let mut cursor = Cursor::new(self.0.as_bytes());
        let entered = cursor.enter_array();
        iter::from_fn(move || {
            entered?;
            cursor.next_element()?.then_some(())?;
            self.0.get(cursor.skip()?).map(Self)
        })
        .fuse()
    }

    /// Returns a member of an object, unless it is `null`.
    pub(super) fn member(self, name: &str) -> Option<Self> {
        let (_, value) = self.members().find(|(key, _)| *key == name)?;
        (!value.is_null()).then_some(value)
    }

    /// Returns the raw body of a string.
    pub(super) fn text(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// Returns the raw body of a member that is a string, empty if there is none.
    pub(super) fn word(self, name: &str) -> &'a str {
        self.member(name).and_then(Self::text).unwrap_or_default()
    }

    /// Returns what a value says as text: a string, or the JSON of any other value as the raw body of a string.
    pub(super) fn as_text(self) -> Cow<'a, str> {
        match self.text() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(escaped(self.0)),
        }
    }

    /// Returns a member that is an object.
    pub(super) fn object(self, name: &str) -> Option<Self> {
        self.member(name).filter(|value| value.is_object())
    }

    /// Returns a member that is an array.
    pub(super) fn array(self, name: &str) -> Option<Self> {
        self.member(name).filter(|value| value.is_array())
    }

    pub(super) fn is_array(self) -> bool {
        self.kind() == Some(Kind::Array)
    }

    pub(super) fn is_object(self) -> bool {
        self.kind() == Some(Kind::Object)
    }

    pub(super) fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Reports whether the value is neither `null` nor empty.
    pub(super) fn says_something(self) -> bool {
        !matches!(self.0, "null" | "\"\"" | "[]" | "{}")
    }

    fn kind(self) -> Option<Kind> {
        Cursor::new(self.0.as_bytes()).kind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_and_all_else_stays() {
        let cases = [
            (
                " {\n \"a b\" : [ 1 , -2.5e3,\ttrue ] } \r\n",
                r#"{"a b":[1,-2.5e3,true]}"#,
            ),
            (r#"{"a":"x \" \\ \ud83d"}"#, r#"{"a":"x \" \\ \ud83d"}"#),
            ("\u{feff}[]", "[]"),
            (
                "\"\u{2028}é\u{85}\u{2029}!\"",
                "\"\\u2028é\\u0085\\u2029!\"",
            ),
            ("[NaN,{}]", "[NaN,{}]"),
            ("12", "12"),
        ];
        for (body, expected) in cases {
            assert_eq!(
                compact(body.as_bytes()).as_deref(),
                Some(expected),
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_not_exactly_one_value_is_refused() {
        let broken = [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "[}",
            "{]",
            "[1 2]",
            "{}{}",
            "{} x",
            "nul",
            "1.2.3",
            "-",
            "+1",
            "\"open",
            "\"a\nb\"",
            r#""\x""#,
            r#""\u12""#,
            "[1:2]",
            "{\"a\",1}",
            ",",
            "data: {}",
        ];
        for body in broken {
            assert_eq!(compact(body.as_bytes()), None, "{body}");
        }
        assert_eq!(compact(b"\"\xFF\""), None);
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(compact(deep(MAX_DEPTH).as_bytes()).is_some());
        assert_eq!(compact(deep(MAX_DEPTH + 1).as_bytes()), None);
        assert_eq!(compact("[".repeat(1 << 20).as_bytes()), None);
    }

    #[test]
    fn values_are_found_without_decoding() {
        let value = Value::new(r#"{"a":null,"b":{"c":"x\"y"},"d":[1,[2]],"e":{}}"#);
        assert!(value.member("a").is_none() && value.member("nope").is_none());
        assert_eq!(value.object("b").map(|b| b.word("c")), Some(r#"x\"y"#));
        let elements: Vec<&str> = (value.array("d").into_iter())
            .flat_map(Value::elements)
            .map(Value::raw)
            .collect();
        assert_eq!(elements, ["1", "[2]"]);
        assert_eq!(
            Value::new("3").members().count() + Value::new("3").elements().count(),
            0
        );
        assert!(!value.member("e").is_some_and(Value::says_something));
    }

    #[test]
    fn json_becomes_the_text_of_a_string() {
        let json = r#"{"a":"b\\\"c"}"#;
        let text = Value::new(json).as_text();
        let quoted = format!("\"{text}\"");
        assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), json);
        assert_eq!(Value::new(r#""{\"a\":1}""#).as_text(), r#"{\"a\":1}"#);
    }
}
