//! Events of ADK whose members are in snake case, as Python's `model_dump_json()` writes them.

use super::*;
use crate::event::Event;

/// Returns a stream with the names of its members in snake case.
fn snake(stream: &str) -> String {
    let mut out = String::new();
    for character in stream.chars() {
        if character.is_ascii_uppercase() && out.ends_with(|last: char| last.is_ascii_lowercase()) {
            out.push('_');
            out.push(character.to_ascii_lowercase());
        } else {
            out.push(character);
        }
    }
    out
}

/// Returns the text of each event, whether it may be merged, and the event without what depends on its length and on
/// the names of its members.
fn events(stream: &str) -> Vec<(String, bool, Event)> {
    let mut decoder = Decoder::new(Framing::Sse, 1 << 20);
    let mut classifier = Classifier::new(Dialect::Adk);
    let mut events = Vec::new();
    let mut read = |frame: Frame<'_>| {
        let event = *classifier.classify(&frame, &mut None);
        let text = event.text.map(|text| text.of(&frame.block).to_vec());
        let bare = Event {
            text: None,
            varying: None,
            merge: None,
            lane: 0,
            ..event
        };
        let text = String::from_utf8(text.unwrap_or_default()).unwrap();
        events.push((text, event.merge.is_some(), bare));
    };
    decoder.feed(stream.as_bytes(), &mut read).unwrap();
    events
}

#[test]
fn members_mean_the_same_in_snake_case() {
    let folder = format!("{}/tests/data/adk", env!("CARGO_MANIFEST_DIR"));
    let mut changed = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "sse") {
            continue;
        }
        let Ok(stream) = std::fs::read_to_string(&path) else {
            continue;
        };
        let other = snake(&stream);
        changed += usize::from(other != stream);
        assert_eq!(events(&other), events(&stream), "{}", path.display());
    }
    assert!(changed > 5, "{changed}");
}

#[test]
fn members_without_a_value_say_nothing() {
    let bare = r#"{"author":"a","invocation_id":"i","content":{"parts":[{"text":"Rain"}]}}"#;
    let full = r#"{"author":"a","invocation_id":"i","content":{"parts":[{"thought":null,"function_call":null,"function_response":null,"executable_code":null,"code_execution_result":null,"inline_data":null,"thought_signature":null,"text":"Rain"}]},"partial":null,"turn_complete":null,"finish_reason":null,"error_code":null,"usage_metadata":null,"long_running_tool_ids":null,"branch":null,"actions":{"skip_summarization":null,"escalate":null,"state_delta":{},"agent_state":null}}"#;
    let [(text, _, one)] = &events(&format!("data: {full}\n\n"))[..] else {
        panic!("one event");
    };
    assert_eq!(text, "Rain");
    let [(_, _, other)] = &events(&format!("data: {bare}\n\n"))[..] else {
        panic!("one event");
    };
    assert_eq!(one, other);
    assert_eq!(one.terminal, Some(Terminal::MayEnd));
}

#[test]
fn a_result_that_escalates_ends_the_run() {
    let stream = concat!(
        "data: {\"author\":\"a\",\"invocation_id\":\"i\",\"content\":{\"parts\":[{\"function_call\":{\"id\":\"c\",\"name\":\"exit_loop\",\"args\":{}}}]}}\n\n",
        "data: {\"author\":\"a\",\"invocation_id\":\"i\",\"content\":{\"parts\":[{\"function_response\":{\"id\":\"c\",\"name\":\"exit_loop\",\"response\":{}}}]},\"actions\":{\"escalate\":true}}\n\n",
    );
    let found: Vec<_> = events(stream)
        .iter()
        .map(|(_, _, event)| (event.class, event.terminal))
        .collect();
    let expected = [(Class::Tool, None), (Class::Tool, Some(Terminal::MayEnd))];
    assert_eq!(found, expected);
    let first = block(r#"{"author":"a","invocation_id":"i","partial":true}"#);
    assert_eq!(detect::from_frame(&first), Dialect::Adk);
}
