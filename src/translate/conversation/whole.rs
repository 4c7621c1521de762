//! The arguments of a call that came in pieces, and that the agent tells once more at the end.
//!
//! Some targets have only the pieces, others only the whole. So what is missing of the pieces follows them, as long as
//! the agent does not contradict itself.

use std::borrow::Cow;

use crate::translate::action::Pieces;

/// What is known of the arguments at the end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End<'a> {
    /// The text of the arguments.
    pub(super) text: &'a [u8],
    /// What is missing after the pieces. `None` if nothing is.
    pub(super) rest: Option<Cow<'a, [u8]>>,
    /// Whether the pieces, with the rest, are the text.
    pub(super) pieces: Pieces,
}

/// Returns the arguments of a call whose pieces say `came`, and whose whole arguments are said to be `whole`.
pub(super) fn end<'a>(came: &'a [u8], whole: Option<&'a [u8]>) -> End<'a> {
    let whole = whole.filter(|whole| !whole.trim_ascii().is_empty());
    let whole = match whole {
        None if came.trim_ascii().is_empty() => b"{}",
        None => came,
        // What many agents say if they do not know.
        Some(b"{}") if is_json(came) => came,
        Some(whole) => whole,
    };
    let (text, pieces, rest) = if whole == came {
        (came, Pieces::All, None)
    } else if let Some(rest) = missing(came, whole) {
        (whole, Pieces::All, Some(rest))
    } else if is_same(came, whole) {
        (whole, Pieces::All, None)
    } else if is_json(came) && !is_json(whole) {
        (came, Pieces::All, None)
    } else {
        (whole, Pieces::Other, None)
    };
    let rest = rest.filter(|rest| !rest.is_empty());
    End { text, rest, pieces }
}

/// Reports whether a text is one JSON value, by the strict rules that clients apply.
pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// Reports whether two texts say the same.
fn is_same(came: &[u8], whole: &[u8]) -> bool {
    let value = |text| serde_json::from_slice::<serde_json::Value>(text).ok();
    value(came).is_some_and(|came| value(whole) == Some(came))
}

/// Returns what is missing after `came` to be `whole`, but for white space between the tokens. `None` if `whole` does
/// not begin with it.
fn missing<'a>(came: &[u8], whole: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    if let Some(rest) = whole.strip_prefix(came) {
        return Some(rest.into());
    }
    let (came, whole) = (without_spaces(came), without_spaces(whole));
    whole
        .strip_prefix(came.as_slice())
        .map(|rest| rest.to_vec().into())
}

/// Returns a JSON text, or the beginning of one, without the white space between its tokens.
fn without_spaces(text: &[u8]) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    let keeps = |byte: &u8| {
        let is_outside = !in_string && byte.is_ascii_whitespace();
        in_string ^= *byte == b'"' && !escaped;
        escaped = in_string && *byte == b'\\' && !escaped;
        !is_outside
    };
    text.iter().copied().filter(keeps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(came: &str, whole: Option<&str>) -> (String, String, Pieces) {
        let end = end(came.as_bytes(), whole.map(str::as_bytes));
        let own = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let rest = end.rest.as_deref().unwrap_or_default();
        (own(end.text), own(rest), end.pieces)
    }

    #[test]
    fn what_is_missing_follows_the_pieces() {
        let whole = r#"{"city":"Oslo \" x"}"#;
        for (came, rest) in [
            ("", whole),
            ("{\"ci", "ty\":\"Oslo \\\" x\"}"),
            (whole, ""),
            // Another way to write the same.
            ("{ \"city\" : \"Os", "lo \\\" x\"}"),
            ("{\n\"city\": \"Oslo \\\" x\"\n}", ""),
            ("{\"city\":\"\\u004fslo \\\" x\"}", ""),
        ] {
            let expected = (whole.to_owned(), rest.to_owned(), Pieces::All);
            assert_eq!(ends(came, Some(whole)), expected, "{came}");
        }
    }

    #[test]
    fn without_a_whole_the_pieces_count() {
        for (came, whole, text, rest) in [
            ("", None, "{}", "{}"),
            (" ", None, "{}", "{}"),
            ("{\"a\":1}", None, "{\"a\":1}", ""),
            ("{\"a\":1}", Some(""), "{\"a\":1}", ""),
            ("{\"a\":1}", Some("{}"), "{\"a\":1}", ""),
            ("{\"a\"", None, "{\"a\"", ""),
            // What is no JSON does not take the place of what is.
            ("{\"a\":1}", Some("oops"), "{\"a\":1}", ""),
        ] {
            let expected = (text.to_owned(), rest.to_owned(), Pieces::All);
            assert_eq!(ends(came, whole), expected, "{came} {whole:?}");
        }
    }

    #[test]
    fn the_whole_may_contradict_the_pieces() {
        for (came, whole) in [
            ("{\"a\":1}", "{\"a\":2}"),
            ("{\"a\":", "{\"b\":1}"),
            ("{\"a\":\"x y", "{\"a\":\"xy\"}"),
            ("{\"a\":1,\"b\"", "{}"),
            ("hello", "{\"a\":1}"),
        ] {
            let expected = (whole.to_owned(), String::new(), Pieces::Other);
            assert_eq!(ends(came, Some(whole)), expected, "{came}");
        }
    }
}
