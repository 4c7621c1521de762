//! Names the members that a client cannot do without, whatever text they stand beside: this table decides it for every
//! dialect.
//!
//! An event with such a member is never dropped. Its text is timed and hidden as that of any other event.

use crate::dialect::reader::{self, Reader};
use crate::wire::json::Kind;

/// Objects and lists are searched down to this many levels: the metadata of a provider are at the second or third.
const LEVELS: usize = 5;

/// How much a client needs what stands beside a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::dialect) enum Need {
    /// It can do without it.
    #[default]
    None,
    /// The application shows it or keeps it: citations, annotations, sources, images, changes of a state. Events that
    /// are equal in it may be merged.
    Shown,
    /// The client must send it back unchanged: a signature, an encrypted or redacted thought. Its pieces add up, so
    /// such events are never merged.
    Returned,
}

impl Need {
    /// Returns how much a client needs a member with this name and value.
    pub(in crate::dialect) fn of(name: &[u8], raw: &[u8]) -> Self {
        match Self::of_name(name) {
            Self::None if is_nested(raw) => Self::within(raw),
            need if need != Self::None && is_filled(raw) => need,
            _ => Self::None,
        }
    }

    /// Returns how much a client needs a member with this name. The endings leave out the first letter where names are
    /// written both ways: `thoughtSignature`, `thought_signature`.
    fn of_name(name: &[u8]) -> Self {
        let ends = |endings: &[&[u8]]| endings.iter().any(|ending| name.ends_with(ending));
        let is_returned = match name.last() {
            Some(b'_' | b's') => ends(&[b"ignatures__", b"ignatures"]),
            Some(b'a') => ends(&[
                b"ncrypted_data",
                b"ncryptedData",
                b"edacted_data",
                b"edactedData",
            ]),
            Some(b'd') => ends(&[b"ncrypted", b"edacted"]),
            Some(b'e') => ends(&[
                b"ignature",
                b"opaque",
                b"Opaque",
                b"ncrypted_value",
                b"ncryptedValue",
            ]),
            Some(b'g') => ends(&[b"edacted_thinking", b"edacted_reasoning"]),
            Some(b't') => ends(&[
                b"ncrypted_content",
                b"ncryptedContent",
                b"edacted_content",
                b"edactedContent",
            ]),
            _ => false,
        };
        let is_shown = match name.last() {
            Some(b'a') => ends(&[
                b"itation_metadata",
                b"itationMetadata",
                b"rounding_metadata",
                b"roundingMetadata",
                b"artifact_delta",
                b"artifactDelta",
                b"state_delta",
                b"stateDelta",
            ]),
            Some(b'n') => ends(&[b"itation", b"nnotation"]),
            Some(b's') => ends(&[
                b"itations",
                b"nnotations",
                b"images",
                b"search_results",
                b"searchResults",
                b"sources",
            ]),
            _ => false,
        };
        match (is_returned, is_shown) {
            (true, _) => Self::Returned,
            (false, true) => Self::Shown,
            (false, false) => Self::None,
        }
    }

    /// Returns the greatest need of what is in an object or a list.
    fn within(raw: &[u8]) -> Self {
        let mut need = Self::None;
        // What is not JSON is not searched to its end.
        let _ = search(&mut Reader::new(raw), LEVELS, &mut need);
        need
    }
}

/// Reports whether the value is an object or a list that is not empty.
fn is_nested(raw: &[u8]) -> bool {
    matches!(raw.first(), Some(b'{' | b'[')) && reader::says_something(raw)
}

/// Searches the value at the reader, and keeps the greatest need in `need`.
fn search(reader: &mut Reader<'_>, levels: usize, need: &mut Need) -> Option<()> {
    if levels == 0 {
        return reader.skip();
    }
    if reader.kind()? != Kind::Object {
        reader.array(|reader, _| search(reader, levels - 1, need))?;
        return Some(());
    }
    reader.object(|reader, key| {
        let own = match Need::of_name(key) {
            Need::None if key == b"type" => of_kind(reader.raw()?),
            Need::None => return search(reader, levels - 1, need),
            own if is_filled(reader.raw()?) => own,
            _ => Need::None,
        };
        *need = own.max(*need);
        Some(())
    })?;
    Some(())
}

/// Returns the need of an object of this type: `reasoning.encrypted`, `redacted_thinking`.
fn of_kind(raw: &[u8]) -> Need {
    let has = |part: &[u8]| raw.windows(part.len()).any(|window| window == part);
    if has(b"encrypted") || has(b"redacted") {
        Need::Returned
    } else {
        Need::None
    }
}

/// Reports whether a value holds data: a string or a list that is not empty, or an object with a member that says
/// something.
fn is_filled(raw: &[u8]) -> bool {
    match raw.first() {
        Some(b'"' | b'[') => reader::says_something(raw),
        Some(b'{') => {
            let mut is_filled = false;
            let read = Reader::new(raw).object(|reader, _| {
                is_filled |= reader.says_something()?;
                Some(())
            });
            is_filled || read.is_none()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_come_back_and_what_is_shown_are_told_apart() {
        for (name, raw, need) in [
            ("signature", r#""abc""#, Need::Returned),
            ("thoughtSignature", r#""abc""#, Need::Returned),
            ("reasoning_opaque", r#""abc""#, Need::Returned),
            ("encrypted_content", r#""abc""#, Need::Returned),
            (
                "providerMetadata",
                r#"{"anthropic":{"signature":"abc"}}"#,
                Need::Returned,
            ),
            (
                "provider_specific_fields",
                r#"{"thinking_blocks":[{"type":"thinking","signature":"abc"}]}"#,
                Need::Returned,
            ),
            (
                "details",
                r#"[{"type":"reasoning.encrypted","data":"abc"}]"#,
                Need::Returned,
            ),
            ("citations", r#"["https://a"]"#, Need::Shown),
            (
                "citationMetadata",
                r#"{"citations":[{"uri":"a"}]}"#,
                Need::Shown,
            ),
            ("groundingMetadata", r#"{"chunks":[1]}"#, Need::Shown),
            ("actions", r#"{"stateDelta":{"a":1}}"#, Need::Shown),
            ("context", r#"{"citations":[{"url":"a"}]}"#, Need::Shown),
            // What says nothing is not needed.
            ("signature", r#""""#, Need::None),
            ("signature", "null", Need::None),
            ("encrypted", "true", Need::None),
            ("citationMetadata", r#"{"citations":[]}"#, Need::None),
            (
                "actions",
                r#"{"stateDelta":{},"artifactDelta":{}}"#,
                Need::None,
            ),
            (
                "providerMetadata",
                r#"{"openai":{"itemId":"rs_1"}}"#,
                Need::None,
            ),
            ("model", r#""m""#, Need::None),
            ("surroundings", r#""m""#, Need::None),
        ] {
            assert_eq!(
                Need::of(name.as_bytes(), raw.as_bytes()),
                need,
                "{name} {raw}"
            );
        }
    }

    #[test]
    fn deep_values_and_torn_ones_do_no_harm() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
        assert_eq!(Need::of(b"x", deep.as_bytes()), Need::None);
        assert_eq!(Need::of(b"x", &b"[".repeat(100_000)), Need::None);
        assert_eq!(Need::of(b"x", br#"{"signature":"#), Need::None);
    }
}
