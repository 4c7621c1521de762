//! The arguments of a tool call as a JSON object, for targets whose clients accept nothing else.
//!
//! Clients of such a target parse the arguments while they arrive, and raise an error as soon as what they have cannot
//! be the beginning of an object. So pieces are passed on as long as together they can be one. Arguments that are not
//! an object are replaced by one:
//!
//! | arguments | object that replaces them |
//! |---|---|
//! | another JSON value | `{"input": VALUE}` |
//! | `null` | `{}` |
//! | not JSON, or cut off | `{"INVALID_JSON": "TEXT"}`, the member that Anthropic suggests for it |
//! | the same, but a part was passed on before | this part, closed where it ends, with `INVALID_JSON` as last member |

use std::borrow::Cow;

use super::action::Args;
use super::cut;
use super::raw::{escaped, is_object, quoted, unescaped};
use crate::wire::json_prefix::ObjectPrefix;

/// The most bytes of arguments that are no JSON which a client gets.
const MAX_MARK_BYTES: usize = 64 * 1024;

/// The arguments of a call that are on their way to a client.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// What was passed on.
    sent: ObjectPrefix,
    /// The first half of a character, whose second half comes with the next piece.
    half: Vec<u8>,
    /// What came after that cannot follow it.
    is_broken: bool,
}

impl Arguments {
    /// Returns as much of a piece as may be passed on, both raw bodies of JSON strings. Empty if nothing may.
    pub(super) fn piece<'a>(&mut self, text: &'a [u8]) -> Cow<'a, [u8]> {
        if self.is_broken {
            return b"".into();
        }
        let text: Cow<'a, [u8]> = if self.half.is_empty() {
            text.into()
        } else {
            [std::mem::take(&mut self.half).as_slice(), text]
                .concat()
                .into()
        };
        let length = cut::without_half(&text).len();
        let (head, half) = text.split_at_checked(length).unwrap_or_default();
        let mut next = self.sent.clone();
        if !next.feed(head) {
            self.is_broken = true;
            return b"".into();
        }
        self.sent = next;
        self.half.extend_from_slice(half);
        if self.sent.is_empty() {
            // White space alone raises.
            return b"".into();
        }
        match text {
            Cow::Borrowed(text) => text.get(..length).unwrap_or_default().into(),
            Cow::Owned(mut text) => {
                text.truncate(length);
                text.into()
            }
        }
    }

    /// Returns what is missing at the end of what was passed on, as the raw body of a JSON string, and whether the
    /// client has got the arguments as they are.
    pub(super) fn rest(&self, args: Args<'_>) -> (Vec<u8>, bool) {
        if self.sent.is_empty() {
            let (object, is_same) = object(args);
            return (escaped(&object).into_owned(), is_same);
        }
        match self.sent.before_last_member() {
            // All of an object. What came after it cannot be told.
            None => (Vec::new(), !self.is_broken),
            Some(mut rest) => {
                rest.extend(mark(&text_of(args)));
                (escaped(&rest).into_owned(), false)
            }
        }
    }
}

/// Returns arguments as a raw JSON object, and whether they say the same in it.
pub(super) fn object(args: Args<'_>) -> (Cow<'_, [u8]>, bool) {
    if let Args::Json(value) = args {
        if value.trim_ascii() == b"null" {
            return (b"{}".into(), true);
        }
        let object: Cow<'_, [u8]> = if is_object(value) {
            value.into()
        } else {
            [b"{\"input\":".as_slice(), value, b"}"].concat().into()
        };
        // Clients' parsers are stricter than ours.
        let mut read = ObjectPrefix::default();
        if read.feed(&escaped(&object)) && read.is_whole() {
            return (object, true);
        }
    }
    let object = [b"{".as_slice(), &mark(&text_of(args))].concat();
    (object.into(), false)
}

/// Returns the last member of an object, with its end, which says that it does not have the arguments but `text`.
fn mark(text: &[u8]) -> Vec<u8> {
    let body = escaped(text);
    let kept = cut::length(&body, MAX_MARK_BYTES);
    let text = quoted(body.get(..kept).unwrap_or_default());
    [b"\"INVALID_JSON\":".as_slice(), &text, b"}"].concat()
}

/// Returns the text of arguments.
fn text_of(args: Args<'_>) -> Cow<'_, [u8]> {
    match args {
        Args::Json(value) => value.into(),
        Args::Broken(body) | Args::Cut(body) => unescaped(body).into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Plays pieces, and what their text is in the end. Returns what the client gets, and whether that is the same.
    fn played(pieces: &[&str], is_json: bool) -> (Vec<String>, bool) {
        let mut arguments = Arguments::default();
        let mut got = Vec::new();
        for piece in pieces {
            let piece = arguments.piece(piece.as_bytes());
            got.push(String::from_utf8(piece.into_owned()).unwrap());
        }
        let all = pieces.concat();
        let text = unescaped(all.as_bytes());
        let args = if is_json {
            Args::Json(&text)
        } else {
            Args::Broken(all.as_bytes())
        };
        let (rest, is_same) = arguments.rest(args);
        got.push(String::from_utf8(rest).unwrap());
        (got, is_same)
    }

    /// Decodes what a client got.
    fn decoded(got: &[String]) -> Value {
        let text: String = serde_json::from_str(&format!("\"{}\"", got.concat())).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn an_object_passes_as_it_comes() {
        for pieces in [
            &[r#"{\"city\": "#, r#"\"Os"#, r#"lo\"}"#][..],
            &[r"{}"],
            &[r"  {", r"}\n"],
            &[r#"{\"a\":\"\ud83d\ude00\"}"#],
        ] {
            let (mut got, is_same) = played(pieces, true);
            assert_eq!(got.pop().as_deref(), Some(""));
            assert_eq!(got, pieces);
            assert!(is_same);
        }
    }

    #[test]
    fn white_space_and_halves_of_characters_wait() {
        let (got, is_same) = played(&[r"\n", " ", r#"{\"a\":\"\ud83d"#, r#"\ude00\"}"#], true);
        let expected = ["", "", r#"{\"a\":\""#, r#"\ud83d\ude00\"}"#, ""];
        assert_eq!(got, expected);
        assert!(is_same);
        // The other half never comes.
        let (got, is_same) = played(&[r#"{\"a\":\"\ud83d"#, r#"x\"}"#], false);
        assert_eq!(got[..2], [r#"{\"a\":\""#, ""]);
        assert_eq!(decoded(&got)["a"], "");
        assert!(!is_same);
    }

    #[test]
    fn other_values_are_members_of_an_object() {
        for (pieces, expected) in [
            (&["[1", ",2]"][..], json!({ "input": [1, 2] })),
            (&[r#"\"ls\""#], json!({ "input": "ls" })),
            (&["12"], json!({ "input": 12 })),
            (&["nu", "ll"], json!({})),
        ] {
            let (mut got, is_same) = played(pieces, true);
            let last = got.pop().unwrap();
            assert!(got.iter().all(String::is_empty), "{got:?}");
            assert_eq!(decoded(&[last]), expected);
            assert!(is_same);
        }
    }

    #[test]
    fn what_is_no_json_is_told_as_it_is() {
        for (pieces, expected) in [
            (&["hello"][..], json!({ "INVALID_JSON": "hello" })),
            (&["[1"], json!({ "INVALID_JSON": "[1" })),
            (
                &["say ", r#"\"hi\"\n"#],
                json!({ "INVALID_JSON": "say \"hi\"\n" }),
            ),
            (&[r#"{\"a\":}"#], json!({ "INVALID_JSON": "{\"a\":}" })),
            (
                &[r#"{\"a\":"#, "}"],
                json!({ "a": null, "INVALID_JSON": "{\"a\":}" }),
            ),
            (
                &[r#"{\"a\":[1,{\"b\":\"c"#],
                json!({ "a": [1, { "b": "c" }], "INVALID_JSON": "{\"a\":[1,{\"b\":\"c" }),
            ),
            (
                &[r#"{\"a\":1,"#, r#"\"city"#],
                json!({ "a": 1, "city": null, "INVALID_JSON": "{\"a\":1,\"city" }),
            ),
            (&["{", "oops"], json!({ "INVALID_JSON": "{oops" })),
            (&["{}", "{}"], json!({})),
        ] {
            let (got, is_same) = played(pieces, false);
            assert_eq!(decoded(&got), expected, "{pieces:?}");
            assert!(!is_same, "{pieces:?}");
        }
    }

    #[test]
    fn whole_arguments_are_an_object_that_every_client_can_read() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(150), "]".repeat(150));
        for (args, expected, is_same) in [
            (Args::Json(b"{\"a\": 1}"), r#"{"a": 1}"#, true),
            (Args::Json(b"[1]"), r#"{"input":[1]}"#, true),
            (Args::Json(b"null"), "{}", true),
            (
                Args::Broken(b"{\\\"ci"),
                r#"{"INVALID_JSON":"{\"ci"}"#,
                false,
            ),
            (Args::Cut(b"{}"), r#"{"INVALID_JSON":"{}"}"#, false),
            // Half a character: Python's client would raise.
            (
                Args::Json(br#"{"a":"\ud83d"}"#),
                r#"{"INVALID_JSON":"{\"a\":\"\\ud83d\"}"}"#,
                false,
            ),
        ] {
            let (found, same) = object(args);
            assert_eq!(std::str::from_utf8(&found), Ok(expected));
            assert_eq!(same, is_same, "{expected}");
        }
        let (found, is_same) = object(Args::Json(deep.as_bytes()));
        assert!(found.starts_with(b"{\"INVALID_JSON\":") && !is_same);
    }
}
