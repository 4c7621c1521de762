//! Whole messages of Anthropic.

use super::Sign;
use super::json::{Value, escaped};
use super::out::{Change, Object, Out};

pub(super) fn sign(answer: Value<'_>) -> Sign {
    let is_message = answer.word("type") == "message" && answer.word("role") == "assistant";
    Sign::certain_if(is_message && answer.array("content").is_some())
}

pub(super) fn write(answer: Value<'_>, out: &mut Out) -> Option<()> {
    let content = answer.array("content")?;
    // The clients need both, and replace the first counts by the last ones.
    let usage = answer.object("usage");
    let first = usage.map(|usage| {
        let counts = Object::new().changed(usage, |name| match name {
            "output_tokens" => Change::To("0"),
            _ => Change::Keep,
        });
        counts.end()
    });
    let first = first
        .as_deref()
        .unwrap_or(r#"{"input_tokens":0,"output_tokens":0}"#);
    let message = Object::new()
        .changed(answer, |name| match name {
            "content" => Change::To("[]"),
            "stop_reason" | "stop_sequence" => Change::To("null"),
            "usage" => Change::Drop,
            _ => Change::Keep,
        })
        .raw("usage", first);
    event(
        "message_start",
        |event| event.raw("message", &message.end()),
        out,
    )?;
    let mut has_calls = false;
    for (index, block) in content.elements().enumerate() {
        has_calls |= block.word("type") == "tool_use";
        write_block(index, block, out)?;
    }
    let reason = match answer.word("stop_reason") {
        "" if has_calls => "tool_use",
        "" => "end_turn",
        told => told,
    };
    let sequence = answer.member("stop_sequence").map_or("null", Value::raw);
    let delta = Object::new()
        .text("stop_reason", reason)
        .raw("stop_sequence", sequence);
    let usage = usage.map_or(r#"{"output_tokens":0}"#, Value::raw);
    let end = |event: Object| event.raw("delta", &delta.end()).raw("usage", usage);
    event("message_delta", end, out)?;
    event("message_stop", |event| event, out)
}

/// Writes an event, whose name and type are the same.
fn event(name: &str, fill: impl FnOnce(Object) -> Object, out: &mut Out) -> Option<()> {
    out.block(name, &fill(Object::of_type(name)).end())
}

/// Writes a content block. Those of servers, such as the results of their tools, are whole in their first event.
fn write_block(index: usize, block: Value<'_>, out: &mut Out) -> Option<()> {
    let kind = block.word("type");
    let opening = Object::new().changed(block, |name| match (kind, name) {
        ("text", "text") | ("thinking", "thinking" | "signature") => Change::To("\"\""),
        ("text", "citations") => Change::To("[]"),
        (kind, "input") if kind.ends_with("tool_use") => Change::To("{}"),
        _ => Change::Keep,
    });
    let opening = opening.end();
    let start = |event: Object| event.number("index", index).raw("content_block", &opening);
    event("content_block_start", start, out)?;
    let mut delta = |kind: &str, name: &str, value: &str| {
        let delta = Object::of_type(kind).raw(name, value).end();
        let fill = |event: Object| event.number("index", index).raw("delta", &delta);
        event("content_block_delta", fill, out)
    };
    let text = |name: &str| block.member(name).filter(|text| text.says_something());
    match kind {
        "text" => {
            if let Some(text) = text("text") {
                delta("text_delta", "text", text.raw())?;
            }
            for citation in block
                .array("citations")
                .into_iter()
                .flat_map(Value::elements)
            {
                delta("citations_delta", "citation", citation.raw())?;
            }
        }
        "thinking" => {
            if let Some(thought) = text("thinking") {
                delta("thinking_delta", "thinking", thought.raw())?;
            }
            if let Some(signature) = text("signature") {
                delta("signature_delta", "signature", signature.raw())?;
            }
        }
        kind if kind.ends_with("tool_use") => {
            if let Some(input) = text("input") {
                let json = format!("\"{}\"", escaped(input.raw()));
                delta("input_json_delta", "partial_json", &json)?;
            }
        }
        _ => {}
    }
    event(
        "content_block_stop",
        |event| event.number("index", index),
        out,
    )
}

#[cfg(test)]
mod tests {
    use crate::unstream::testing::{events, named};

    #[test]
    fn blocks_of_all_kinds() {
        let body = r#"{"id":"m1","type":"message","role":"assistant","model":"m","content":[
            {"type":"thinking","thinking":"Let me","signature":"c2ln"},
            {"type":"redacted_thinking","data":"eA=="},
            {"type":"text","text":"Rain\n","citations":[{"type":"char_location"}]},
            {"type":"tool_use","id":"t1","name":"wx","input":{"c":"Os\"lo"}},
            {"type":"tool_use","id":"t2","name":"now","input":{}},
            {"type":"web_search_tool_result","tool_use_id":"t3","content":[]}],
            "stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":4},"container":{"id":"x"}}"#;
        let block = |index: u8, opening: &str, deltas: &[&str]| {
            let mut events = vec![format!(
                r#"{{"type":"content_block_start","index":{index},"content_block":{opening}}}"#
            )];
            events.extend(deltas.iter().map(|delta| {
                format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#)
            }));
            events.push(format!(
                r#"{{"type":"content_block_stop","index":{index}}}"#
            ));
            events
        };
        let start = r#"{"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"container":{"id":"x"},"usage":{"input_tokens":9,"output_tokens":0}}}"#;
        let mut expected = vec![start.to_owned()];
        expected.extend(block(
            0,
            r#"{"type":"thinking","thinking":"","signature":""}"#,
            &[
                r#"{"type":"thinking_delta","thinking":"Let me"}"#,
                r#"{"type":"signature_delta","signature":"c2ln"}"#,
            ],
        ));
        expected.extend(block(
            1,
            r#"{"type":"redacted_thinking","data":"eA=="}"#,
            &[],
        ));
        expected.extend(block(
            2,
            r#"{"type":"text","text":"","citations":[]}"#,
            &[
                r#"{"type":"text_delta","text":"Rain\n"}"#,
                r#"{"type":"citations_delta","citation":{"type":"char_location"}}"#,
            ],
        ));
        expected.extend(block(
            3,
            r#"{"type":"tool_use","id":"t1","name":"wx","input":{}}"#,
            &[r#"{"type":"input_json_delta","partial_json":"{\"c\":\"Os\\\"lo\"}"}"#],
        ));
        expected.extend(block(
            4,
            r#"{"type":"tool_use","id":"t2","name":"now","input":{}}"#,
            &[],
        ));
        expected.extend(block(
            5,
            r#"{"type":"web_search_tool_result","tool_use_id":"t3","content":[]}"#,
            &[],
        ));
        expected.push(r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":9,"output_tokens":4}}"#.to_owned());
        expected.push(r#"{"type":"message_stop"}"#.to_owned());
        assert_eq!(events(None, body), expected);
    }

    #[test]
    fn names_are_types_and_missing_counts_are_zero() {
        let body = r#"{"type":"message","role":"assistant","content":[{"type":"text","text":""}]}"#;
        let names: Vec<String> = named(None, body)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let expected = [
            "message_start",
            "content_block_start",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(names, expected);
        let events = events(None, body);
        assert!(events[0].contains(r#""usage":{"input_tokens":0,"output_tokens":0}"#));
        assert!(events[3].contains(
            r#""delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":0}"#
        ));
    }
}
