//! Looks into raw JSON without decoding it.
//!
//! For events that are rare: each call searches its value from the beginning.

use std::borrow::Cow;
use std::fmt::Write;

use super::part::Text;
use crate::wire::json::Cursor;

/// Reports whether data is one JSON value, and so may stand where one is expected. Skipping would take any word for
/// one.
pub(super) fn is_json(data: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(data).is_ok()
}

/// Returns the members of an object, in order: the raw body of each name, and the raw value. None if it is no object.
pub(super) fn members(object: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut members = Vec::new();
    let mut cursor = Cursor::new(object);
    if cursor.enter_object().is_some() {
        while let Some(Some(name)) = cursor.next_key() {
            let Some(value) = cursor.skip().and_then(|range| object.get(range)) else {
                break;
            };
            members.push((name, value));
        }
    }
    members
}

/// Returns the elements of an array, raw. None if it is no array.
pub(super) fn elements(array: &[u8]) -> Vec<&[u8]> {
    let mut elements = Vec::new();
    let mut cursor = Cursor::new(array);
    if cursor.enter_array().is_some() {
        while let Some(true) = cursor.next_element() {
            let Some(value) = cursor.skip().and_then(|range| array.get(range)) else {
                break;
            };
            elements.push(value);
        }
    }
    elements
}

/// Returns the raw value of a member of an object, unless it is `null`.
pub(super) fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut cursor = Cursor::new(object);
    cursor.enter_object()?;
    while let Some(key) = cursor.next_key()? {
        let value = cursor.skip()?;
        if key == name.as_bytes() {
            return object.get(value).filter(|value| *value != b"null");
        }
    }
    None
}

/// The names of one member that is written in two ways: in camel case and in snake case.
pub(super) type Names = [&'static str; 2];

/// Returns the raw value of a member under either of its names, unless it is `null`.
pub(super) fn either(object: &[u8], names: Names) -> Option<&[u8]> {
    names.iter().find_map(|name| member(object, name))
}

/// Returns the raw body of the string that a member is, under either of its names; empty if there is none.
pub(super) fn said(object: &[u8], names: Names) -> &[u8] {
    either(object, names).and_then(string).unwrap_or_default()
}

/// Returns the raw value at a path of member names, unless it is `null`.
pub(super) fn at<'a>(value: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(value, |value, name| member(value, name))
}

/// Returns the raw body of a string; `None` for any other value.
pub(super) fn string(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    (value.len() >= 2)
        .then(|| value.strip_prefix(b"\"")?.strip_suffix(b"\""))
        .flatten()
}

/// Returns the raw body of the string at a path; empty if there is none.
pub(super) fn word<'a>(value: &'a [u8], path: &[&str]) -> &'a [u8] {
    at(value, path).and_then(string).unwrap_or_default()
}

/// Returns the raw body of the string at a path, or the digits of the number there; empty if there is neither.
pub(super) fn id<'a>(value: &'a [u8], path: &[&str]) -> &'a [u8] {
    match at(value, path) {
        Some(found) => match (string(found), found.first()) {
            (Some(id), _) => id,
            (None, Some(b'0'..=b'9')) => found,
            (None, _) => b"",
        },
        None => b"",
    }
}

/// Returns the whole number at a path, which some servers write as a float.
pub(super) fn number(value: &[u8], path: &[&str]) -> Option<u64> {
    let value = at(value, path)?;
    Cursor::new(value).u64_or_skip().flatten()
}

/// Reports whether the value at a path is `true`.
pub(super) fn is_true(value: &[u8], path: &[&str]) -> bool {
    at(value, path) == Some(b"true")
}

/// Reports whether a value is an object.
pub(super) fn is_object(value: &[u8]) -> bool {
    value.trim_ascii_start().first() == Some(&b'{')
}

/// Returns the raw body of a JSON string that says `plain`.
pub(super) fn escaped(plain: &[u8]) -> Text<'_> {
    let is_plain = |byte: &u8| *byte >= 0x20 && !matches!(byte, b'"' | b'\\');
    if plain.iter().all(is_plain) && std::str::from_utf8(plain).is_ok() {
        return Cow::Borrowed(plain);
    }
    let text = String::from_utf8_lossy(plain);
    let mut body = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '"' => body.push_str("\\\""),
            '\\' => body.push_str("\\\\"),
            '\n' => body.push_str("\\n"),
            '\r' => body.push_str("\\r"),
            '\t' => body.push_str("\\t"),
            control if control < ' ' => {
                // Writing to a string cannot fail.
                let _ = write!(body, "\\u{:04x}", u32::from(control));
            }
            other => body.push(other),
        }
    }
    Cow::Owned(body.into_bytes())
}

/// Returns a name as the body of a JSON string. A name that came in one is that already; the name of a frame may be
/// anything.
pub(super) fn as_body(name: &[u8]) -> Text<'_> {
    match escaped(name) {
        Cow::Owned(_) if is_json(&quoted(name)) => Cow::Borrowed(name),
        body => body,
    }
}

/// Returns what the raw body of a JSON string says. What is not valid is replaced.
pub(super) fn unescaped(body: &[u8]) -> Vec<u8> {
    if !body.contains(&b'\\') {
        return body.to_vec();
    }
    let quoted = [b"\"", body, b"\""].concat();
    match serde_json::from_slice::<String>(&quoted) {
        Ok(text) => text.into_bytes(),
        // A lone surrogate, which JSON allows and UTF-8 does not.
        Err(_) => body.to_vec(),
    }
}

/// Returns a raw JSON string with this raw body.
pub(super) fn quoted(body: &[u8]) -> Vec<u8> {
    [b"\"", body, b"\""].concat()
}
