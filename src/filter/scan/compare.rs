//! Compares held text with a marker.

use crate::filter::markers::{Form, Pair};

/// Whether held text is a marker, the beginning of one, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    No,
    Prefix,
    Whole,
}

/// Reports whether a byte is white space or part of a line break.
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Compares held text with the opening marker of a pair.
pub(super) fn compare_open(held: &[u8], pair: &Pair) -> Match {
    let open = pair.open.as_bytes();
    match pair.form {
        Form::Exact => compare(held, open),
        Form::Tag => match (compare_tag(held, open), open.strip_suffix(b">")) {
            (Match::No, Some(name)) => after(held, name, attributes),
            (found, _) => found,
        },
        Form::Attributes => after(held, open, attributes),
        Form::Value => after(held, open, value),
    }
}

/// Compares held text with a closing marker of a pair.
pub(super) fn compare_close(held: &[u8], pair: &Pair, close: &str) -> Match {
    match pair.form {
        Form::Exact => compare(held, close.as_bytes()),
        Form::Attributes | Form::Tag | Form::Value => compare_tag(held, close.as_bytes()),
    }
}

/// Compares held text with a marker.
pub(super) fn compare(held: &[u8], mark: &[u8]) -> Match {
    if held == mark {
        Match::Whole
    } else if mark.starts_with(held) {
        Match::Prefix
    } else {
        Match::No
    }
}

/// Compares held text with a tag. Ignores case and white space within the tag, which models vary now and then.
fn compare_tag(held: &[u8], tag: &[u8]) -> Match {
    after(held, tag, |rest| {
        if rest.is_empty() {
            Match::Whole
        } else {
            Match::No
        }
    })
}

/// Compares the beginning of held text with that of a tag, as [`compare_tag`] does, and the rest of it with `then`.
fn after(held: &[u8], start: &[u8], then: impl Fn(&[u8]) -> Match) -> Match {
    let mut wanted = start.iter();
    let mut next = wanted.next();
    for (at, byte) in held.iter().enumerate() {
        match next {
            None => return then(held.get(at..).unwrap_or_default()),
            Some(_) if at > 0 && is_blank(*byte) => {}
            Some(one) if one.eq_ignore_ascii_case(byte) => next = wanted.next(),
            Some(_) => return Match::No,
        }
    }
    match next {
        None => then(&[]),
        Some(_) => Match::Prefix,
    }
}

/// Compares text with the attributes of a tag, at least one, and its end: ` name="x" id=1>`. Prose after the name of a
/// tag has no equals sign and is no attribute.
fn attributes(text: &[u8]) -> Match {
    let mut rest = text;
    let mut count = 0;
    loop {
        let attribute = rest.trim_ascii_start();
        match attribute {
            [] => return Match::Prefix,
            [b'>'] if count > 0 => return Match::Whole,
            [first, ..] if is_first(*first) && attribute.len() < rest.len() => {}
            _ => return Match::No,
        }
        rest = match attribute_end(attribute) {
            Ok(rest) => rest,
            Err(found) => return found,
        };
        count += 1;
    }
}

/// Returns what follows the attribute at the start of `text`; if that is not complete, whether it may become one.
fn attribute_end(text: &[u8]) -> Result<&[u8], Match> {
    let past = |text: &[u8], is_part: fn(u8) -> bool| {
        let end = text.iter().position(|byte| !is_part(*byte));
        end.ok_or(Match::Prefix)
    };
    let end = past(text, is_name)?;
    let rest = text.get(end..).unwrap_or_default().trim_ascii_start();
    let rest = match rest {
        [] => return Err(Match::Prefix),
        [b'=', rest @ ..] => rest.trim_ascii_start(),
        _ => return Err(Match::No),
    };
    match rest {
        [] => Err(Match::Prefix),
        [quote @ (b'"' | b'\''), rest @ ..] => {
            let end = rest.iter().position(|byte| byte == quote || *byte == b'\n');
            match end.map(|end| rest.split_at(end).1) {
                None => Err(Match::Prefix),
                Some([b'\n', ..]) => Err(Match::No),
                Some(rest) => Ok(rest.get(1..).unwrap_or_default()),
            }
        }
        [first, ..] if !is_first(*first) => Err(Match::No),
        rest => {
            let end = past(rest, |byte| is_name(byte) || byte == b'/')?;
            Ok(rest.get(end..).unwrap_or_default())
        }
    }
}

/// Compares text with the value of a tag, perhaps in quotes, and its end: `get_weather>`.
fn value(text: &[u8]) -> Match {
    let text = text.trim_ascii_start();
    let text = match text {
        [b'"' | b'\'', rest @ ..] => rest,
        text => text,
    };
    match text {
        [] => return Match::Prefix,
        [first, ..] if is_first(*first) => {}
        _ => return Match::No,
    }
    let Some(end) = text.iter().position(|byte| !is_name(*byte)) else {
        return Match::Prefix;
    };
    let rest = text.get(end..).unwrap_or_default();
    let rest = match rest {
        [b'"' | b'\'', rest @ ..] => rest,
        rest => rest,
    };
    match rest.trim_ascii_start() {
        [] => Match::Prefix,
        [b'>'] => Match::Whole,
        _ => Match::No,
    }
}

/// Reports whether a byte may begin a name or an unquoted value; the dots of an ellipsis do not.
const fn is_first(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Reports whether a byte may be part of the name of an attribute or of an unquoted value.
const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::markers::{Kind, Place};

    /// Returns the number of bytes after which text becomes a marker, if it does.
    fn whole(form: Form, open: &str, text: &str) -> Option<usize> {
        let pair = Pair {
            open: open.to_owned(),
            close: Vec::new(),
            kind: Kind::Tool,
            place: Place::Anywhere,
            form,
        };
        for end in 1..=text.len() {
            match compare_open(&text.as_bytes()[..end], &pair) {
                Match::Whole => return Some(end),
                Match::Prefix => {}
                Match::No => return None,
            }
        }
        None
    }

    #[test]
    fn tags_have_attributes_and_prose_has_none() {
        use Form::{Attributes, Tag, Value};
        let markers = [
            (Tag, "<invoke>", "<invoke>"),
            (Tag, "<invoke>", "<invoke name=\"a > b\">"),
            (Tag, "<invoke>", "< Invoke\n  name = 'x'\tid=1 >"),
            (Tag, "<think>", "<think signature=\"Ab/+=\">"),
            (Tag, "<｜DSML｜invoke>", "<｜DSML｜ invoke name=\"x\">"),
            (Attributes, "<function", "<function name=\"x\">"),
            (Value, "<function=", "<function=get_weather>"),
            (Value, "<function=", "<function = \"mcp.get-weather\" >"),
        ];
        for (form, open, text) in markers {
            assert_eq!(whole(form, open, text), Some(text.len()), "{text}");
        }
        let prose = [
            (Tag, "<invoke>", "<invoked>"),
            (Tag, "<invoke>", "<invoke it now>"),
            (Tag, "<invoke>", "<invoke name>"),
            (Tag, "<invoke>", "<invoke name=>"),
            (Tag, "<invoke>", "<invoke name=...>"),
            (Tag, "<invoke>", "<invoke name=\"x\"/>"),
            (Tag, "<invoke>", "<invokename=\"x\">"),
            (Tag, "<invoke>", "<invoke name=\"x\"id=\"y\">"),
            (Tag, "<invoke>", "<invoke name=\"x\n\">"),
            (Tag, "<tool_calls>[", "<tool_calls> are"),
            (Attributes, "<function", "<function>"),
            (Attributes, "<function", "<functions name=\"x\">"),
            (Value, "<function=", "<function=>"),
            (Value, "<function=", "<function=...>"),
            (Value, "<function=", "<function=a b>"),
        ];
        for (form, open, text) in prose {
            assert_eq!(whole(form, open, text), None, "{text}");
        }
    }
}
