//! Reads percent-encoded text: segments of a path, and parameters of a query.

/// Longer names of parameters are not looked at: those that are searched for are short.
const MAX_NAME_BYTES: usize = 64;

/// The part of a URL that a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Path,
    /// Here `+` stands for a space.
    Query,
}

/// Returns the decoded text. Returns `None` if it is not UTF-8, has an incomplete escape, or more than `max_bytes`.
pub(super) fn decoded(text: &str, part: Part, max_bytes: usize) -> Option<String> {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if out.len() == max_bytes {
            return None;
        }
        out.push(match (byte, part) {
            (b'%', _) => digit(rest.next()?)? * 16 + digit(rest.next()?)?,
            (b'+', Part::Query) => b' ',
            (byte, _) => byte,
        });
    }
    String::from_utf8(out).ok()
}

/// Returns the values of all parameters of this name, as they came. One without `=` has the empty value.
pub(super) fn values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decoded(key, Part::Query, MAX_NAME_BYTES)?;
        (key == name).then_some(value)
    })
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_bounded() {
        for (text, part, want) in [
            ("", Part::Path, Some("")),
            ("a-b", Part::Path, Some("a-b")),
            ("a%2Fb%2f", Part::Path, Some("a/b/")),
            ("%c3%A9", Part::Path, Some("\u{e9}")),
            ("a+b%2B", Part::Path, Some("a+b+")),
            ("a+b%2B", Part::Query, Some("a b+")),
            ("%", Part::Path, None),
            ("%4", Part::Path, None),
            ("%4g", Part::Path, None),
            ("%+1", Part::Path, None),
            ("%ff", Part::Path, None),
            ("12345678", Part::Path, Some("12345678")),
            ("123456789", Part::Path, None),
        ] {
            assert_eq!(decoded(text, part, 8).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn parameters_are_found_by_their_whole_name() {
        let found = |query| values(query, "after").collect::<Vec<_>>();
        assert_eq!(found("after=1"), ["1"]);
        assert_eq!(
            found("a=0&after=%31&after=b=c&%61fter&after"),
            ["%31", "b=c", "", ""]
        );
        for query in ["", "&", "starting_after=1", "AFTER=1", "a=after", "afte%=1"] {
            assert!(found(query).is_empty(), "{query}");
        }
    }
}
