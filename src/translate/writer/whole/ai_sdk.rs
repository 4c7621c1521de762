//! The message of the Vercel AI SDK: the one that a client puts together from the UI message stream.

use super::list;
use crate::translate::action::{Facts, Kind};
use crate::translate::gather::{Called, Gathered, Input, Item};
use crate::translate::part::{By, Reason};
use crate::translate::raw::quoted;
use crate::translate::writer::{digits, or, text_of};

/// The beginning of a step.
const STEP: &[u8] = b"{\"type\":\"step-start\"}";

/// Returns the message.
pub(super) fn answer(facts: &Facts, gathered: &Gathered) -> Vec<u8> {
    let mut parts = vec![STEP.to_vec()];
    parts.extend(gathered.items().iter().map(part));
    [
        b"{\"id\":\"".as_slice(),
        or(&facts.first_msg, or(&facts.run, b"m1")),
        b"\",\"role\":\"assistant\",\"parts\":[",
        &list(&parts),
        b"],\"metadata\":{\"finishReason\":\"",
        reason(gathered),
        b"\"",
        &usage(facts),
        b"}}",
    ]
    .concat()
}

fn part(item: &Item) -> Vec<u8> {
    match item {
        Item::Step => STEP.to_vec(),
        Item::Text(said) => {
            let kind: &[u8] = match said.kind {
                Kind::Answer => b"text",
                Kind::Reasoning => b"reasoning",
            };
            let start: &[u8] = b"{\"type\":\"";
            let end = b"\",\"state\":\"done\"}";
            [start, kind, b"\",\"text\":\"", &said.body, end].concat()
        }
        Item::Call(call) => tool(call),
        Item::Interrupt {
            id,
            reason,
            payload,
        } => [
            b"{\"type\":\"data-weir-interrupt\",\"data\":{\"id\":\"".as_slice(),
            id,
            b"\",\"reason\":\"",
            reason,
            b"\",\"payload\":",
            or(payload, b"{}"),
            b"}}",
        ]
        .concat(),
    }
}

fn tool(call: &Called) -> Vec<u8> {
    let input = match &call.input {
        Some(Input::Json(value)) => value.clone(),
        Some(Input::Broken(text)) => quoted(text),
        None => b"null".to_vec(),
    };
    let state = match (&call.result, &call.input) {
        (Some(result), _) if result.ok => [
            b"output-available\",\"input\":".as_slice(),
            &input,
            b",\"output\":",
            result.content(),
            if result.partial {
                b",\"preliminary\":true"
            } else {
                b""
            },
        ]
        .concat(),
        (Some(result), _) => [
            b"output-error\",\"input\":".as_slice(),
            &input,
            b",\"errorText\":\"",
            &text_of(result.content()),
            b"\"",
        ]
        .concat(),
        (None, Some(Input::Json(_))) => {
            [b"input-available\",\"input\":".as_slice(), &input].concat()
        }
        (None, Some(Input::Broken(_))) => [
            b"output-error\",\"rawInput\":".as_slice(),
            &input,
            b",\"errorText\":\"The arguments are no JSON.\"",
        ]
        .concat(),
        (None, None) => b"input-streaming\"".to_vec(),
    };
    [
        b"{\"type\":\"tool-".as_slice(),
        or(&call.name, b"tool"),
        b"\",\"toolCallId\":\"",
        &call.id,
        b"\",\"state\":\"",
        &state,
        match call.by {
            By::Agent => b",\"providerExecuted\":true}",
            By::Client | By::Unsaid => b"}",
        },
    ]
    .concat()
}

/// Returns why the run is over, in a word that clients know.
fn reason(gathered: &Gathered) -> &'static [u8] {
    let waits = |call: &Called| {
        let has_result = call.result.as_ref().is_some_and(|result| !result.partial);
        call.by != By::Agent && !has_result
    };
    match gathered.reason() {
        Reason::Stop | Reason::Other if gathered.calls().any(waits) => b"tool-calls",
        Reason::ContentFilter => b"content-filter",
        Reason::Error => b"error",
        Reason::Length => b"length",
        Reason::Stop => b"stop",
        Reason::ToolCalls => b"tool-calls",
        Reason::Cancelled | Reason::Interrupt | Reason::Other => b"other",
    }
}

/// Returns the member with the token counts; empty if there are none.
fn usage(facts: &Facts) -> Vec<u8> {
    let Some(counts) = facts.counts() else {
        return Vec::new();
    };
    let total = counts.input.saturating_add(counts.output);
    let mut usage = b",\"usage\":{\"inputTokens\":".to_vec();
    usage.extend_from_slice(&digits(counts.input));
    let members: [(&[u8], Option<u64>); 4] = [
        (b",\"outputTokens\":", Some(counts.output)),
        (b",\"reasoningTokens\":", counts.reasoning),
        (b",\"cachedInputTokens\":", counts.cached),
        (b",\"totalTokens\":", Some(total)),
    ];
    for (name, count) in members {
        if let Some(count) = count {
            usage.extend_from_slice(name);
            usage.extend_from_slice(&digits(count));
        }
    }
    usage.push(b'}');
    usage
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::super::testing::{
        Last, asks_for_tool, broken_call, call_of, finish, interrupt, result, run, text, weather,
        whole,
    };
    use super::*;
    use crate::translate::part::Part;

    /// A message with these parts and metadata.
    fn message(id: &str, parts: &[&str], metadata: &str) -> String {
        let parts = parts.join(",");
        format!(
            "{{\"id\":\"{id}\",\"role\":\"assistant\",\"parts\":[{{\"type\":\"step-start\"}}{}{parts}],\
             \"metadata\":{{\"finishReason\":{metadata}}}}}",
            if parts.is_empty() { "" } else { "," }
        )
    }

    fn body(parts: &[Part<'static>], last: Last) -> String {
        whole(Form::AiSdk, parts, last, 1000)
    }

    const THOUGHT: &str = r#"{"type":"reasoning","text":"Check the weather.","state":"done"}"#;
    const FIRST: &str = r#"{"type":"text","text":"Let me look.","state":"done"}"#;
    const SECOND: &str = r#"{"type":"text","text":"It is 4 C in Oslo.","state":"done"}"#;
    const NEXT: &str = r#"{"type":"step-start"}"#;
    const USAGE: &str =
        r#""usage":{"inputTokens":25,"outputTokens":18,"reasoningTokens":5,"totalTokens":43}"#;

    #[test]
    fn parts_are_those_of_a_client() {
        let tool = |own: &str| {
            format!(
                r#"{{"type":"tool-wx","toolCallId":"c1","state":"output-available","input":{{"city":"Oslo"}},"output":"4 C"{own}}}"#
            )
        };
        for (by, own) in [
            (By::Agent, r#","providerExecuted":true"#),
            (By::Client, ""),
            (By::Unsaid, ""),
        ] {
            let parts = [THOUGHT, FIRST, &tool(own), NEXT, SECOND];
            let expected = message("m1", &parts, &format!("\"stop\",{USAGE}"));
            assert_eq!(body(&weather(by), Last::Finish), expected);
        }
    }

    #[test]
    fn a_call_of_the_client_waits() {
        let call = r#"{"type":"tool-wx","toolCallId":"c1","state":"input-available","input":{"city":"Oslo"}}"#;
        for (end, last, reason) in [
            (Some(Reason::ToolCalls), Last::Finish, "tool-calls"),
            (Some(Reason::Stop), Last::Finish, "tool-calls"),
            (None, Last::Stop, "other"),
        ] {
            let mut parts = asks_for_tool(By::Client);
            parts.extend(end.map(finish));
            let metadata = format!("\"{reason}\",{USAGE}");
            let expected = message("m1", &[THOUGHT, FIRST, call], &metadata);
            assert_eq!(body(&parts, last), expected);
        }
    }

    #[test]
    fn tools_may_fail_in_several_ways() {
        let partial = Part::ToolResult {
            id: b"c1".into(),
            name: b"".into(),
            ok: true,
            content: b"1".into(),
            partial: true,
        };
        let call = || call_of("c1", "wx", By::Agent);
        let failed = result("c1", false, "{\"code\":1}");
        let cases = [
            (
                [call(), vec![failed]].concat(),
                Last::Finish,
                r#""output-error","input":{"city":"Oslo"},"errorText":"{\"code\":1}""#,
            ),
            (
                [call(), vec![partial]].concat(),
                Last::Finish,
                r#""output-available","input":{"city":"Oslo"},"output":1,"preliminary":true"#,
            ),
            (
                broken_call(By::Agent),
                Last::Finish,
                r#""output-error","rawInput":"{\"ci","errorText":"The arguments are no JSON.""#,
            ),
            (broken_call(By::Agent), Last::Stop, r#""input-streaming""#),
        ];
        for (parts, last, state) in cases {
            let part = format!(
                r#"{{"type":"tool-wx","toolCallId":"c1","state":{state},"providerExecuted":true}}"#
            );
            let reason = match last {
                Last::Finish => "\"stop\"",
                Last::Stop => "\"other\"",
            };
            let expected = message("m1", &[&part], reason);
            assert_eq!(body(&parts, last), expected);
        }
    }

    #[test]
    fn the_message_of_a_run_has_its_name() {
        let waits = r#"{"type":"data-weir-interrupt","data":{"id":"i1","reason":"approval","payload":{"ask":"Book?"}}}"#;
        let said = r#"{"type":"text","text":"Sure?","state":"done"}"#;
        let parts = [run(), text("", "Sure?"), interrupt()];
        let expected = message("r1", &[said, waits], "\"other\"");
        assert_eq!(body(&parts, Last::Finish), expected);
        assert_eq!(body(&[], Last::Finish), message("m1", &[], "\"stop\""));
    }
}
