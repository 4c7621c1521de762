//! Says what is wrong with a text that is not valid YAML, in words for people, and where.
//!
//! Messages hold nothing of the text except brackets, quotes and single characters.

use serde_saphyr::granit_parser::{ErrorKind, ScanError};

use super::found::{Found, closing, never_closed};
use super::lexer::open_at;
use crate::config::error::Place;

/// What is wrong, and where it should be corrected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// Where the mistake is. That can be earlier than where the parser noticed it.
    pub(crate) place: Place,
    /// What is wrong, and what to change.
    pub(crate) message: String,
}

/// Explains an error of the parser, which it noticed at `place`.
pub(crate) fn explain(text: &str, error: &ScanError, place: Place) -> Diagnosis {
    let open = open_at(text, place);
    let found = Found { text, place, open };
    let at = |place: Place, message: &str| (place, message.to_owned());
    let (place, message) = match error.kind() {
        ErrorKind::UnclosedFlowCollection { open } => (place, never_closed(*open)),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => (
            place,
            format!(
                "this `{open}` is never closed, a `{close}` comes first; add the missing `{}`",
                closing(*open)
            ),
        ),
        ErrorKind::MisplacedFlowCollectionEnd => at(
            place,
            "this bracket closes nothing; remove it, or add the opening bracket",
        ),
        ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::UnclosedQuotedScalar
        | ErrorKind::DocumentIndicatorInQuotedScalar => found.quote(),
        ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => found.after_quote(),
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidUnicodeEscape => at(
            place,
            "a backslash in double quotes begins an escape, but this escape does not exist; write `\\\\`, or use single quotes",
        ),
        ErrorKind::InvalidColonPlacement
        | ErrorKind::InvalidFlowScalarIndent
        | ErrorKind::FlowMappingValueAdjacentCollection => found.bracket().unwrap_or_else(|| {
            at(
                place,
                "a `:` is not possible here; if it belongs to a value, put the value in quotes",
            )
        }),
        ErrorKind::ExpectedFlowMappingSeparator => found.bracket().unwrap_or_else(|| {
            at(
                place,
                "expected `,` or `}`; is a comma missing before this?",
            )
        }),
        ErrorKind::ExpectedFlowSequenceSeparator => found.bracket().unwrap_or_else(|| {
            at(
                place,
                "expected `,` or `]`; is a comma missing before this?",
            )
        }),
        ErrorKind::BlockEntryInFlowCollection => found.bracket().unwrap_or_else(|| {
            at(
                place,
                "a list in brackets is written without dashes: `[a, b]`",
            )
        }),
        ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping => match found.open.brackets.last() {
            Some((bracket, opened)) => (*opened, never_closed(*bracket)),
            None => at(place, "the file ends inside brackets; one is never closed"),
        },
        ErrorKind::MappingValueNotAllowed | ErrorKind::SimpleKeyExpected => found.colon(),
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedDocumentStart => found.indentation(),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => found.tab(),
        ErrorKind::UnknownAnchor => at(
            place,
            "`*` begins an alias, and no value before it has an anchor of this name; if the `*` belongs to the value, put it in quotes",
        ),
        ErrorKind::MissingAnchorOrAliasName => at(
            place,
            "`&` begins an anchor and `*` an alias, and no name follows; if it belongs to the value, put it in quotes",
        ),
        ErrorKind::UnexpectedCharacter { character } if !character.is_control() => (
            place,
            format!("a value cannot begin with `{character}`; put it in quotes"),
        ),
        ErrorKind::UnexpectedCharacter { character } => (
            place,
            format!(
                "the control character U+{:04X}; leave it out, or write it as an escape in double quotes",
                u32::from(*character)
            ),
        ),
        ErrorKind::RecursionLimitExceeded => {
            at(place, "brackets or sections are nested too deeply")
        }
        ErrorKind::CommentNotSeparated => at(
            place,
            "a comment needs a space before its `#`; if the `#` belongs to the value, put it in quotes",
        ),
        ErrorKind::BlockSequenceEntryNotAllowed => at(
            place,
            "a list with dashes begins on a line of its own; in one line, write `[a, b]`",
        ),
        _ => (place, error.info()),
    };
    Diagnosis {
        place,
        message: format!("not valid YAML: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_saphyr::granit_parser::Parser;

    use super::*;

    fn said(text: &str) -> String {
        for event in Parser::new_from_str(text) {
            if let Err(error) = event {
                let place = Place {
                    line: error.marker().line(),
                    column: error.marker().col() + 1,
                };
                let Diagnosis { place, message } = explain(text, &error, place);
                let message = message.strip_prefix("not valid YAML: ").unwrap();
                return format!("{}:{}: {message}", place.line, place.column);
            }
        }
        panic!("is valid: {text}")
    }

    #[test]
    fn mistakes_are_told_where_they_were_made() {
        for (text, want) in [
            (
                "upstreams:\n  agent:\n    endpoints: [\"http://127.0.0.1:8000\"\n    pool_idle: 4s\nroutes: []\n",
                "3:16: this `[` is never closed; add a `]`",
            ),
            (
                "upstreams:\n  agent: { endpoints: [\"http://a\" }\n",
                "2:23: this `[` is never closed, a `}` comes first; add the missing `]`",
            ),
            (
                "routes:\n  - { name: a, upstream: b\n  - { name: c, upstream: b }\n",
                "2:5: this `{` is never closed; add a `}`",
            ),
            ("listen: [a]]\n", "1:12: this bracket closes nothing"),
            (
                "a:\n  b: \"http://h\n  c: 4s\nd: \"e\"\n",
                "2:6: this `\"` is never closed; add a `\"` at the end of the value",
            ),
            (
                "a: [ \"http://h,\n  c: \"e\" ]\n",
                "1:6: this `\"` is never closed",
            ),
            ("a: 'it's'\n", "1:8: unexpected text after a closing quote"),
            (
                "a: [\"b\" \"c\"]\n",
                "1:9: unexpected text after a closing quote; a comma is missing",
            ),
            (
                "a: {b: 5s c: 6s}\n",
                "1:12: expected `,` or `}`; is a comma missing before this?",
            ),
            ("a: \"C:\\dir\"\n", "1:4: a backslash in double quotes"),
            (
                "a:\n\tb: c\n",
                "2:1: a tab; YAML is indented by spaces alone",
            ),
            (
                "a:\n  b:\n    c: d\n   e: f\n",
                "4:4: this line is indented by 3 spaces, which fits no section above it; expected 2 or 4",
            ),
            (
                "a:\n  - name: b\n   c: d\n",
                "3:4: this line is indented by 3 spaces, which fits no section above it; expected 2 or 4",
            ),
            (
                "a:\n  b: c\n d: e\n",
                "3:2: this line is indented by 1 space, which fits no section above it; expected 0 or 2",
            ),
            (
                "a:\n  b: c\n    d: e\n",
                "3:5: this line is indented deeper than line 2, which has a value already",
            ),
            (
                " a: b\nc: d\n",
                "2:1: this line is indented by 0 spaces, which fits no section above it; expected 1",
            ),
            (
                "a:\n  b\n    c: d\n",
                "2:3: a `:` is missing after this key",
            ),
            (
                "a:\n  b:\n  -http://c\n",
                "3:3: a dash that begins an entry needs a space after it",
            ),
            (
                "a :1\nb: c\n",
                "1:3: the `:` after a key needs a space behind it",
            ),
            (
                "a:\n  b:5s\n  c: 6s\n",
                "2:4: the `:` after a key needs a space behind it",
            ),
            ("a: b\nc\nd: e\n", "2:1: a `:` is missing after this key"),
            ("a: http: b\n", "1:8: a second `: ` in one value"),
            (
                "a:\n  -b: c\n   d: e\n",
                "2:3: a dash that begins an entry needs a space",
            ),
            ("a: *.example.com\n", "1:4: `*` begins an alias"),
            (
                "a: @b\n",
                "1:4: a value cannot begin with `@`; put it in quotes",
            ),
            (
                "a: - b\n",
                "1:4: a list with dashes begins on a line of its own",
            ),
            (
                "a: [\n  - b\n]\n",
                "2:3: a list in brackets is written without dashes",
            ),
            (
                "{\"a\": {\"b\": 1}\n",
                "1:1: this `{` is never closed; add a `}`",
            ),
        ] {
            let said = said(text);
            assert!(said.starts_with(want), "{text}\n{said}\nwanted {want}");
        }
    }

    #[test]
    fn any_cut_of_a_text_has_an_explanation() {
        let text = "a: [\"b\", {c: 'd'}]\ne:\n  - f: *g\n\th: |\n    i\n ä: \"\\x\"\n";
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let cut = &text[..end];
            for error in Parser::new_from_str(cut).filter_map(Result::err) {
                let place = Place {
                    line: error.marker().line(),
                    column: error.marker().col() + 1,
                };
                assert!(explain(cut, &error, place).place.line > 0, "{cut}");
            }
        }
    }
}
