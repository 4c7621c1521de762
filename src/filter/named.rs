//! Decides by names in the application's own data whether it is a thought, a tool call, or neither.

use super::markers::Kind;
use crate::wire::json::Cursor;

/// The types of values in JSON Schema.
const TYPES: [&[u8]; 7] = [
    b"array", b"boolean", b"integer", b"null", b"number", b"object", b"string",
];

/// Members whose word says what an event is.
const KINDS: [&[u8]; 2] = [b"event", b"event_kind"];
/// Members whose word may name a thought. That they name a tool does not make their event a call.
const LABELS: [&[u8]; 6] = [b"channel", b"mode", b"name", b"phase", b"role", b"stage"];

/// Names of tools and their calls that are written as one word. A tooltip or a toolbar is none.
const TOOLS: [&[u8]; 6] = [
    b"tool",
    b"toolcall",
    b"toolinput",
    b"tooloutput",
    b"toolresult",
    b"tooluse",
];

/// Returns what a word says of its event, such as `thinking_delta` or `tool_call`.
pub(super) fn word(word: &[u8]) -> Option<Kind> {
    if has(word, b"reasoning") || has(word, b"thinking") || names_thought(word) {
        Some(Kind::Reasoning)
    } else if names_tool(word) || has(word, b"function_call") {
        Some(Kind::Tool)
    } else {
        None
    }
}

/// Returns what the member `name` with this word says of its event.
pub(super) fn member(name: &[u8], value: &[u8]) -> Option<Kind> {
    if KINDS.contains(&name) || ends(name, b"type") || ends(name, b"kind") {
        return word(value);
    }
    let is_analysis = name == b"channel" && value == b"analysis";
    let tells = LABELS.contains(&name) && word(value) == Some(Kind::Reasoning);
    (is_analysis || tells).then_some(Kind::Reasoning)
}

/// Reports whether a member with this name holds a thought, and not facts about thinking.
pub(super) fn is_thought(name: &[u8]) -> bool {
    let facts: [&[u8]; 5] = [b"effort", b"id", b"level", b"mode", b"model"];
    let is_fact = facts.iter().any(|fact| ends(name, fact));
    word(name) == Some(Kind::Reasoning) && !is_fact
}

/// Reports whether the value at the cursor is a JSON Schema: it describes a value with the name of a thought, and holds
/// none.
pub(super) fn is_schema(data: &[u8], mut cursor: Cursor<'_>) -> bool {
    let mut word = || {
        cursor.enter_object()?;
        while let Some(name) = cursor.next_key()? {
            if name == b"type" {
                return cursor.string_or_skip()?;
            }
            cursor.skip()?;
        }
        None
    };
    (word().and_then(|range| data.get(range))).is_some_and(|word| TYPES.contains(&word))
}

/// Reports whether a member with this name holds the arguments or the result of a tool.
pub(super) fn is_call(name: &[u8]) -> bool {
    let parts: [&[u8]; 5] = [b"args", b"input", b"output", b"response", b"result"];
    names_tool(name) && parts.iter().any(|part| has(name, part))
}

/// Reports whether one of the words in a name is a thought. A thought of something, such as `thought_of_day`, is the
/// name of a topic.
fn names_thought(name: &[u8]) -> bool {
    let mut words = words(name).peekable();
    while let Some(word) = words.next() {
        let is_topic = (words.peek()).is_some_and(|next| next.eq_ignore_ascii_case(b"of"));
        if is(word, b"thought") && !is_topic {
            return true;
        }
    }
    false
}

fn names_tool(name: &[u8]) -> bool {
    words(name).any(|word| TOOLS.iter().any(|tool| is(word, tool)))
}

/// Returns the words of a name, which capital letters or other characters part.
fn words(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_joined = |before: &u8, after: &u8| {
        let is_capital = before.is_ascii_lowercase() && after.is_ascii_uppercase();
        before.is_ascii_alphanumeric() && after.is_ascii_alphanumeric() && !is_capital
    };
    name.chunk_by(is_joined)
        .filter(|word| word.first().is_some_and(u8::is_ascii_alphanumeric))
}

/// Reports whether a word is this one or its plural.
fn is(word: &[u8], one: &[u8]) -> bool {
    let singular = word
        .strip_suffix(b"s")
        .or_else(|| word.strip_suffix(b"S"))
        .unwrap_or(word);
    singular.eq_ignore_ascii_case(one)
}

fn has(word: &[u8], part: &[u8]) -> bool {
    word.windows(part.len())
        .any(|window| window.eq_ignore_ascii_case(part))
}

fn ends(word: &[u8], part: &[u8]) -> bool {
    let at = word.len().checked_sub(part.len());
    at.and_then(|at| word.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_a_thought_and_what_is_a_call() {
        for name in [
            "thoughts",
            "llm_reasoning",
            "thinkingText",
            "chain_of_thought",
        ] {
            assert!(is_thought(name.as_bytes()), "{name}");
        }
        for name in ["text", "reasoning_effort", "thinkingModel", "thoughtId"] {
            assert!(!is_thought(name.as_bytes()), "{name}");
        }
        for name in ["tool_input", "toolArgs", "tool_result"] {
            assert!(is_call(name.as_bytes()), "{name}");
        }
        for name in [
            "tool",
            "tool_argument",
            "result",
            "tooltip",
            "tooltip_input",
        ] {
            assert!(!is_call(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn words_say_what_an_event_is() {
        let thought = Some(Kind::Reasoning);
        for (name, value, told) in [
            ("type", "thinking_delta", thought),
            ("eventType", "tool_call", Some(Kind::Tool)),
            ("part_kind", "Reasoning", thought),
            ("channel", "analysis", thought),
            ("name", "thinking", thought),
            ("name", "tool_list", None),
            ("name", "thought_of_day", None),
            ("name", "chain_of_thought", thought),
            ("status", "thinking", None),
            ("type", "tooltip", None),
            ("kind", "toolbar", None),
            ("type", "TOOL_RESULT", Some(Kind::Tool)),
            ("type", "myTools", Some(Kind::Tool)),
            ("type", "toolcall", Some(Kind::Tool)),
            ("type", "thoughtful", None),
            ("type", "thoughts", thought),
            ("type", "token", None),
        ] {
            assert_eq!(
                member(name.as_bytes(), value.as_bytes()),
                told,
                "{name} {value}"
            );
        }
    }
}
