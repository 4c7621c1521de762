//! What the clients of AG-UI enforce.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Event, ensure, text};

pub(super) fn check(events: &[Event], broke: bool) -> Result<(), String> {
    let mut open = BTreeSet::new();
    let mut calls = BTreeSet::new();
    let (mut started, mut ended, mut failed) = (false, false, false);
    for Event { name, data } in events {
        ensure(name.is_empty(), "a name", data)?;
        ensure(data.is_object(), "[DONE] raises", data)?;
        ensure(!ended && !failed, "something after the end", data)?;
        let kind = text(data, "type")?;
        ensure(
            started || matches!(kind, "RUN_STARTED" | "RUN_ERROR"),
            "before RUN_STARTED",
            data,
        )?;
        if let Some(delta) = data.get("delta").and_then(Value::as_str) {
            ensure(!delta.is_empty(), "an empty delta raises", data)?;
        }
        let id = |key: &str| text(data, key).map(ToOwned::to_owned);
        match kind {
            "RUN_STARTED" => {
                ensure(!started, "two starts", data)?;
                id("threadId")?;
                id("runId")?;
                started = true;
            }
            "TEXT_MESSAGE_START" | "REASONING_MESSAGE_START" => {
                let role = text(data, "role")?;
                let expected = if kind.starts_with('T') {
                    "assistant"
                } else {
                    "reasoning"
                };
                ensure(role == expected, "the role", data)?;
                ensure(open.insert(("m", id("messageId")?)), "opened twice", data)?;
            }
            "TEXT_MESSAGE_CONTENT" | "REASONING_MESSAGE_CONTENT" => {
                text(data, "delta")?;
                ensure(open.contains(&("m", id("messageId")?)), "not open", data)?;
            }
            "TEXT_MESSAGE_END" | "REASONING_MESSAGE_END" => {
                ensure(open.remove(&("m", id("messageId")?)), "not open", data)?;
            }
            "REASONING_START" => ensure(open.insert(("r", id("messageId")?)), "twice", data)?,
            "REASONING_END" => ensure(open.remove(&("r", id("messageId")?)), "not open", data)?,
            "TOOL_CALL_START" => {
                text(data, "toolCallName")?;
                ensure(
                    calls.insert(id("toolCallId")?),
                    "a call that began before",
                    data,
                )?;
                ensure(open.insert(("c", id("toolCallId")?)), "opened twice", data)?;
            }
            "TOOL_CALL_ARGS" => {
                text(data, "delta")?;
                ensure(open.contains(&("c", id("toolCallId")?)), "not open", data)?;
            }
            "TOOL_CALL_END" => ensure(open.remove(&("c", id("toolCallId")?)), "not open", data)?,
            "TOOL_CALL_RESULT" => {
                id("messageId")?;
                id("content")?;
                id("toolCallId")?;
            }
            "STEP_STARTED" => ensure(open.insert(("s", id("stepName")?)), "started twice", data)?,
            "STEP_FINISHED" => ensure(
                open.remove(&("s", id("stepName")?)),
                "a step that was not started",
                data,
            )?,
            "STATE_SNAPSHOT" => ensure(data.get("snapshot").is_some(), "no snapshot", data)?,
            "STATE_DELTA" => ensure(
                (data.get("delta").and_then(Value::as_array))
                    .is_some_and(|patch| patch.iter().all(Value::is_object)),
                "no patch",
                data,
            )?,
            "CUSTOM" => {
                id("name")?;
                ensure(data.get("value").is_some(), "no value", data)?;
            }
            "RUN_FINISHED" => {
                id("threadId")?;
                id("runId")?;
                ensure(open.is_empty(), "something is open at RUN_FINISHED", data)?;
                let outcome = data.pointer("/outcome/type").and_then(Value::as_str);
                match outcome {
                    Some("success") => {}
                    Some("interrupt") => {
                        let all = data
                            .pointer("/outcome/interrupts")
                            .and_then(Value::as_array);
                        ensure(all.is_some_and(|all| !all.is_empty()), "no interrupt", data)?;
                    }
                    _ => return Err(format!("an unknown outcome: {data}")),
                }
                ended = true;
            }
            "RUN_ERROR" => {
                text(data, "message")?;
                failed = true;
            }
            _ => return Err(format!("an unknown type: {data}")),
        }
    }
    ensure(ended || failed, "no end", &Value::Null)?;
    ensure(
        failed || !broke,
        "a broken stream that finished",
        &Value::Null,
    )
}
