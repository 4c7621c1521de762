//! Whole answers of Cohere's chat, version 2.

use super::Sign;
use super::json::Value;
use super::out::{Object, Out};

pub(super) fn sign(answer: Value<'_>) -> Sign {
    let is_message = answer.object("message").is_some_and(|message| {
        ["content", "tool_calls"]
            .iter()
            .any(|name| message.array(name).is_some())
    });
    Sign::certain_if(is_message && !answer.word("finish_reason").is_empty())
}

pub(super) fn write(answer: Value<'_>, out: &mut Out) -> Option<()> {
    let message = answer.object("message")?;
    let opening = Object::new()
        .text("role", "assistant")
        .raw("content", "[]")
        .text("tool_plan", "")
        .raw("tool_calls", "[]")
        .raw("citations", "[]");
    let opening = Object::new().raw("message", &opening.end()).end();
    let start = Object::new()
        .same("id", answer)
        .text("type", "message-start")
        .raw("delta", &opening);
    out.block("message-start", &start.end())?;
    let plan = message.word("tool_plan");
    if !plan.is_empty() {
        event(
            "tool-plan-delta",
            None,
            Some(("tool_plan", quoted(plan).as_str())),
            out,
        )?;
    }
    let calls = message.array("tool_calls");
    for (index, call) in calls.into_iter().flat_map(Value::elements).enumerate() {
        write_call(index, call, out)?;
    }
    let content = message.array("content");
    let contents = content.map_or(0, |content| content.elements().count());
    let citations = message.array("citations");
    for (index, part) in content.into_iter().flat_map(Value::elements).enumerate() {
        write_content(index, part, out)?;
        // What is cited stands in the text, which is not closed before all is cited.
        if index + 1 == contents {
            for (index, citation) in citations.into_iter().flat_map(Value::elements).enumerate() {
                event(
                    "citation-start",
                    Some(index),
                    Some(("citations", citation.raw())),
                    out,
                )?;
                event("citation-end", Some(index), None, out)?;
            }
        }
        event("content-end", Some(index), None, out)?;
    }
    let delta = Object::new()
        .same("finish_reason", answer)
        .same("usage", answer);
    let end = Object::of_type("message-end")
        .raw("delta", &delta.end())
        .others(answer, &["id", "finish_reason", "message", "usage"]);
    out.block("message-end", &end.end())?;
    out.block("", "[DONE]")
}

/// Writes an event that adds a member to the message.
fn event(
    name: &str,
    index: Option<usize>,
    added: Option<(&str, &str)>,
    out: &mut Out,
) -> Option<()> {
    let mut event = Object::of_type(name);
    if let Some(index) = index {
        event = event.number("index", index);
    }
    if let Some((member, value)) = added {
        let message = Object::new().raw(member, value).end();
        let delta = Object::new().raw("message", &message).end();
        event = event.raw("delta", &delta);
    }
    out.block(name, &event.end())
}

fn write_call(index: usize, call: Value<'_>, out: &mut Out) -> Option<()> {
    let function = call.object("function").unwrap_or(Value::new("{}"));
    let opening = Object::new()
        .others(function, &["arguments"])
        .text("arguments", "");
    let opening = Object::new()
        .others(call, &["function"])
        .raw("function", &opening.end())
        .end();
    event(
        "tool-call-start",
        Some(index),
        Some(("tool_calls", opening.as_str())),
        out,
    )?;
    let arguments = function
        .member("arguments")
        .map(Value::as_text)
        .unwrap_or_default();
    if !arguments.is_empty() {
        let arguments = Object::new().text("arguments", &arguments).end();
        let delta = Object::new().raw("function", &arguments).end();
        event(
            "tool-call-delta",
            Some(index),
            Some(("tool_calls", delta.as_str())),
            out,
        )?;
    }
    event("tool-call-end", Some(index), None, out)
}

/// Writes a content, except that it ends.
fn write_content(index: usize, part: Value<'_>, out: &mut Out) -> Option<()> {
    let name = match part.word("type") {
        "text" => "text",
        "thinking" => "thinking",
        _ => {
            return event(
                "content-start",
                Some(index),
                Some(("content", part.raw())),
                out,
            );
        }
    };
    let opening = Object::new().others(part, &[name]).text(name, "").end();
    event(
        "content-start",
        Some(index),
        Some(("content", opening.as_str())),
        out,
    )?;
    let text = part.word(name);
    if text.is_empty() {
        return Some(());
    }
    let delta = Object::new().text(name, text).end();
    event(
        "content-delta",
        Some(index),
        Some(("content", delta.as_str())),
        out,
    )
}

fn quoted(body: &str) -> String {
    format!("\"{body}\"")
}

#[cfg(test)]
mod tests {
    use crate::unstream::testing::events;

    #[test]
    fn thoughts_text_and_citations() {
        let body = r#"{"id":"c1","finish_reason":"COMPLETE","message":{"role":"assistant","content":[
            {"type":"thinking","thinking":"Hm"},{"type":"text","text":"Rain\n"}],"citations":[{"start":0,"end":4}]},
            "usage":{"tokens":{"output_tokens":4}},"logprobs":[]}"#;
        let expected = [
            r#"{"id":"c1","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#,
            r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":""}}}}"#,
            r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"Hm"}}}}"#,
            r#"{"type":"content-end","index":0}"#,
            r#"{"type":"content-start","index":1,"delta":{"message":{"content":{"type":"text","text":""}}}}"#,
            r#"{"type":"content-delta","index":1,"delta":{"message":{"content":{"text":"Rain\n"}}}}"#,
            r#"{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":4}}}}"#,
            r#"{"type":"citation-end","index":0}"#,
            r#"{"type":"content-end","index":1}"#,
            r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"tokens":{"output_tokens":4}}},"logprobs":[]}"#,
            "[DONE]",
        ];
        assert_eq!(events(None, body), expected);
    }

    #[test]
    fn plans_and_calls() {
        let body = r#"{"id":"c1","finish_reason":"TOOL_CALL","message":{"role":"assistant","tool_plan":"I look","tool_calls":[
            {"id":"wx_1","type":"function","function":{"name":"wx","arguments":"{\"c\":1}"}}]}}"#;
        let events = events(None, body);
        let expected = [
            r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I look"}}}"#,
            r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"wx_1","type":"function","function":{"name":"wx","arguments":""}}}}}"#,
            r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{\"c\":1}"}}}}}"#,
            r#"{"type":"tool-call-end","index":0}"#,
            r#"{"type":"message-end","delta":{"finish_reason":"TOOL_CALL"}}"#,
            "[DONE]",
        ];
        assert_eq!(events[1..], expected);
    }
}
