//! Finds the name of a hidden tool call, so that the client can be told which tool is running.
//!
//! The name is taken only from where a call states it. Arguments and results are hidden and are never searched.

mod text;

use std::task::Poll;

pub(super) use text::Style;

use crate::wire::json::{Cursor, Kind};

/// How many bytes of a call in text are searched for its name.
const WITHIN: usize = 128;
/// The longest accepted name.
const MAX_BYTES: usize = 64;
/// Members that hold nothing but the name of a tool.
const MEMBERS: [&[u8]; 4] = [b"toolName", b"toolCallName", b"tool_name", b"tool"];
/// Members that contain calls or wrap them.
const CALLS: [&[u8]; 6] = [
    b"tool_call_chunks",
    b"tool_calls",
    b"tool_call",
    b"function",
    b"additional_kwargs",
    b"kwargs",
];
/// Returns the tool name in an event that carries a call or its result.
pub(super) fn in_event(data: &[u8]) -> Option<&str> {
    let mut names = Names {
        cursor: Cursor::new(data),
        data,
        sure: None,
        called: None,
        named: None,
        has_calls: false,
    };
    names.read();
    // In a message that contains calls, `name` may be the name of its agent.
    let own = names.named.filter(|_| !names.has_calls);
    names.sure.or(names.called).or(own)
}

struct Names<'a> {
    cursor: Cursor<'a>,
    data: &'a [u8],
    sure: Option<&'a str>,
    called: Option<&'a str>,
    named: Option<&'a str>,
    has_calls: bool,
}

impl Names<'_> {
    fn read(&mut self) -> Option<()> {
        // An array is a pair of a message and its metadata.
        if self.cursor.kind()? == Kind::Array {
            self.cursor.enter_array()?;
            self.cursor.next_element()?.then_some(())?;
        }
        self.object(false, 4)
    }

    /// Reads an object. `in_call`: the object is a call, or wraps one.
    fn object(&mut self, in_call: bool, levels: usize) -> Option<()> {
        if self.cursor.kind()? != Kind::Object || levels == 0 {
            self.cursor.skip()?;
            return Some(());
        }
        self.cursor.enter_object()?;
        while let Some(key) = self.cursor.next_key()? {
            let kind = self.cursor.kind()?;
            if kind == Kind::String && (key == b"name" || MEMBERS.contains(&key)) {
                let range = self.cursor.string()?;
                let found = self.data.get(range).and_then(name);
                let place = match (in_call, key) {
                    (true, _) => &mut self.called,
                    (false, b"name") => &mut self.named,
                    (false, _) => &mut self.sure,
                };
                *place = place.or(found);
            } else if CALLS.contains(&key) {
                self.calls(kind, levels - 1)?;
            } else {
                self.cursor.skip()?;
            }
        }
        Some(())
    }

    fn calls(&mut self, kind: Kind, levels: usize) -> Option<()> {
        match kind {
            Kind::Array => {
                self.cursor.enter_array()?;
                while self.cursor.next_element()? {
                    self.has_calls = true;
                    self.object(true, levels)?;
                }
                Some(())
            }
            _ => self.object(true, levels),
        }
    }
}

/// Returns `word` if all of it is a valid tool name.
fn name(word: &[u8]) -> Option<&str> {
    let is_name = (1..=MAX_BYTES).contains(&word.len()) && word.iter().all(|byte| is_part(*byte));
    std::str::from_utf8(word).ok().filter(|_| is_name)
}

const fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Collects the beginning of a hidden call in text until it has stated its name.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// How the call states its name; `None` once it has, or can no longer do so.
    style: Option<Style>,
    said: Vec<u8>,
    name: Option<String>,
}

impl Listener {
    /// Begins a hidden span. A span that is no call belongs to the call before it, whose name stays.
    pub(super) fn begin(&mut self, style: Option<Style>) {
        self.said.clear();
        self.style = style;
        if style.is_some() {
            self.name = None;
        }
    }

    /// Begins a hidden span after a marker, which may name the tool itself: `<invoke name="x">`.
    pub(super) fn begin_with_mark(&mut self, style: Option<Style>, mark: &[u8]) {
        self.begin(style);
        if style.is_some()
            && let Some(name) = text::in_tag(mark)
        {
            self.name = Some(name.to_owned());
            self.style = None;
        }
    }

    /// Begins a hidden span after a harmony header, which names the tool that is called.
    pub(super) fn begin_with_header(&mut self, header: &[u8]) {
        self.begin(None);
        self.name = text::in_header(header).map(String::from);
    }

    /// Adds one character of the span.
    pub(super) fn hear(&mut self, character: &[u8]) {
        let Some(style) = self.style else { return };
        self.said.extend_from_slice(character);
        self.name = text::in_text(style, &self.said).map(String::from);
        if self.name.is_some() || self.said.len() >= WITHIN {
            self.style = None;
        }
    }

    /// Returns the name of the last call, if it stated one; pending while the call `goes_on` and may still state it.
    pub(super) fn called(&self, goes_on: bool) -> Poll<Option<&str>> {
        if goes_on && self.style.is_some() {
            return Poll::Pending;
        }
        Poll::Ready(self.name.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_name_their_tools_and_nothing_else() {
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
                r#"{"type":"tool_call","name":"web_search","args":{"tool":"hammer","name":"Ann"}}"#,
                Some("web_search"),
            ),
            (
                r#"{"type":"tool_start","tool":"web_search","id":"x"}"#,
                Some("web_search"),
            ),
            (
                r#"[{"type":"AIMessageChunk","name":"agent","tool_call_chunks":[{"name":"web_search","args":""}]},{"name":"x"}]"#,
                Some("web_search"),
            ),
            (
                r#"[{"type":"AIMessageChunk","name":"agent","tool_call_chunks":[{"name":null,"args":"{"}]},{}]"#,
                None,
            ),
            (
                r#"{"tool_calls":[{"function":{"arguments":"","name":"web_search"}}]}"#,
                Some("web_search"),
            ),
            (
                r#"{"tool_calls":[{"name":"web_search","args":{"tool":"hammer"}}]}"#,
                Some("web_search"),
            ),
            (
                r#"{"type":"tool-output-available","toolCallId":"c","output":{"name":"Alice"}}"#,
                None,
            ),
            (
                r#"{"type":"tool_result","content":{"name":"Bob","tool":"x"}}"#,
                None,
            ),
            (
                r#"{"type":"TOOL_CALL_ARGS","delta":"{","rawEvent":{"name":"ChatOpenAI"}}"#,
                None,
            ),
            (r#"{"type":"tool_result","name":"a name in words"}"#, None),
            ("plain", None),
        ];
        for (data, name) in table {
            assert_eq!(in_event(data.as_bytes()), name, "{data}");
        }
    }
}
