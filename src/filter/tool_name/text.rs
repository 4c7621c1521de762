//! Finds the name of a tool in the text of a call.

use memchr::memmem;

use super::name;
use crate::wire::json::{Cursor, Kind};

/// Markers that contain one of these words open a tool result, not a call.
const RESULTS: [&str; 5] = [
    "tool_result",
    "observation",
    "response",
    "TOOL_RESULT",
    "output",
];

/// What stands between the marker of a call, or of several, and the name.
const LEADS: [&str; 11] = [
    "[",
    "]<]minimax[>[",
    "<tool_call>",
    "<tool_call:opensource>",
    "<ifm|tool_call>",
    "<|tool_call_begin|>",
    "<｜tool▁call▁begin｜>",
    "<｜tool_call_begin｜>",
    "<|plugin|>",
    "<|open|>call",
    "functions.",
];
/// The kind of tool, which older DeepSeek models and Step 3 write before its name.
const KINDS: [&str; 2] = ["function<｜tool▁sep｜>", "function<｜tool_sep｜>"];
/// The names of tags, without those of their models, that state the name of a tool.
const TAGS: [&[u8]; 5] = [b"call", b"function", b"invoke", b"tool", b"tool_call"];

/// How a call in text states its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::filter) enum Style {
    /// The name is in the first member of an object.
    Key,
    /// After a label, on the same line.
    Label,
    /// As [`Style::Marked`], or as the first line.
    Line,
    /// After a marker: in JSON, in a tag, or in front of the arguments.
    Marked,
    /// In JSON, or as `name.call(`. Anything else is code.
    Python,
}

impl Style {
    /// Returns the style of the call that this marker opens; `None` if it does not open a call.
    pub(in crate::filter) fn of_mark(open: &str) -> Option<Self> {
        if RESULTS.iter().any(|word| open.contains(word)) {
            return None;
        }
        Some(match open {
            "<|tools_prefix|>" => Self::Key,
            "<|python_tag|>" => Self::Python,
            _ if is_call(open) => Self::Line,
            _ => Self::Marked,
        })
    }

    /// Returns the style of the call that this label begins; `None` if it does not begin a call.
    pub(in crate::filter) fn of_label(label: &[u8]) -> Option<Self> {
        let has = |word: &[u8]| memmem::find(label, word).is_some();
        (has(b"Action") && !has(b"Input")).then_some(Self::Label)
    }
}

/// Reports whether a marker opens calls of a kind whose name may be a line.
fn is_call(open: &str) -> bool {
    open.contains("tool_call") || open.contains("tool▁call")
}

/// Returns the name in the harmony header of a call.
pub(super) fn in_header(header: &[u8]) -> Option<&str> {
    let to = memmem::find(header, b"to=")?;
    let rest = header.get(to + b"to=".len()..)?;
    first(rest.strip_prefix(b"functions.").unwrap_or(rest)).map(|(name, _)| name)
}

/// Returns the name in the text of a call received so far; `None` while more characters of the name may follow.
pub(super) fn in_text(style: Style, said: &[u8]) -> Option<&str> {
    let mut said = said.trim_ascii_start();
    if style == Style::Label {
        let (name, rest) = first(said)?;
        return matches!(rest, [b'\n' | b'\r' | b'[' | b'(', ..]).then_some(name);
    }
    let mut is_line = style == Style::Line;
    let strip = |said: &[u8], lead: &str| Some(said.strip_prefix(lead.as_bytes())?.len());
    while let Some((lead, left)) = LEADS
        .iter()
        .find_map(|lead| Some((lead, strip(said, lead)?)))
    {
        is_line |= is_call(lead);
        said = said.get(said.len() - left..)?.trim_ascii_start();
    }
    for kind in KINDS.map(str::as_bytes) {
        if kind.starts_with(said) {
            return None;
        }
        said = said.strip_prefix(kind).unwrap_or(said).trim_ascii_start();
    }
    if said.starts_with(b"{") {
        return in_json(style, said);
    }
    for introduction in ["<name>", "call:", "tool=\""] {
        if let Some(rest) = said.strip_prefix(introduction.as_bytes()) {
            return first(rest).map(|(name, _)| name);
        }
    }
    if said.starts_with(b"<") {
        return in_tag(said);
    }
    let (name, rest) = first(said)?;
    if style == Style::Python {
        return name
            .strip_suffix(".call")
            .filter(|_| rest.starts_with(b"("));
    }
    let is_call = match rest {
        [b'<' | b'[' | b'(' | b'{', ..] => true,
        // The number of the call.
        [b':', digit, ..] => digit.is_ascii_digit(),
        [b'\n', ..] => is_line,
        _ => false,
    };
    is_call.then_some(name)
}

/// Returns the name in a tag: `<invoke name="x"`, `<function=x`.
pub(super) fn in_tag(tag: &[u8]) -> Option<&str> {
    let end = tag.iter().position(|byte| *byte == b'>');
    let tag = tag.get(..end.map_or(tag.len(), |end| end + 1))?;
    let word = tag.strip_prefix(b"<")?;
    // Before the full-width bar there is only the name of the format.
    let bar = "｜".as_bytes();
    let word = memmem::rfind(word, bar)
        .and_then(|at| word.get(at + bar.len()..))
        .unwrap_or(word)
        .trim_ascii_start();
    let is_end = |byte: &u8| matches!(byte, b'=' | b'>') || byte.is_ascii_whitespace();
    let (word, rest) = word.split_at(word.iter().position(is_end)?);
    let own = word.rsplit(|byte| matches!(byte, b':' | b'|')).next()?;
    if !TAGS.iter().any(|name| own.eq_ignore_ascii_case(name)) {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let value = match rest.strip_prefix(b"=") {
        Some(value) => value,
        None => {
            let at = memmem::find_iter(rest, b"name").find(|at| {
                at.checked_sub(1)
                    .is_none_or(|before| rest.get(before).is_some_and(u8::is_ascii_whitespace))
            })?;
            rest.get(at + b"name".len()..)?
                .trim_ascii_start()
                .strip_prefix(b"=")?
        }
    };
    let value = value.trim_ascii_start();
    let value = match value {
        [b'"' | b'\'', value @ ..] => value,
        value => value,
    };
    first(value).map(|(name, _)| name)
}

/// Returns the name from the members of the object itself, not from those of its arguments.
fn in_json(style: Style, said: &[u8]) -> Option<&str> {
    let mut cursor = Cursor::new(said);
    cursor.enter_object()?;
    while let Some(key) = cursor.next_key()? {
        if style == Style::Key {
            return name(key);
        }
        if matches!(key, b"name" | b"tool_name") && cursor.kind()? == Kind::String {
            return name(said.get(cursor.string()?)?);
        }
        cursor.skip()?;
    }
    None
}

/// Returns the name at the start of `text` and what follows it, once the name is complete.
fn first(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.iter().position(|byte| !super::is_part(*byte))?;
    let (word, rest) = text.split_at(end);
    Some((name(word)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_their_tools_and_nothing_else() {
        use Style::{Key, Label, Line, Marked, Python};
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
            (Marked, "functions.web_search:0<", NAME),
            (Marked, "functions.web_search:", None),
            (Marked, "Note: rain", None),
            (Marked, "<invoke name=\"web_se", None),
            (Marked, "<parameter name=\"web_search\">", None),
            (Key, "[{\"web_search\": {\"name\": \"alice\"", NAME),
            (Python, "web_search.call(query=\"rain\")", NAME),
            (Python, "print(\"rain\")", None),
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
