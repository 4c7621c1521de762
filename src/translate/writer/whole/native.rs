//! The answer in Weir's own words: what the native events say, in one object.

use std::fmt::Write;

use super::list;
use crate::translate::action::Facts;
use crate::translate::gather::{Called, Gathered, Input, Item};
use crate::translate::messages::{Message, messages};
use crate::translate::raw::quoted;
use crate::translate::writer::or;

/// Returns the answer.
pub(super) fn answer(facts: &Facts, gathered: &Gathered) -> Vec<u8> {
    let told: Vec<Vec<u8>> = messages(gathered).iter().map(message).collect();
    let mut body = [
        b"{\"type\":\"answer\",\"run\":".as_slice(),
        &string_or_null(&facts.run),
        b",\"thread\":",
        &string_or_null(&facts.thread),
        b",\"model\":",
        &string_or_null(&facts.model),
        b",\"messages\":[",
        &list(&told),
        b"],\"tools\":",
        &tools(gathered),
    ]
    .concat();
    let waits: Vec<Vec<u8>> = gathered.items().iter().filter_map(interrupt).collect();
    if !waits.is_empty() {
        body.extend([b",\"interrupts\":[".as_slice(), &list(&waits), b"]"].concat());
    }
    let usage = usage(facts);
    let end: [&[u8]; 5] = [
        b",\"usage\":",
        usage.as_bytes(),
        b",\"finish\":{\"reason\":\"",
        gathered.reason().as_str().as_bytes(),
        b"\"}",
    ];
    body.extend(end.concat());
    if gathered.is_truncated() {
        body.extend_from_slice(b",\"truncated\":true");
    }
    body.push(b'}');
    body
}

/// Returns the answer to a request that has failed.
pub(super) fn failure(code: &[u8], message: &[u8]) -> Vec<u8> {
    [
        b"{\"error\":{\"code\":\"".as_slice(),
        or(code, b"upstream_error"),
        b"\",\"message\":\"",
        or(message, b"The agent has failed."),
        b"\"}}",
    ]
    .concat()
}

/// Returns the list of the calls, each with its result.
pub(in crate::translate) fn tools(gathered: &Gathered) -> Vec<u8> {
    let calls: Vec<Vec<u8>> = gathered.calls().map(tool).collect();
    [b"[".as_slice(), &list(&calls), b"]"].concat()
}

/// Returns the token counts; `null` if there are none.
pub(in crate::translate) fn usage(facts: &Facts) -> String {
    let Some(counts) = facts.counts() else {
        return "null".to_owned();
    };
    let mut usage = format!("{{\"input\":{},\"output\":{}", counts.input, counts.output);
    for (name, count) in [("reasoning", counts.reasoning), ("cached", counts.cached)] {
        if let Some(count) = count {
            // Writing to a string cannot fail.
            let _ = write!(usage, ",\"{name}\":{count}");
        }
    }
    usage.push('}');
    usage
}

/// Returns a raw JSON string, or `null` for one of which nothing is known.
pub(in crate::translate) fn string_or_null(body: &[u8]) -> Vec<u8> {
    if body.is_empty() {
        b"null".to_vec()
    } else {
        quoted(body)
    }
}

fn message(message: &Message<'_>) -> Vec<u8> {
    [
        b"{\"msg\":".as_slice(),
        &string_or_null(message.msg),
        b",\"role\":\"assistant\",\"text\":\"",
        &message.text,
        b"\",\"reasoning\":\"",
        &message.reasoning,
        b"\"}",
    ]
    .concat()
}

fn tool(call: &Called) -> Vec<u8> {
    let (args, value, end): (&[u8], &[u8], &[u8]) = match &call.input {
        Some(Input::Json(value)) => (b",\"args\":", value, b""),
        Some(Input::Broken(text)) => (b",\"args_text\":\"", text, b"\""),
        None => (b",\"args\":", b"null", b""),
    };
    let (ok, content): (&[u8], &[u8]) = match &call.result {
        Some(result) if result.ok => (b"true", result.content()),
        Some(result) => (b"false", result.content()),
        None => (b"null", b"null"),
    };
    [
        b"{\"id\":\"".as_slice(),
        &call.id,
        b"\",\"name\":\"",
        &call.name,
        b"\"",
        args,
        value,
        end,
        b",\"ok\":",
        ok,
        b",\"content\":",
        content,
        b"}",
    ]
    .concat()
}

fn interrupt(item: &Item) -> Option<Vec<u8>> {
    let Item::Interrupt {
        id,
        reason,
        payload,
    } = item
    else {
        return None;
    };
    let parts = [
        b"{\"id\":".as_slice(),
        &string_or_null(id),
        b",\"reason\":\"",
        reason,
        b"\",\"payload\":",
        or(payload, b"null"),
        b"}",
    ];
    Some(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::super::testing::{
        Last, asks_for_tool, broken_call, failure, finish, interrupt, result, run, text, weather,
        whole,
    };
    use crate::translate::part::{By, Part, Reason};

    fn body(parts: &[Part<'static>], last: Last) -> String {
        whole(Form::Native, parts, last, 1000)
    }

    const START: &str = r#"{"type":"answer","run":"r1","thread":"t1","model":"m","messages":["#;
    const FIRST: &str =
        r#"{"msg":"m1","role":"assistant","text":"Let me look.","reasoning":"Check the weather."}"#;
    const USAGE: &str = r#""usage":{"input":25,"output":18,"reasoning":5}"#;

    #[test]
    fn everything_is_told() {
        let second =
            r#"{"msg":"m2","role":"assistant","text":"It is 4 C in Oslo.","reasoning":""}"#;
        let tool = r#"{"id":"c1","name":"wx","args":{"city":"Oslo"},"ok":true,"content":"4 C"}"#;
        let finish = r#""finish":{"reason":"stop"}"#;
        let expected = format!("{START}{FIRST},{second}],\"tools\":[{tool}],{USAGE},{finish}}}");
        for by in [By::Agent, By::Client, By::Unsaid] {
            assert_eq!(body(&weather(by), Last::Finish), expected);
        }
    }

    #[test]
    fn a_call_may_have_no_result() {
        let tool = r#"{"id":"c1","name":"wx","args":{"city":"Oslo"},"ok":null,"content":null}"#;
        for (end, last, reason) in [
            (Some(Reason::ToolCalls), Last::Finish, "tool_calls"),
            (None, Last::Stop, "cancelled"),
        ] {
            let mut parts = asks_for_tool(By::Client);
            parts.extend(end.map(finish));
            let expected = format!(
                "{START}{FIRST}],\"tools\":[{tool}],{USAGE},\"finish\":{{\"reason\":\"{reason}\"}}}}"
            );
            assert_eq!(body(&parts, last), expected);
        }
    }

    #[test]
    fn a_call_may_be_cut_off_or_fail() {
        let broken = r#"{"id":"c1","name":"wx","args_text":"{\"ci","ok":false,"content":"No."}"#;
        let cut = r#"{"id":"c1","name":"wx","args":null,"ok":null,"content":null}"#;
        let mut failed = broken_call(By::Agent);
        failed.push(result("c1", false, "\"No.\""));
        for (parts, last, tool, reason) in [
            (failed, Last::Finish, broken, "stop"),
            (broken_call(By::Agent), Last::Stop, cut, "cancelled"),
        ] {
            let expected = format!(
                "{{\"type\":\"answer\",\"run\":null,\"thread\":null,\"model\":null,\"messages\":[],\
                 \"tools\":[{tool}],\"usage\":null,\"finish\":{{\"reason\":\"{reason}\"}}}}"
            );
            assert_eq!(body(&parts, last), expected);
        }
    }

    #[test]
    fn what_the_agent_waits_for_is_told() {
        let parts = [run(), text("", "Sure?"), interrupt()];
        let message = r#"{"msg":null,"role":"assistant","text":"Sure?","reasoning":""}"#;
        let rest = r#""tools":[],"interrupts":[{"id":"i1","reason":"approval","payload":{"ask":"Book?"}}],"usage":null,"finish":{"reason":"interrupt"}}"#;
        let expected = format!("{START}{message}],{rest}");
        assert_eq!(body(&parts, Last::Finish), expected);
    }

    #[test]
    fn cut_text_is_told_to_be() {
        let parts = [run(), text("m1", "Hi there")];
        let message = r#"{"msg":"m1","role":"assistant","text":"Hi","reasoning":""}"#;
        let rest = r#""tools":[],"usage":null,"finish":{"reason":"length"},"truncated":true}"#;
        let expected = format!("{START}{message}],{rest}");
        assert_eq!(whole(Form::Native, &parts, Last::Finish, 2), expected);
    }

    #[test]
    fn a_failure_has_a_code_and_a_message() {
        let parts = [run(), text("m1", "Hi"), failure()];
        let expected = r#"{"error":{"code":"busy","message":"Too many requests."}}"#;
        assert_eq!(body(&parts, Last::Finish), expected);
        let expected = r#"{"error":{"code":"upstream_error","message":"The agent has failed."}}"#;
        assert_eq!(super::failure(b"", b""), expected.as_bytes());
    }
}
