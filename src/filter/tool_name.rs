//! What a hidden call is called, so that its client can be told what goes on.

use memchr::memmem;

use crate::wire::json::{Cursor, Kind};

/// Bytes of a call in text in which its name is looked for.
pub(super) const WITHIN: usize = 128;
/// A longer name is none.
const MAX_BYTES: usize = 64;
/// Levels of an event down to which a name may lie.
const LEVELS: usize = 7;
/// Members that hold nothing else. `name` may be that of something else, too.
const MEMBERS: [&[u8]; 4] = [b"toolName", b"toolCallName", b"tool_name", b"tool"];
/// What stands in front of a name in a text; the surest first.
const INTRODUCTIONS: [&str; 7] = [
    "to=functions.",
    "to=",
    "<function=",
    "name=\"",
    "<name>",
    "call:",
    "<｜tool▁call▁begin｜>",
];

/// The name in an event of a call or its result.
pub(super) fn in_event(data: &[u8]) -> Option<&str> {
    let mut walk = Walk {
        cursor: Cursor::new(data),
        data,
        sure: None,
        named: None,
    };
    walk.value(LEVELS);
    walk.sure.or(walk.named)
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    data: &'a [u8],
    sure: Option<&'a str>,
    named: Option<&'a str>,
}

impl Walk<'_> {
    fn value(&mut self, levels: usize) -> Option<()> {
        match self.cursor.kind()? {
            Kind::Object if levels > 0 => {
                self.cursor.enter_object()?;
                while let Some(key) = self.cursor.next_key()? {
                    self.member(key, levels - 1)?;
                }
            }
            Kind::Array if levels > 0 => {
                self.cursor.enter_array()?;
                while self.cursor.next_element()? {
                    self.value(levels - 1)?;
                }
            }
            _ => {
                self.cursor.skip()?;
            }
        }
        Some(())
    }

    fn member(&mut self, key: &[u8], levels: usize) -> Option<()> {
        let is_sure = MEMBERS.contains(&key);
        if !(is_sure || key == b"name") || self.cursor.kind()? != Kind::String {
            return self.value(levels);
        }
        let range = self.cursor.string()?;
        let name = self.data.get(range).and_then(name);
        let place = if is_sure {
            &mut self.sure
        } else {
            &mut self.named
        };
        *place = place.or(name);
        Some(())
    }
}

/// All of it is a name.
fn name(word: &[u8]) -> Option<&str> {
    let is_name = (1..=MAX_BYTES).contains(&word.len()) && word.iter().all(|byte| is_part(*byte));
    std::str::from_utf8(word).ok().filter(|_| is_name)
}

const fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/')
}

/// The name in the text of a call, as far as it has come; `None` while something that follows may still belong to it.
pub(super) fn in_text(said: &[u8]) -> Option<&str> {
    for member in ["\"tool_name\"", "\"name\""] {
        if let Some(rest) = behind(said, member) {
            let rest = rest.trim_ascii_start().strip_prefix(b":")?;
            return first(rest.trim_ascii_start().strip_prefix(b"\"")?);
        }
    }
    for introduction in INTRODUCTIONS {
        if let Some(rest) = behind(said, introduction) {
            let found = first(rest)?;
            // An older DeepSeek says what kind of tool it is.
            return if found == "function" {
                first(behind(said, "<｜tool▁sep｜>")?)
            } else {
                Some(found)
            };
        }
    }
    let said = said.trim_ascii_start();
    first(said.strip_prefix(b"[").unwrap_or(said))
}

fn behind<'a>(said: &'a [u8], word: &str) -> Option<&'a [u8]> {
    said.get(memmem::find(said, word.as_bytes())? + word.len()..)
}

/// The name that `rest` begins with, once it is over.
fn first(rest: &[u8]) -> Option<&str> {
    let end = rest.iter().position(|byte| !is_part(*byte))?;
    name(rest.get(..end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_name_their_tools() {
        let table = [
            (
                r#"{"type":"TOOL_CALL_START","toolCallId":"c","toolCallName":"web_search"}"#,
                Some("web_search"),
            ),
            (
                r#"{"type":"tool-input-start","toolName":"web_search"}"#,
                Some("web_search"),
            ),
            (
                r#"{"type":"tool_call","name":"web_search","args":{"name":"Ann"}}"#,
                Some("web_search"),
            ),
            (
                r#"{"type":"tool_start","tool":"web_search","id":"x"}"#,
                Some("web_search"),
            ),
            (
                r#"[{"type":"AIMessageChunk","name":null,"tool_call_chunks":[{"name":"web_search","args":""}]},{}]"#,
                Some("web_search"),
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"web_search"}}]}}]}"#,
                Some("web_search"),
            ),
            (r#"{"type":"tool_result","name":"a name in words"}"#, None),
            (r#"{"type":"TOOL_CALL_ARGS","delta":"{"}"#, None),
            ("plain", None),
        ];
        for (data, name) in table {
            assert_eq!(in_event(data.as_bytes()), name, "{data}");
        }
    }

    #[test]
    fn texts_name_their_tools() {
        let table = [
            (r#"{"name": "web_search", "arguments""#, Some("web_search")),
            (r#"{"name": "web_se"#, None),
            (
                r#"[{"tool_call_id":"0","tool_name":"web_search","parameters":{"name":"x"}}"#,
                Some("web_search"),
            ),
            (
                "<|channel|>commentary to=functions.web_search <|constrain|>json<|message|>",
                Some("web_search"),
            ),
            ("\n<function=web_search>\n", Some("web_search")),
            ("<invoke name=\"web_search\">", Some("web_search")),
            (" web_search\n", Some("web_search")),
            (" web_search", None),
            ("web_search<arg_key>", Some("web_search")),
            ("web_search[ARGS]{", Some("web_search")),
            ("[web_search(city=\"x\")]", Some("web_search")),
            ("call:web_search{", Some("web_search")),
            (
                "<｜tool▁call▁begin｜>function<｜tool▁sep｜>web_search\n",
                Some("web_search"),
            ),
            ("<｜tool▁call▁begin｜>function<｜tool▁s", None),
            (
                "<｜tool▁call▁begin｜>web_search<｜tool▁sep｜>{",
                Some("web_search"),
            ),
            ("{\"city\": \"x\"}", None),
        ];
        for (said, name) in table {
            assert_eq!(in_text(said.as_bytes()), name, "{said}");
        }
    }
}
