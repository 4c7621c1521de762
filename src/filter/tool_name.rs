//! Finds the name of a hidden tool call, so that the client can be told which tool is running.
//!
//! The name is taken only from where a call states it. Arguments and results are hidden and are never searched.

use std::task::Poll;

use memchr::memmem;

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
/// Markers that contain one of these words open a tool result, not a call.
const RESULTS: [&str; 5] = [
    "tool_result",
    "observation",
    "response",
    "TOOL_RESULT",
    "outputs",
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

/// How a call in text states its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// After a marker: in JSON, in a tag, or in front of the arguments.
    Marked,
    /// As [`Style::Marked`], or as the first line.
    Line,
    /// After a label, on the same line.
    Label,
}

impl Style {
    /// Returns the style of the call that this marker opens; `None` if it does not open a call.
    pub(super) fn of_mark(open: &str) -> Option<Self> {
        if RESULTS.iter().any(|word| open.contains(word)) {
            return None;
        }
        Some(match open {
            "<tool_call>" => Self::Line,
            _ => Self::Marked,
        })
    }

    /// Returns the style of the call that this label begins; `None` if it does not begin a call.
    pub(super) fn of_label(label: &[u8]) -> Option<Self> {
        let has = |word: &[u8]| memmem::find(label, word).is_some();
        (has(b"Action") && !has(b"Input")).then_some(Self::Label)
    }
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

    /// Begins a hidden span after a harmony header, which names the tool that is called.
    pub(super) fn begin_with(&mut self, header: &[u8]) {
        self.begin(None);
        self.name = in_header(header).map(String::from);
    }

    /// Adds one character of the span.
    pub(super) fn hear(&mut self, character: &[u8]) {
        let Some(style) = self.style else { return };
        self.said.extend_from_slice(character);
        self.name = in_text(style, &self.said).map(String::from);
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

/// Returns the name in the harmony header of a call.
fn in_header(header: &[u8]) -> Option<&str> {
    let to = memmem::find(header, b"to=")?;
    let rest = header.get(to + b"to=".len()..)?;
    first(rest.strip_prefix(b"functions.").unwrap_or(rest)).map(|(name, _)| name)
}

/// Returns the name in the text of a call received so far; `None` while more characters of the name may follow.
fn in_text(style: Style, said: &[u8]) -> Option<&str> {
    let said = said.trim_ascii_start();
    if style == Style::Label {
        let (name, end) = first(said)?;
        return matches!(end, b'\n' | b'\r' | b'[' | b'(').then_some(name);
    }
    let said = said.strip_prefix(b"[").unwrap_or(said).trim_ascii_start();
    if said.starts_with(b"{") {
        return in_json(said);
    }
    for introduction in ["<function=", "<invoke name=\"", "<name>", "call:"] {
        if let Some(rest) = said.strip_prefix(introduction.as_bytes()) {
            return first(rest).map(|(name, _)| name);
        }
    }
    if let Some(rest) = said.strip_prefix("<｜tool▁call▁begin｜>".as_bytes()) {
        let (name, _) = first(rest)?;
        // Older DeepSeek models write the kind of tool first, then its name.
        let kind = b"function".as_slice();
        let behind = rest.strip_prefix(kind).filter(|_| name == "function");
        return match behind {
            None => Some(name),
            Some(rest) => {
                first(rest.strip_prefix("<｜tool▁sep｜>".as_bytes())?).map(|(name, _)| name)
            }
        };
    }
    let (name, end) = first(said)?;
    let is_call =
        matches!(end, b'<' | b'[' | b'(' | b'{') || (style == Style::Line && end == b'\n');
    is_call.then_some(name)
}

/// Returns the name from the members of the object itself, not from those of its arguments.
fn in_json(said: &[u8]) -> Option<&str> {
    let mut cursor = Cursor::new(said);
    cursor.enter_object()?;
    while let Some(key) = cursor.next_key()? {
        if matches!(key, b"name" | b"tool_name") && cursor.kind()? == Kind::String {
            return name(said.get(cursor.string()?)?);
        }
        cursor.skip()?;
    }
    None
}

/// Returns the name at the start of `rest` and the byte after it, once the name is complete.
fn first(rest: &[u8]) -> Option<(&str, u8)> {
    let end = rest.iter().position(|byte| !is_part(*byte))?;
    Some((name(rest.get(..end)?)?, *rest.get(end)?))
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

    #[test]
    fn texts_name_their_tools_and_nothing_else() {
        use Style::{Label, Line, Marked};
        const NAME: Option<&str> = Some("web_search");
        let table = [
            (Line, r#"{"name": "web_search", "arguments""#, NAME),
            (
                Line,
                r#"{"arguments": {"name":"alice"}, "name": "web_search"}"#,
                NAME,
            ),
            (Line, r#"{"arguments": {"name":"alice""#, None),
            (Line, r#"{"name": "web_se"#, None),
            (
                Marked,
                r#"[{"tool_call_id":"0","tool_name":"web_search","parameters":{"name":"x"}}"#,
                NAME,
            ),
            (Line, "\n<function=web_search>\n", NAME),
            (
                Marked,
                "<invoke name=\"web_search\"><parameter name=\"name\">x",
                NAME,
            ),
            (Line, "web_search\n", NAME),
            (Marked, "search for rain", None),
            (Marked, "\nAlice owes 30", None),
            (Line, "web_search", None),
            (Line, "web_search<arg_key>name</arg_key>", NAME),
            (Marked, "web_search[ARGS]{\"name\": \"alice\"}", NAME),
            (Marked, "[web_search(name=\"alice\")]", NAME),
            (Marked, "call:web_search{", NAME),
            (
                Marked,
                "<｜tool▁call▁begin｜>function<｜tool▁sep｜>web_search\n",
                NAME,
            ),
            (Marked, "<｜tool▁call▁begin｜>function<｜tool▁s", None),
            (
                Marked,
                "<｜tool▁call▁begin｜>web_search<｜tool▁sep｜>{",
                NAME,
            ),
            (Line, "{\"city\": \"x\"}", None),
            (Label, " web_search\n", NAME),
            (Label, " look it up\n", None),
        ];
        for (style, said, name) in table {
            assert_eq!(in_text(style, said.as_bytes()), name, "{said}");
        }
        let header = b"<|channel|>commentary to=functions.web_search <|constrain|>json";
        assert_eq!(in_header(header), NAME);
    }

    #[test]
    fn only_calls_have_names() {
        for open in [
            "<tool_result>",
            "<observation>",
            "<|tool_response>",
            "<｜tool▁outputs▁begin｜>",
        ] {
            assert_eq!(Style::of_mark(open), None, "{open}");
        }
        assert!(Style::of_mark("<tool_use>").is_some());
        assert_eq!(Style::of_label(b"**Action 1:"), Some(Style::Label));
        assert_eq!(Style::of_label(b"Action Input:"), None);
        assert_eq!(Style::of_label(b"Observation:"), None);
    }
}
