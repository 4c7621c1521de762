//! The message of Anthropic, as it answers a request without `stream`.
//!
//! Tools that the agent runs are left out: a client would run a `tool_use` again.

use super::list;
use crate::translate::action::{Args, Facts, Kind};
use crate::translate::arguments::object;
use crate::translate::gather::{Called, Gathered, Input, Item, Said};
use crate::translate::part::{By, Reason};
use crate::translate::writer::{digits, or};

/// Returns the answer.
pub(super) fn answer(facts: &Facts, gathered: &Gathered) -> Vec<u8> {
    let mut has_calls = false;
    let mut blocks = Vec::new();
    for item in gathered.items() {
        match item {
            Item::Text(said) => blocks.push(text(said)),
            Item::Call(call) => {
                if let Some(block) = gathered
                    .to_run(call)
                    .and_then(|input| tool_use(call, input))
                {
                    has_calls = true;
                    blocks.push(block);
                }
            }
            Item::Interrupt { .. } | Item::Step => {}
        }
    }
    let reason: &[u8] = match gathered.reason() {
        // A call may be cut off: nobody should run it.
        Reason::ContentFilter => b"refusal",
        Reason::Length => b"max_tokens",
        _ if has_calls => b"tool_use",
        _ => b"end_turn",
    };
    // Clients need counts, even if nobody has counted.
    let counts = facts.counts().unwrap_or_default();
    let [input, output] = [counts.input, counts.output].map(digits);
    [
        b"{\"id\":\"msg_".as_slice(),
        or(&facts.run, b"weir"),
        b"\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"",
        or(&facts.model, b"agent"),
        b"\",\"content\":[",
        &list(&blocks),
        b"],\"stop_reason\":\"",
        reason,
        b"\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":",
        &input,
        b",\"output_tokens\":",
        &output,
        b"}}",
    ]
    .concat()
}

/// Returns the answer to a request that has failed.
pub(super) fn failure(code: &[u8], message: &[u8]) -> Vec<u8> {
    [
        b"{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"".as_slice(),
        or(message, b"The agent has failed."),
        if code.is_empty() { b"" } else { b" (" },
        code,
        if code.is_empty() { b"" } else { b")" },
        b"\"}}",
    ]
    .concat()
}

fn text(said: &Said) -> Vec<u8> {
    let (start, end): (&[u8], &[u8]) = match said.kind {
        Kind::Answer => (b"{\"type\":\"text\",\"text\":\"", b"\"}"),
        Kind::Reasoning => (
            b"{\"type\":\"thinking\",\"thinking\":\"",
            b"\",\"signature\":\"\"}",
        ),
    };
    [start, &said.body, end].concat()
}

/// Returns the block of a call that the client may have to run.
fn tool_use(call: &Called, input: &Input) -> Option<Vec<u8>> {
    let args = match (call.by, input) {
        (By::Client | By::Unsaid, Input::Json(value)) => Args::Json(value),
        (By::Client, Input::Broken(text)) => Args::Broken(text),
        (By::Unsaid, Input::Broken(_)) | (By::Agent, _) => return None,
    };
    // An empty object would make the tool run with arguments that nobody has given.
    let (input, _) = object(args);
    let parts = [
        b"{\"type\":\"tool_use\",\"id\":\"".as_slice(),
        &call.id,
        b"\",\"name\":\"",
        or(&call.name, b"tool"),
        b"\",\"input\":",
        &input,
        b"}",
    ];
    Some(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::super::testing::{
        Last, asks_for_tool, broken_call, finish, run, text, weather, whole,
    };
    use super::*;
    use crate::translate::part::Part;

    fn body(parts: &[Part<'static>], last: Last) -> String {
        whole(Form::Anthropic, parts, last, 1000)
    }

    /// A message with these blocks, this reason, and token counts.
    fn message(blocks: &[&str], reason: &str, [input, output]: [u64; 2]) -> String {
        let content = blocks.join(",");
        format!(
            "{{\"id\":\"msg_r1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[{content}],\
             \"stop_reason\":\"{reason}\",\"stop_sequence\":null,\
             \"usage\":{{\"input_tokens\":{input},\"output_tokens\":{output}}}}}"
        )
    }

    const THOUGHT: &str = r#"{"type":"thinking","thinking":"Check the weather.","signature":""}"#;
    const FIRST: &str = r#"{"type":"text","text":"Let me look."}"#;
    const SECOND: &str = r#"{"type":"text","text":"It is 4 C in Oslo."}"#;
    const CALL: &str = r#"{"type":"tool_use","id":"c1","name":"wx","input":{"city":"Oslo"}}"#;

    #[test]
    fn tools_of_the_agent_are_left_out() {
        let expected = message(&[THOUGHT, FIRST, SECOND], "end_turn", [25, 18]);
        for by in [By::Agent, By::Client, By::Unsaid] {
            assert_eq!(body(&weather(by), Last::Finish), expected);
        }
    }

    #[test]
    fn tools_without_a_result_are_for_the_client() {
        let asked = message(&[THOUGHT, FIRST, CALL], "tool_use", [25, 18]);
        let answered = message(&[THOUGHT, FIRST], "end_turn", [25, 18]);
        for (by, expected) in [
            (By::Client, &asked),
            (By::Unsaid, &asked),
            (By::Agent, &answered),
        ] {
            let mut parts = asks_for_tool(by);
            parts.push(finish(Reason::ToolCalls));
            assert_eq!(body(&parts, Last::Finish), *expected);
            // A stopped run asks for nothing.
            assert_eq!(body(&asks_for_tool(by), Last::Stop), answered);
        }
    }

    #[test]
    fn arguments_that_are_cut_off_are_a_member() {
        let call = r#"{"type":"tool_use","id":"c1","name":"wx","input":{"INVALID_JSON":"{\"ci"}}"#;
        for (by, expected) in [
            (By::Client, message(&[call], "max_tokens", [0, 0])),
            (By::Unsaid, message(&[], "max_tokens", [0, 0])),
        ] {
            let mut parts = vec![run()];
            parts.extend(broken_call(by));
            parts.push(finish(Reason::Length));
            assert_eq!(body(&parts, Last::Finish), expected);
        }
    }

    #[test]
    fn reasons_are_those_of_messages() {
        for (reason, expected) in [
            (Reason::Cancelled, "end_turn"),
            (Reason::ContentFilter, "refusal"),
            (Reason::Interrupt, "end_turn"),
            (Reason::Length, "max_tokens"),
            (Reason::Other, "end_turn"),
            (Reason::Stop, "end_turn"),
        ] {
            let parts = [run(), text("m1", "Let me look."), finish(reason)];
            let expected = message(&[FIRST], expected, [0, 0]);
            assert_eq!(body(&parts, Last::Finish), expected);
        }
    }

    #[test]
    fn a_failure_has_its_code_in_the_message() {
        let expected = r#"{"type":"error","error":{"type":"api_error","message":"Too many requests. (busy)"}}"#;
        assert_eq!(failure(b"busy", b"Too many requests."), expected.as_bytes());
    }
}
