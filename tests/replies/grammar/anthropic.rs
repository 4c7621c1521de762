//! What the clients of Anthropic Messages enforce.

use serde_json::Value;

use super::{Event, ensure, text};

pub(super) fn check(events: &[Event], broke: bool) -> Result<(), String> {
    let mut open: Option<(u64, String)> = None;
    let mut input = String::new();
    let mut next = 0;
    let (mut started, mut reason, mut stopped, mut failed) = (false, false, false, false);
    for Event { name, data } in events {
        let kind = text(data, "type")?;
        ensure(name == kind, "the name must be the type", data)?;
        ensure(!stopped && !failed, "something after the end", data)?;
        ensure(
            started || matches!(kind, "message_start" | "error"),
            "before the start",
            data,
        )?;
        match kind {
            "message_start" => {
                ensure(!started, "two starts", data)?;
                let usage = data.pointer("/message/usage/input_tokens");
                ensure(usage.is_some(), "no usage: SDKs fail later", data)?;
                started = true;
            }
            "content_block_start" => {
                ensure(open.is_none(), "a block within a block", data)?;
                ensure(data["index"] == next, "a gap in the indices", data)?;
                let kind = text(&data["content_block"], "type")?;
                open = Some((next, kind.to_owned()));
                input.clear();
                next += 1;
            }
            "content_block_delta" => {
                let (index, block) = open.as_ref().ok_or("a delta without a block")?;
                ensure(data["index"] == *index, "a delta of another block", data)?;
                let expected = match block.as_str() {
                    "text" => "text_delta",
                    "thinking" => "thinking_delta",
                    _ => "input_json_delta",
                };
                ensure(data["delta"]["type"] == expected, "the kind of delta", data)?;
                if expected == "input_json_delta" {
                    input += text(&data["delta"], "partial_json")?;
                    begins_object(&input, false)?;
                }
            }
            "content_block_stop" => {
                let (index, _) = open.take().ok_or("a stop without a block")?;
                ensure(data["index"] == index, "a stop of another block", data)?;
                if !input.is_empty() {
                    begins_object(&input, true)?;
                }
            }
            "message_delta" => {
                ensure(open.is_none() && !reason, "a block is open, or twice", data)?;
                text(&data["delta"], "stop_reason")?;
                ensure(data["usage"]["output_tokens"].is_u64(), "no usage", data)?;
                reason = true;
            }
            "message_stop" => {
                ensure(reason, "no message_delta", data)?;
                stopped = true;
            }
            "error" => {
                ensure(data.pointer("/error/message").is_some(), "no message", data)?;
                failed = true;
            }
            _ => return Err(format!("an unknown type: {data}")),
        }
    }
    ensure(stopped != failed, "no end, or two", &Value::Null)?;
    ensure(
        failed || !broke,
        "a broken stream that finished",
        &Value::Null,
    )
}

/// Checks the input of a tool, of which clients read each beginning: they raise on what is none of an object.
fn begins_object(input: &str, is_whole: bool) -> Result<(), String> {
    if !input.trim_start().starts_with('{') {
        return Err(format!("the input of a tool is no object: {input}"));
    }
    match serde_json::from_str::<Value>(input) {
        Ok(_) => Ok(()),
        Err(error) if error.is_eof() && !is_whole => Ok(()),
        Err(error) => Err(format!("{error} in the input of a tool: {input}")),
    }
}
