//! Decides by names in the application's own data whether it is a thought, a tool call, or neither.

use super::markers::Kind;

/// Members whose word says what an event is.
const KINDS: [&[u8]; 2] = [b"event", b"event_kind"];
/// Members whose word may name a thought. That they name a tool does not make their event a call.
const LABELS: [&[u8]; 6] = [b"channel", b"mode", b"name", b"phase", b"role", b"stage"];

/// Returns what a word says of its event, such as `thinking_delta` or `tool_call`.
pub(super) fn word(word: &[u8]) -> Option<Kind> {
    if has(word, b"reasoning") || has(word, b"thinking") || has(word, b"thought") {
        Some(Kind::Reasoning)
    } else if has(word, b"tool") || has(word, b"function_call") {
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

/// Reports whether a member with this name holds the arguments or the result of a tool.
pub(super) fn is_call(name: &[u8]) -> bool {
    let parts: [&[u8]; 5] = [b"args", b"input", b"output", b"response", b"result"];
    has(name, b"tool") && parts.iter().any(|part| has(name, part))
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
        for name in ["tool", "tool_argument", "result", "tooltip"] {
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
            ("status", "thinking", None),
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
