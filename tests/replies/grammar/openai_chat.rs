//! What the clients of OpenAI Chat Completions enforce.

use serde_json::Value;

use super::{Event, ensure, text};

pub(super) fn check(events: &[Event], broke: bool) -> Result<(), String> {
    let mut calls = 0;
    let (mut role, mut finished, mut usage, mut done, mut failed) =
        (false, false, false, false, false);
    for Event { name, data } in events {
        ensure(name.is_empty(), "a name", data)?;
        ensure(!done && !failed, "something after the end", data)?;
        if data == "[DONE]" {
            done = true;
            continue;
        }
        if data.get("error").is_some() {
            ensure(data.pointer("/error/message").is_some(), "no message", data)?;
            failed = true;
            continue;
        }
        for key in ["id", "object", "model"] {
            text(data, key)?;
        }
        let choices = data
            .get("choices")
            .and_then(Value::as_array)
            .ok_or("no choices")?;
        let Some(choice) = choices.first() else {
            ensure(
                finished && !usage && data.get("usage").is_some(),
                "a bare chunk",
                data,
            )?;
            usage = true;
            continue;
        };
        ensure(!finished, "a choice after its finish reason", data)?;
        let delta = choice.get("delta").ok_or("no delta")?;
        if role {
            ensure(delta.get("role").is_none(), "a second role", data)?;
        } else {
            ensure(
                delta["role"] == "assistant",
                "no role in the first chunk",
                data,
            )?;
            role = true;
        }
        for call in delta
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let index = call["index"].as_u64().ok_or("a call without index")?;
            if call.get("id").is_some() {
                ensure(index == calls, "the index of a new call", data)?;
                text(&call["function"], "name")?;
                calls += 1;
            } else {
                ensure(index < calls, "a piece of an unknown call", data)?;
                ensure(
                    call["function"].get("name").is_none(),
                    "a second name",
                    data,
                )?;
            }
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            let known = ["stop", "length", "tool_calls", "content_filter"];
            ensure(known.contains(&reason), "an unknown reason", data)?;
            finished = true;
        }
    }
    ensure(failed != done, "no end, or two", &Value::Null)?;
    ensure(
        !done || finished,
        "no finish reason: helpers raise",
        &Value::Null,
    )?;
    ensure(
        failed || !broke,
        "a broken stream that finished",
        &Value::Null,
    )
}
