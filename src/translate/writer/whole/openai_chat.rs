//! The chat completion of OpenAI, as it answers a request without `stream`.
//!
//! It has the calls that somebody has still to run: a client runs every one.

use std::fmt::Write;

use super::list;
use crate::translate::action::{Facts, Kind};
use crate::translate::gather::{Called, Gathered, Input};
use crate::translate::messages::join;
use crate::translate::part::{By, Reason};
use crate::translate::raw::{escaped, quoted};
use crate::translate::writer::{digits, or};

/// Returns the answer to a request at this Unix time in seconds.
pub(super) fn answer(created: u64, facts: &Facts, gathered: &Gathered) -> Vec<u8> {
    let mut content = Vec::new();
    let mut reasoning = Vec::new();
    for said in gathered.texts() {
        match said.kind {
            Kind::Answer => join(&mut content, &said.body),
            // As a client puts it together that reads chunks.
            Kind::Reasoning => reasoning.extend_from_slice(&said.body),
        }
    }
    let calls: Vec<Vec<u8>> = gathered
        .calls()
        .filter_map(|call| tool_call(call, gathered.to_run(call)?))
        .collect();
    let content = if content.is_empty() && !calls.is_empty() {
        b"null".to_vec()
    } else {
        quoted(&content)
    };
    let reason: &[u8] = match gathered.reason() {
        // A call may be cut off: nobody should run it.
        Reason::ContentFilter => b"content_filter",
        Reason::Length => b"length",
        _ if !calls.is_empty() => b"tool_calls",
        _ => b"stop",
    };
    let mut body = [
        b"{\"id\":\"chatcmpl-".as_slice(),
        or(&facts.run, b"weir"),
        b"\",\"object\":\"chat.completion\",\"created\":",
        &digits(created),
        b",\"model\":\"",
        or(&facts.model, b"agent"),
        b"\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":",
        &content,
        b",\"refusal\":null",
    ]
    .concat();
    if !reasoning.is_empty() {
        body.extend([b",\"reasoning_content\":\"".as_slice(), &reasoning, b"\""].concat());
    }
    if !calls.is_empty() {
        body.extend([b",\"tool_calls\":[".as_slice(), &list(&calls), b"]"].concat());
    }
    let usage = usage(facts);
    let end: [&[u8]; 5] = [
        b"},\"logprobs\":null,\"finish_reason\":\"",
        reason,
        b"\"}]",
        usage.as_bytes(),
        b"}",
    ];
    body.extend(end.concat());
    body
}

/// Returns the answer to a request that has failed.
pub(super) fn failure(code: &[u8], message: &[u8]) -> Vec<u8> {
    let code = or(code, b"upstream_error");
    [
        b"{\"error\":{\"message\":\"".as_slice(),
        or(message, b"The agent has failed."),
        b"\",\"type\":\"",
        code,
        b"\",\"param\":null,\"code\":\"",
        code,
        b"\"}}",
    ]
    .concat()
}

/// Returns a call that the client has to run, or that the agent should have run: then nobody else will.
fn tool_call(call: &Called, input: &Input) -> Option<Vec<u8>> {
    let arguments = match input {
        Input::Json(value) => escaped(value),
        Input::Broken(text) if call.by == By::Client => text.into(),
        Input::Broken(_) => return None,
    };
    let parts = [
        b"{\"id\":\"".as_slice(),
        &call.id,
        b"\",\"type\":\"function\",\"function\":{\"name\":\"",
        or(&call.name, b"tool"),
        b"\",\"arguments\":\"",
        &arguments,
        b"\"}}",
    ];
    Some(parts.concat())
}

/// Returns the member with the token counts; empty if there are none.
fn usage(facts: &Facts) -> String {
    let Some(counts) = facts.counts() else {
        return String::new();
    };
    let total = counts.input.saturating_add(counts.output);
    let mut usage = format!(
        ",\"usage\":{{\"prompt_tokens\":{},\"completion_tokens\":{},\"total_tokens\":{total}",
        counts.input, counts.output,
    );
    // Writing to a string cannot fail.
    if let Some(cached) = counts.cached {
        let _ = write!(
            usage,
            ",\"prompt_tokens_details\":{{\"cached_tokens\":{cached}}}"
        );
    }
    if let Some(reasoning) = counts.reasoning {
        let _ = write!(
            usage,
            ",\"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}}}"
        );
    }
    usage.push('}');
    usage
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::super::testing::{
        Last, asks_for_tool, broken_call, call_of, finish, run, text, weather, whole,
        whole_with_lines,
    };
    use super::*;
    use crate::translate::part::Part;

    fn body(parts: &[Part<'static>], last: Last) -> String {
        whole(Form::OpenAiChat, parts, last, 1000)
    }

    /// An answer with this message and reason.
    fn completion(message: &str, reason: &str, usage: &str) -> String {
        format!(
            "{{\"id\":\"chatcmpl-r1\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"m\",\
             \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",{message}}},\"logprobs\":null,\
             \"finish_reason\":\"{reason}\"}}]{usage}}}"
        )
    }

    const USAGE: &str = r#","usage":{"prompt_tokens":25,"completion_tokens":18,"total_tokens":43,"completion_tokens_details":{"reasoning_tokens":5}}"#;
    const CALL: &str = r#""tool_calls":[{"id":"c1","type":"function","function":{"name":"wx","arguments":"{\"city\":\"Oslo\"}"}}]"#;

    #[test]
    fn tools_of_the_agent_are_left_out() {
        let message = r#""content":"Let me look.\n\nIt is 4 C in Oslo.","refusal":null,"reasoning_content":"Check the weather.""#;
        for by in [By::Agent, By::Client, By::Unsaid] {
            let found = body(&weather(by), Last::Finish);
            assert_eq!(found, completion(message, "stop", USAGE));
        }
    }

    #[test]
    fn tools_of_the_agent_may_be_reasoning_text() {
        let message = r#""content":"Let me look.\n\nIt is 4 C in Oslo.","refusal":null,"reasoning_content":"Check the weather.\nUsing wx...\nwx: 4 C\n""#;
        let found = whole_with_lines(Form::OpenAiChat, &weather(By::Agent), 1000);
        assert_eq!(found, completion(message, "stop", USAGE));
        // Lines take no room from what the agent says, and there is an end to them.
        let status = Part::Status {
            name: b"progress".into(),
            text: b"On it".into(),
            detail: b"".into(),
        };
        let mut parts = vec![status; 5000];
        parts.push(text("m1", "Hi"));
        let found = whole_with_lines(Form::OpenAiChat, &parts, 2);
        assert!(found.contains(r#""content":"Hi""#), "{found}");
        assert!(found.contains(r#""finish_reason":"stop""#), "{found}");
        assert_eq!(found.matches("On it").count(), 256);
    }

    #[test]
    fn tools_without_a_result_are_for_the_client() {
        let message = format!(
            r#""content":"Let me look.","refusal":null,"reasoning_content":"Check the weather.",{CALL}"#
        );
        for by in [By::Agent, By::Client, By::Unsaid] {
            let mut parts = asks_for_tool(by);
            parts.push(finish(Reason::ToolCalls));
            let expected = completion(&message, "tool_calls", USAGE);
            assert_eq!(body(&parts, Last::Finish), expected);
        }
        // A stopped run asks for nothing.
        let message =
            r#""content":"Let me look.","refusal":null,"reasoning_content":"Check the weather.""#;
        let found = body(&asks_for_tool(By::Client), Last::Stop);
        assert_eq!(found, completion(message, "stop", USAGE));
    }

    #[test]
    fn a_call_may_be_all_of_an_answer() {
        let mut parts = vec![run()];
        parts.extend(call_of("c1", "wx", By::Client));
        let message = format!(r#""content":null,"refusal":null,{CALL}"#);
        let expected = completion(&message, "tool_calls", "");
        assert_eq!(body(&parts, Last::Finish), expected);
    }

    #[test]
    fn arguments_that_are_cut_off_stay_as_they_are() {
        let message = r#""content":null,"refusal":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"wx","arguments":"{\"ci"}}]"#;
        let nothing = r#""content":"","refusal":null"#;
        for (by, expected) in [
            (By::Client, completion(message, "length", "")),
            (By::Agent, completion(nothing, "length", "")),
        ] {
            let mut parts = vec![run()];
            parts.extend(broken_call(by));
            parts.push(finish(Reason::Length));
            assert_eq!(body(&parts, Last::Finish), expected);
        }
    }

    #[test]
    fn cached_tokens_are_told() {
        let usage = Part::Usage {
            input: Some(9),
            output: Some(1),
            reasoning: None,
            cached: Some(8),
            call: 0,
        };
        let expected = completion(
            r#""content":"Hi","refusal":null"#,
            "content_filter",
            r#","usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":8}}"#,
        );
        let parts = [
            run(),
            text("m1", "Hi"),
            usage,
            finish(Reason::ContentFilter),
        ];
        assert_eq!(body(&parts, Last::Finish), expected);
    }
}
